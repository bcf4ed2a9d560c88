#pragma once
// One or more messages of every type, together with every alternative and every end of a range, and
// equality for the messages that have none of their own.

#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "base/messages/audit.hpp"
#include "base/messages/moves.hpp"
#include "base/messages/rounds.hpp"

namespace koshel::messages {

// Every field by name: a field added to a message breaks this until it is compared, too.
// clang-format off
inline auto fields(const LocalRound& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const LocalRoundDone& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const RoundFailed& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const RoundUnknown&) { return std::tuple<>(); }
inline auto fields(const AskRound& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const AskRoundDone& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const Reserve& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const Reserved& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const Prepare& m) { const auto& [a, b, c, d] = m; return std::tie(a, b, c, d); }
inline auto fields(const Prepared& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const Settle& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const SettleDone& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const Release& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const ReadHeads& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const HeadsRead& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const FindTransfer& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const FindTransferDone& m) {
  const auto& [a, b, c] = m;
  return std::tie(a, b, c);
}
inline auto fields(const ReadEntries& m) {
  const auto& [a, b, c, d] = m;
  return std::tie(a, b, c, d);
}
inline auto fields(const TimedEntry& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const EntriesRead& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const BeginArrival& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const ArrivalBegun& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const ReadChunk& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const Chunk& m) { const auto& [a, b, c, d] = m; return std::tie(a, b, c, d); }
inline auto fields(const WriteChunk& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const ChunkWritten& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const CleanMove& m) { const auto& [a, b, c, d] = m; return std::tie(a, b, c, d); }
inline auto fields(const MoveCleaned& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const PreparedRound& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const AgentStatus& m) {
  const auto& [a, b, c, d, e, f, g, h, i, j, k] = m;
  return std::tie(a, b, c, d, e, f, g, h, i, j, k);
}
inline auto fields(const OpenAudit& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const AuditOpened& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const RunAudit& m) { const auto& [a, b, c] = m; return std::tie(a, b, c); }
inline auto fields(const AuditDone& m) {
  const auto& [a, b, c, d, e, f] = m;
  return std::tie(a, b, c, d, e, f);
}
inline auto fields(const ListAudit& m) {
  const auto& [a, b, c, d] = m;
  return std::tie(a, b, c, d);
}
inline auto fields(const AuditListed& m) { const auto& [a, b] = m; return std::tie(a, b); }
inline auto fields(const CloseAudit& m) { const auto& [a] = m; return std::tie(a); }
inline auto fields(const AuditClosed& m) { const auto& [a] = m; return std::tie(a); }
// clang-format on

template <class Message>
requires requires(const Message& message) {
  fields(message);
}
bool operator==(const Message& one, const Message& other) {
  return fields(one) == fields(other);
}

}  // namespace koshel::messages

namespace koshel::samples {

using namespace koshel::messages;

inline constexpr std::numeric_limits<std::int64_t> kInt64;
inline constexpr AccountId kLastAccount{AccountId::kMax};
inline constexpr RoundId kRound{Incarnation(7), Sequence(123456789012)};
inline constexpr RoundId kLastRound{Incarnation(kInt64.max()), Sequence(kInt64.max())};
inline const Timestamp kAt{std::chrono::microseconds(1'795'421'540'123'456)};

// Text with everything that JSON escapes, and characters of one to four bytes.
inline std::string awkward_text() {
  std::string text = "\"quoted\" \\ back / slash \x7f Кошель 张伟 हिन्दी 😀 \u2028 \ufffd";
  for (char c = 0; c < 0x20; ++c) text += c;
  return text + "\\";
}

inline Transfer transfer() {
  const TransferId id(AccountId(11), {0xabc, 0x123456789});
  return {id, true, AccountId(11), AccountId(12), Money(1050), R"({"order":"A-1"})"};
}
inline Transfer awkward_transfer() {
  const TransferId id(kLastAccount, {0xfff, ~std::uint64_t{0}});
  return {
      id, false, kLastAccount, AccountId(0), Money(kInt64.max()), awkward_text(), awkward_text()};
}

inline std::vector<Refusal> refusals() {
  return {{RefusalCode::InsufficientFunds, AccountId(1), Money(0), Money(5), Money(5)},
          {RefusalCode::BalanceLimitExceeded, AccountId(2), Money(9), Money(8), Money(1)},
          {RefusalCode::AccountFrozen, kLastAccount, Money(), Money(-5), Money()},
          {RefusalCode::LimitsInvalid, AccountId(0), Money(kInt64.min()), Money(kInt64.max()), {}}};
}

inline std::vector<StoredTransfer> stored_transfers() {
  const LegState anchor{AccountId(11), Version(3), Money(-44)};
  std::vector<StoredTransfer> all;
  for (const auto kind : {EntryKind::Opened, EntryKind::Transfer, EntryKind::Refused,
                          EntryKind::Limits, EntryKind::Status, EntryKind::Moved}) {
    all.push_back({transfer(), kind, std::nullopt, anchor, kAt});
  }
  for (const auto& refusal : refusals()) {
    all.push_back({awkward_transfer(), EntryKind::Refused, refusal, anchor,
                   Timestamp(std::chrono::microseconds(-1))});
  }
  return all;
}

inline std::vector<Head> heads() {
  return {{CurrencyId(978), Version(1), Money(5), Money(0), Money(100), AccountStatus::Active},
          {CurrencyId(INT16_MAX), Version(kInt64.max()), Money(kInt64.min()), kWorldMin, kWorldMax,
           AccountStatus::Frozen}};
}

template <class Choice>
void add_common_answers(std::vector<Choice>& answers) {
  for (const auto& refusal : refusals()) answers.push_back(Refused{refusal});
  for (const auto& stored : stored_transfers()) answers.push_back(Replayed{stored});
  answers.push_back(KeyReused{});
  answers.push_back(KeyInProgress{});
  answers.push_back(Busy{AccountId(5), false});
  answers.push_back(Busy{kLastAccount, true});
  answers.push_back(Moved{AccountId(6)});
}

inline std::vector<RoundFailed> failures() {
  std::vector<RoundFailed> all = {{RoundFault::Rejected, awkward_text()}};
  for (const auto fault : {RoundFault::Stale, RoundFault::Rejected, RoundFault::Voided,
                           RoundFault::Expired, RoundFault::OldEpoch, RoundFault::Overloaded,
                           RoundFault::Starting, RoundFault::Unavailable}) {
    all.push_back({fault, ""});
  }
  return all;
}

template <class Message>
std::vector<Message> of();

template <>
inline std::vector<LocalRound> of() {
  LocalRound round{kRound, {}};
  round.orders.push_back({transfer(), 0});
  round.orders.push_back({awkward_transfer(), INT32_MAX});
  round.orders.push_back(
      {LimitChange{AccountId(1), Money(-5), Money(5), AccountStatus::Frozen}, 1});
  round.orders.push_back({LimitChange{AccountId(2), {}, {}, AccountStatus::Active}, 2});
  round.orders.push_back({LimitChange{AccountId(3), {}, Money(0), {}}, 3});
  round.orders.push_back({LimitChange{AccountId(3), {}, {}, {}, "staff:tina"}, 3});
  for (const auto& refusal : refusals()) {
    round.orders.push_back({RememberRefusal{transfer(), refusal}, 4});
  }
  return {round, {kLastRound, {}}, {}};
}

template <>
inline std::vector<LocalReply> of() {
  LocalRoundDone done;
  done.answers.push_back(
      Applied{{AccountId(1), Version(2), Money(3)}, {AccountId(4), Version(5), Money(-6)}, kAt});
  for (const auto& head : heads()) done.answers.push_back(Changed{head});
  add_common_answers(done.answers);
  std::vector<LocalReply> all = {done, LocalRoundDone{}, RoundUnknown{}};
  for (const auto& failed : failures()) all.push_back(failed);
  return all;
}

template <>
inline std::vector<Reserve> of() {
  Reserve reserve{kRound, {}};
  reserve.orders.push_back({Leg{transfer(), Side::Payer}, 0});
  reserve.orders.push_back({Leg{awkward_transfer(), Side::Payee}, 9});
  reserve.orders.push_back(
      {OpenAccount{AccountId(8), CurrencyId(978), Money(-1), Money(100), Money(50), transfer().id},
       1});
  reserve.orders.push_back(
      {OpenAccount{AccountId(9), CurrencyId(978), {}, {}, {}, transfer().id, "token:7:shop"}, 1});
  reserve.orders.push_back({Depart{AccountId(8), MoveId(3)}, 0});
  reserve.orders.push_back({Arrive{kLastAccount, MoveId(kInt64.max())}, 0});
  return {reserve, {kLastRound, {}}};
}

template <>
inline std::vector<ReserveReply> of() {
  Reserved reserved{Epoch(17), {Yes{}, Retry{}}};
  for (const auto& head : heads()) reserved.votes.push_back(Leaving{head});
  add_common_answers(reserved.votes);
  std::vector<ReserveReply> all = {reserved, Reserved{}};
  for (const auto& failed : failures()) all.push_back(failed);
  return all;
}

template <>
inline std::vector<PrepareReply> of() {
  const Prepared prepared{
      {{AccountId(1), Version(2), Money(3)}, {kLastAccount, Version(0), Money(kInt64.min())}}, kAt};
  std::vector<PrepareReply> all = {prepared, Prepared{}, RoundUnknown{}};
  for (const auto& failed : failures()) all.push_back(failed);
  return all;
}

template <>
inline std::vector<EntriesRead> of() {
  const TimedEntry payment{{AccountId(11),
                            Version(4),
                            EntryKind::Transfer,
                            AccountId(12),
                            Money(-1050),
                            Money(50),
                            Money(0),
                            Money(5000),
                            AccountStatus::Active,
                            transfer().id,
                            true,
                            awkward_text(),
                            {},
                            {}},
                           kAt};
  const TimedEntry refused{{AccountId(11),
                            Version(5),
                            EntryKind::Refused,
                            AccountId(),
                            {},
                            Money(50),
                            kWorldMin,
                            kWorldMax,
                            AccountStatus::Frozen,
                            std::nullopt,
                            false,
                            "",
                            refusals()[0],
                            Money(77),
                            "user:anna"},
                           Timestamp()};
  return {{true, {payment, refused}}, {false, {}}};
}

template <>
inline std::vector<FindTransferDone> of() {
  std::vector<FindTransferDone> all = {{std::nullopt, true, true}, {std::nullopt, false, false}};
  for (const auto& stored : stored_transfers()) all.push_back({stored, false, true});
  return all;
}

template <>
inline std::vector<AskRound> of() {
  return {{kRound}, {kLastRound}, {}};
}
template <>
inline std::vector<AskRoundDone> of() {
  return {{AskRoundOutcome::Applied}, {AskRoundOutcome::NotApplied}, {AskRoundOutcome::Over}};
}
template <>
inline std::vector<Prepare> of() {
  return {{kRound, Epoch(17), {0, 2, INT32_MAX}, heads()},
          {kLastRound, Epoch(kInt64.max()), {}, {}}};
}
template <>
inline std::vector<Settle> of() {
  return {{kRound, true}, {kLastRound, false}};
}
template <>
inline std::vector<SettleDone> of() {
  return {{SettleOutcome::Settled}, {SettleOutcome::Lost}, {SettleOutcome::Later}};
}
template <>
inline std::vector<Release> of() {
  return {{kRound}, {kLastRound}};
}
template <>
inline std::vector<ReadHeads> of() {
  return {{{AccountId(1), kLastAccount}}, {}};
}
template <>
inline std::vector<HeadsRead> of() {
  return {{{heads()[0], std::nullopt, heads()[1]}}, {}};
}
template <>
inline std::vector<FindTransfer> of() {
  return {{AccountId(11), {transfer().id, awkward_transfer().id}}, {}};
}
template <>
inline std::vector<ReadEntries> of() {
  return {{AccountId(11), Version(5), true, 100}, {kLastAccount, Version(0), false, 0}};
}
template <>
inline std::vector<BeginArrival> of() {
  return {{MoveId(1), {AccountId(1), kLastAccount}}, {}};
}
template <>
inline std::vector<ArrivalBegun> of() {
  return {{true, {{AccountId(1), Version(0)}, {kLastAccount, Version(kInt64.max())}}}, {}};
}
template <>
inline std::vector<ReadChunk> of() {
  return {{{{AccountId(1), Version(7)}}, 10'000}, {}};
}
template <>
inline std::vector<Chunk> of() {
  return {{awkward_text(), 12, {{AccountId(1), Version(7)}}, true}, {}};
}
template <>
inline std::vector<WriteChunk> of() {
  return {{MoveId(1), awkward_text()}, {}};
}
template <>
inline std::vector<ChunkWritten> of() {
  return {{true}, {false}};
}
template <>
inline std::vector<CleanMove> of() {
  return {{MoveId(1), true, {AccountId(1), kLastAccount}, 10'000}, {}};
}
template <>
inline std::vector<MoveCleaned> of() {
  return {{true}, {false}};
}
template <>
inline std::vector<AgentStatus> of() {
  const AgentStatus status{"prod",
                           "shard-1",
                           ShardId(1),
                           Epoch(17),
                           true,
                           "0.1.0",
                           {{"koshel:prod:7:1:1", 0.1},
                            {"koshel:prod:7:2:1", 12345.678901234567},
                            {"", 5e-324},
                            {"", 1.7976931348623157e308},
                            {"", -0.0}},
                           64,
                           5'000'000'000,
                           std::numeric_limits<std::int64_t>::max(),
                           {AccountId(AccountId::kWorldBit), kLastAccount}};
  return {status, {}};
}

template <>
inline std::vector<OpenAudit> of() {
  return {{1}, {kInt64.max()}};
}
template <>
inline std::vector<AuditOpened> of() {
  return {{{{"koshel:prod:7:1:1", 0.1}}, 5}, {}};
}
template <>
inline std::vector<RunAudit> of() {
  return {{1, kInt64.max(), {kRound, kLastRound}}, {}};
}
template <>
inline std::vector<AuditDone> of() {
  AuditDone done{2, kInt64.max(), {{"978", "-18446744073709551616"}}, {}, {}, {}};
  done.worlds = {AccountId(AccountId::kWorldBit), kLastAccount};
  done.buckets = {{1, 0, kInt64.max()}, {}};
  for (const auto rule : {AuditedRule::Chains, AuditedRule::Limits, AuditedRule::Heads,
                          AuditedRule::Copies, AuditedRule::Keys, AuditedRule::Decided}) {
    done.findings.push_back({rule, "-17", awkward_text()});
  }
  return {done, {}};
}
template <>
inline std::vector<ListAudit> of() {
  return {{1, 2, {0, INT32_MAX}, {}}, {3, 4, {}, {5}}};
}
template <>
inline std::vector<AuditListed> of() {
  return {{{"1", "-1"}, {{transfer().id.to_string(), "-100"}}}, {}};
}
template <>
inline std::vector<CloseAudit> of() {
  return {{1}, {}};
}
template <>
inline std::vector<AuditClosed> of() {
  return {{true}, {false}};
}

}  // namespace koshel::samples
