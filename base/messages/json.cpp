#include "base/messages/json.hpp"

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>

#include "base/messages/json_reader.hpp"
#include "base/messages/json_writer.hpp"

// The wire form
//
// A message is an object with all of its fields; one that is a choice (LocalReply, ReserveReply,
// PrepareReply) is {"reply": choice}. Inside of messages structs are arrays, because a round has
// thousands of them. What can be chosen begins with its tag, or is the bare tag where it has no
// parts:
//
//   {"round":[7,12],"orders":[[["t","00000000-...",true,1,2,500,""],0]]}
//   {"reply":["done",[["a",[1,9,1500],[2,4,700],1795421540123456],"key_reused"]]}
//
// An absent optional is null, money is in minor units, times are microseconds since 1970,
// enumerations are words. JSON text (metadata) travels as a string. Who asked stands last and is
// left out where nobody is known: with `auth.mode: none` it costs nothing, and a message of a
// version before it is whole. A reader refuses names, words, tags and counts of parts that it does
// not know; parts of one type that change place it cannot notice, so a struct whose parts are moved
// takes a new tag or is sent under a new name.

namespace koshel::messages {

// ---- enumerations

template <>
constexpr auto kShape<Side> = words<Side>({{Side::Payer, "payer"}, {Side::Payee, "payee"}});

template <>
constexpr auto kShape<EntryKind> = words<EntryKind>({{EntryKind::Opened, "opened"},
                                                     {EntryKind::Transfer, "transfer"},
                                                     {EntryKind::Refused, "refused"},
                                                     {EntryKind::Limits, "limits"},
                                                     {EntryKind::Status, "status"},
                                                     {EntryKind::Moved, "moved"}});

template <>
constexpr auto kShape<AccountStatus> = words<AccountStatus>({{AccountStatus::Active, "active"},
                                                             {AccountStatus::Frozen, "frozen"}});

template <>
constexpr auto kShape<RefusalCode> =
    words<RefusalCode>({{RefusalCode::InsufficientFunds, "funds"},
                        {RefusalCode::BalanceLimitExceeded, "limit"},
                        {RefusalCode::AccountFrozen, "frozen"},
                        {RefusalCode::LimitsInvalid, "limits_invalid"}});

template <>
constexpr auto kShape<RoundFault> = words<RoundFault>({{RoundFault::Stale, "stale"},
                                                       {RoundFault::Rejected, "rejected"},
                                                       {RoundFault::Voided, "voided"},
                                                       {RoundFault::Expired, "expired"},
                                                       {RoundFault::OldEpoch, "old_epoch"},
                                                       {RoundFault::Overloaded, "overloaded"},
                                                       {RoundFault::Starting, "starting"},
                                                       {RoundFault::Unavailable, "unavailable"}});

template <>
constexpr auto kShape<AskRoundOutcome> =
    words<AskRoundOutcome>({{AskRoundOutcome::Applied, "applied"},
                            {AskRoundOutcome::NotApplied, "not_applied"},
                            {AskRoundOutcome::Over, "over"}});

template <>
constexpr auto kShape<SettleOutcome> = words<SettleOutcome>({{SettleOutcome::Settled, "settled"},
                                                             {SettleOutcome::Lost, "lost"},
                                                             {SettleOutcome::Later, "later"}});

// ---- the words of the ledger

template <>
constexpr auto kShape<RoundId> = array("", part("incarnation", &RoundId::incarnation),
                                       part("sequence", &RoundId::sequence));

template <>
constexpr auto kShape<Head> = array("", part("currency", &Head::currency),
                                    part("version", &Head::version),
                                    part("balance", &Head::balance),
                                    part("min_balance", &Head::min_balance),
                                    part("max_balance", &Head::max_balance),
                                    part("status", &Head::status));

template <>
constexpr auto kShape<Refusal> = array("", part("code", &Refusal::code),
                                       part("account", &Refusal::account),
                                       part("bound", &Refusal::bound),
                                       part("balance", &Refusal::balance),
                                       part("headroom", &Refusal::headroom));

template <>
constexpr auto kShape<Transfer> = array("t", part("id", &Transfer::id),
                                        part("is_keyed", &Transfer::is_keyed),
                                        part("from", &Transfer::from), part("to", &Transfer::to),
                                        part("amount", &Transfer::amount),
                                        part("metadata", &Transfer::metadata),
                                        last_text("asked_by", &Transfer::asked_by));

template <>
constexpr auto kShape<LegState> = array("", part("account", &LegState::account),
                                        part("version", &LegState::version),
                                        part("balance", &LegState::balance));

template <>
constexpr auto kShape<StoredTransfer> = array("", part("transfer", &StoredTransfer::transfer),
                                              part("kind", &StoredTransfer::kind),
                                              part("refusal", &StoredTransfer::refusal),
                                              part("anchor", &StoredTransfer::anchor),
                                              part("at", &StoredTransfer::at));

template <>
constexpr auto kShape<Entry> =
    array("", part("account", &Entry::account), part("version", &Entry::version),
          part("kind", &Entry::kind), part("counterparty", &Entry::counterparty),
          part("amount", &Entry::amount), part("balance", &Entry::balance),
          part("min_balance", &Entry::min_balance), part("max_balance", &Entry::max_balance),
          part("status", &Entry::status), part("transfer", &Entry::transfer),
          part("is_anchor", &Entry::is_anchor), part("metadata", &Entry::metadata),
          part("refusal", &Entry::refusal), part("asked", &Entry::asked),
          last_text("asked_by", &Entry::asked_by));

// ---- what a round is made of

template <>
constexpr auto kShape<LimitChange> = array("limits", part("account", &LimitChange::account),
                                           part("min_balance", &LimitChange::min_balance),
                                           part("max_balance", &LimitChange::max_balance),
                                           part("status", &LimitChange::status),
                                           last_text("asked_by", &LimitChange::asked_by));

template <>
constexpr auto kShape<RememberRefusal> = array("remember",
                                               part("transfer", &RememberRefusal::transfer),
                                               part("refusal", &RememberRefusal::refusal));

template <>
constexpr auto kShape<Leg> = array("leg", part("transfer", &Leg::transfer),
                                   part("side", &Leg::side));

template <>
constexpr auto kShape<OpenAccount> = array("open", part("account", &OpenAccount::account),
                                           part("currency", &OpenAccount::currency),
                                           part("min_balance", &OpenAccount::min_balance),
                                           part("max_balance", &OpenAccount::max_balance),
                                           part("balance", &OpenAccount::balance),
                                           part("opening", &OpenAccount::opening),
                                           last_text("asked_by", &OpenAccount::asked_by));

template <>
constexpr auto kShape<Depart> = array("depart", part("account", &Depart::account),
                                      part("move", &Depart::move));
template <>
constexpr auto kShape<Arrive> = array("arrive", part("account", &Arrive::account),
                                      part("move", &Arrive::move));

// ---- what becomes of each part

template <>
constexpr auto kShape<Applied> = array("a", part("from", &Applied::from), part("to", &Applied::to),
                                       part("at", &Applied::at));
template <>
constexpr auto kShape<Changed> = array("changed", part("head", &Changed::head));
template <>
constexpr auto kShape<Yes> = array("y");
template <>
constexpr auto kShape<Leaving> = array("leaving", part("head", &Leaving::head));
template <>
constexpr auto kShape<Retry> = array("retry");
template <>
constexpr auto kShape<Refused> = array("refused", part("refusal", &Refused::refusal));
template <>
constexpr auto kShape<Replayed> = array("replayed", part("stored", &Replayed::stored));
template <>
constexpr auto kShape<KeyReused> = array("key_reused");
template <>
constexpr auto kShape<KeyInProgress> = array("key_in_progress");
template <>
constexpr auto kShape<Busy> = array("busy", part("account", &Busy::account),
                                    part("is_in_doubt", &Busy::is_in_doubt));
template <>
constexpr auto kShape<Moved> = array("moved", part("account", &Moved::account));

// ---- a round on one shard

template <>
constexpr auto kShape<LocalOrder> = array("", part("what", &LocalOrder::what),
                                          part("times_busy", &LocalOrder::times_busy));
template <>
constexpr auto kShape<LocalRound> = object(part("round", &LocalRound::round),
                                           part("orders", &LocalRound::orders));
template <>
constexpr auto kShape<LocalRoundDone> = array("done", part("answers", &LocalRoundDone::answers));
template <>
constexpr auto kShape<RoundFailed> = array("failed", part("fault", &RoundFailed::fault),
                                           part("detail", &RoundFailed::detail));
template <>
constexpr auto kShape<RoundUnknown> = array("unknown");
template <>
constexpr auto kShape<AskRound> = object(part("round", &AskRound::round));
template <>
constexpr auto kShape<AskRoundDone> = object(part("outcome", &AskRoundDone::outcome));

// ---- a round across shards

template <>
constexpr auto kShape<ReserveOrder> = array("", part("what", &ReserveOrder::what),
                                            part("times_busy", &ReserveOrder::times_busy));
template <>
constexpr auto kShape<Reserve> = object(part("round", &Reserve::round),
                                        part("orders", &Reserve::orders));
template <>
constexpr auto kShape<Reserved> = array("reserved", part("epoch", &Reserved::epoch),
                                        part("votes", &Reserved::votes));
template <>
constexpr auto kShape<Prepare> = object(part("round", &Prepare::round),
                                        part("epoch", &Prepare::epoch),
                                        part("survivors", &Prepare::survivors),
                                        part("arriving", &Prepare::arriving));
template <>
constexpr auto kShape<Prepared> = array("prepared", part("legs", &Prepared::legs),
                                        part("at", &Prepared::at));
template <>
constexpr auto kShape<Settle> = object(part("round", &Settle::round),
                                       part("is_commit", &Settle::is_commit));
template <>
constexpr auto kShape<SettleDone> = object(part("outcome", &SettleDone::outcome));
template <>
constexpr auto kShape<Release> = object(part("round", &Release::round));

// ---- reading

template <>
constexpr auto kShape<ReadHeads> = object(part("accounts", &ReadHeads::accounts));
template <>
constexpr auto kShape<HeadsRead> = object(part("heads", &HeadsRead::heads));
template <>
constexpr auto kShape<FindTransfer> = object(part("account", &FindTransfer::account),
                                             part("ids", &FindTransfer::ids));
template <>
constexpr auto kShape<FindTransferDone> = object(part("stored", &FindTransferDone::stored),
                                                 part("is_in_progress",
                                                      &FindTransferDone::is_in_progress),
                                                 part("is_owned", &FindTransferDone::is_owned));
template <>
constexpr auto kShape<ReadEntries> = object(part("account", &ReadEntries::account),
                                            part("from", &ReadEntries::from),
                                            part("is_newest_first", &ReadEntries::is_newest_first),
                                            part("limit", &ReadEntries::limit));
template <>
constexpr auto kShape<TimedEntry> = array("", part("entry", &TimedEntry::entry),
                                          part("at", &TimedEntry::at));
template <>
constexpr auto kShape<EntriesRead> = object(part("is_owned", &EntriesRead::is_owned),
                                            part("entries", &EntriesRead::entries));

// ---- moving accounts

template <>
constexpr auto kShape<CopiedTo> = array("", part("account", &CopiedTo::account),
                                        part("version", &CopiedTo::version));
template <>
constexpr auto kShape<BeginArrival> = object(part("move", &BeginArrival::move),
                                             part("accounts", &BeginArrival::accounts));
template <>
constexpr auto kShape<ArrivalBegun> = object(part("is_possible", &ArrivalBegun::is_possible),
                                             part("copied", &ArrivalBegun::copied));
template <>
constexpr auto kShape<ReadChunk> = object(part("after", &ReadChunk::after),
                                          part("limit", &ReadChunk::limit));
template <>
constexpr auto kShape<Chunk> = object(part("entries", &Chunk::entries),
                                      part("count", &Chunk::count), part("copied", &Chunk::copied),
                                      part("is_complete", &Chunk::is_complete));
template <>
constexpr auto kShape<WriteChunk> = object(part("move", &WriteChunk::move),
                                           part("entries", &WriteChunk::entries));
template <>
constexpr auto kShape<ChunkWritten> = object(part("is_fitting", &ChunkWritten::is_fitting));
template <>
constexpr auto kShape<CleanMove> = object(part("move", &CleanMove::move),
                                          part("is_leaving", &CleanMove::is_leaving),
                                          part("accounts", &CleanMove::accounts),
                                          part("limit", &CleanMove::limit));
template <>
constexpr auto kShape<MoveCleaned> = object(part("is_complete", &MoveCleaned::is_complete));

// ---- the agent itself

template <>
constexpr auto kShape<PreparedRound> = array("", part("gid", &PreparedRound::gid),
                                             part("age_seconds", &PreparedRound::age_seconds));
template <>
constexpr auto kShape<AgentStatus> = object(
    part("cluster", &AgentStatus::cluster), part("shard_name", &AgentStatus::shard_name),
    part("shard", &AgentStatus::shard), part("epoch", &AgentStatus::epoch),
    part("is_serving", &AgentStatus::is_serving), part("version", &AgentStatus::version),
    part("prepared", &AgentStatus::prepared), part("prepared_free", &AgentStatus::prepared_free),
    part("ledger_bytes", &AgentStatus::ledger_bytes),
    part("disk_free_bytes", &AgentStatus::disk_free_bytes), part("worlds", &AgentStatus::worlds));

// ---- the audit

template <>
constexpr auto kShape<AuditedRule> = words<AuditedRule>({{AuditedRule::Chains, "chains"},
                                                         {AuditedRule::Limits, "limits"},
                                                         {AuditedRule::Heads, "heads"},
                                                         {AuditedRule::Copies, "copies"},
                                                         {AuditedRule::Keys, "keys"},
                                                         {AuditedRule::Decided, "decided"}});
template <>
constexpr auto kShape<OpenAudit> = object(part("audit", &OpenAudit::audit));
template <>
constexpr auto kShape<AuditOpened> = object(part("prepared", &AuditOpened::prepared),
                                            part("in_doubt_seconds",
                                                 &AuditOpened::in_doubt_seconds));
template <>
constexpr auto kShape<RunAudit> = object(part("audit", &RunAudit::audit),
                                         part("seed", &RunAudit::seed),
                                         part("committed", &RunAudit::committed));
template <>
constexpr auto kShape<AuditFinding> = array("", part("rule", &AuditFinding::rule),
                                            part("account", &AuditFinding::account),
                                            part("what", &AuditFinding::what));
template <>
constexpr auto kShape<AuditedBalance> = array("", part("currency", &AuditedBalance::currency),
                                              part("sum", &AuditedBalance::sum));
template <>
constexpr auto kShape<AuditBucket> = array("", part("users", &AuditBucket::users),
                                           part("users_hash", &AuditBucket::users_hash),
                                           part("transfers_hash", &AuditBucket::transfers_hash));
template <>
constexpr auto kShape<AuditDone> = object(part("accounts", &AuditDone::accounts),
                                          part("entries", &AuditDone::entries),
                                          part("balances", &AuditDone::balances),
                                          part("worlds", &AuditDone::worlds),
                                          part("buckets", &AuditDone::buckets),
                                          part("findings", &AuditDone::findings));
template <>
constexpr auto kShape<ListAudit> = object(part("audit", &ListAudit::audit),
                                          part("seed", &ListAudit::seed),
                                          part("user_buckets", &ListAudit::user_buckets),
                                          part("transfer_buckets", &ListAudit::transfer_buckets));
template <>
constexpr auto kShape<AuditedTransfer> = array("", part("id", &AuditedTransfer::id),
                                               part("amount", &AuditedTransfer::amount),
                                               last_text("asked_by", &AuditedTransfer::asked_by));
template <>
constexpr auto kShape<AuditListed> = object(part("users", &AuditListed::users),
                                            part("transfers", &AuditListed::transfers));
template <>
constexpr auto kShape<CloseAudit> = object(part("audit", &CloseAudit::audit));
template <>
constexpr auto kShape<AuditClosed> = object(part("was_open", &AuditClosed::was_open));

namespace {

namespace json = boost::json;

constexpr std::string_view kReply = "reply";
constexpr std::size_t kMessageBytesMax = std::size_t{64} << 20;
constexpr std::size_t kDepthMax = 16;  // the deepest message has 6

template <class T>
constexpr bool kIsChoice = false;
template <class... Alternatives>
constexpr bool kIsChoice<std::variant<Alternatives...>> = true;

}  // namespace

template <class Message>
std::string to_json(const Message& message) {
  std::string text;
  JsonWriter writer(text);
  if constexpr (kIsChoice<Message>) {
    text.append("{\"").append(kReply).append("\":");
    writer.write(message);
    text += '}';
  } else {
    writer.write(message);
  }
  return text;
}

template <class Message>
Result<Message> from_json(std::string_view text) {
  if (text.size() > kMessageBytesMax) return Error{Fault::Internal, "message is too long"};
  json::monotonic_resource memory(3 * text.size() + 256);
  json::error_code problem;
  json::parse_options options;
  options.max_depth = kDepthMax;
  const auto root = json::parse({text.data(), text.size()}, problem, &memory, options);
  if (problem) return Error{Fault::Internal, "message is not JSON: " + problem.message()};

  Message message;
  JsonReader reader;
  bool is_read = false;
  if constexpr (kIsChoice<Message>) {
    const JsonPlace place{nullptr, kReply};
    const auto* reply = reader.only_field(root, place);
    is_read = reply && reader.read(*reply, place, message);
  } else {
    is_read = reader.read(root, JsonPlace{}, message);
  }
  if (!is_read) return Error{Fault::Internal, reader.failure()};
  return message;
}

template std::string to_json(const LocalRound&);
template Result<LocalRound> from_json(std::string_view);
template std::string to_json(const LocalReply&);
template Result<LocalReply> from_json(std::string_view);
template std::string to_json(const AskRound&);
template Result<AskRound> from_json(std::string_view);
template std::string to_json(const AskRoundDone&);
template Result<AskRoundDone> from_json(std::string_view);
template std::string to_json(const Reserve&);
template Result<Reserve> from_json(std::string_view);
template std::string to_json(const ReserveReply&);
template Result<ReserveReply> from_json(std::string_view);
template std::string to_json(const Prepare&);
template Result<Prepare> from_json(std::string_view);
template std::string to_json(const PrepareReply&);
template Result<PrepareReply> from_json(std::string_view);
template std::string to_json(const Settle&);
template Result<Settle> from_json(std::string_view);
template std::string to_json(const SettleDone&);
template Result<SettleDone> from_json(std::string_view);
template std::string to_json(const Release&);
template Result<Release> from_json(std::string_view);
template std::string to_json(const ReadHeads&);
template Result<ReadHeads> from_json(std::string_view);
template std::string to_json(const HeadsRead&);
template Result<HeadsRead> from_json(std::string_view);
template std::string to_json(const FindTransfer&);
template Result<FindTransfer> from_json(std::string_view);
template std::string to_json(const FindTransferDone&);
template Result<FindTransferDone> from_json(std::string_view);
template std::string to_json(const ReadEntries&);
template Result<ReadEntries> from_json(std::string_view);
template std::string to_json(const EntriesRead&);
template Result<EntriesRead> from_json(std::string_view);
template std::string to_json(const BeginArrival&);
template Result<BeginArrival> from_json(std::string_view);
template std::string to_json(const ArrivalBegun&);
template Result<ArrivalBegun> from_json(std::string_view);
template std::string to_json(const ReadChunk&);
template Result<ReadChunk> from_json(std::string_view);
template std::string to_json(const Chunk&);
template Result<Chunk> from_json(std::string_view);
template std::string to_json(const WriteChunk&);
template Result<WriteChunk> from_json(std::string_view);
template std::string to_json(const ChunkWritten&);
template Result<ChunkWritten> from_json(std::string_view);
template std::string to_json(const CleanMove&);
template Result<CleanMove> from_json(std::string_view);
template std::string to_json(const MoveCleaned&);
template Result<MoveCleaned> from_json(std::string_view);
template std::string to_json(const AgentStatus&);
template Result<AgentStatus> from_json(std::string_view);
template std::string to_json(const OpenAudit&);
template Result<OpenAudit> from_json(std::string_view);
template std::string to_json(const AuditOpened&);
template Result<AuditOpened> from_json(std::string_view);
template std::string to_json(const RunAudit&);
template Result<RunAudit> from_json(std::string_view);
template std::string to_json(const AuditDone&);
template Result<AuditDone> from_json(std::string_view);
template std::string to_json(const ListAudit&);
template Result<ListAudit> from_json(std::string_view);
template std::string to_json(const AuditListed&);
template Result<AuditListed> from_json(std::string_view);
template std::string to_json(const CloseAudit&);
template Result<CloseAudit> from_json(std::string_view);
template std::string to_json(const AuditClosed&);
template Result<AuditClosed> from_json(std::string_view);

}  // namespace koshel::messages
