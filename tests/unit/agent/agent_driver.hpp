#pragma once
// Drives an AgentMachine by step: asks it, gives effects their results, picks what came out.
// `owned` and `stored` stand for what the shard's database would read; nothing is written there
// unless a test does.

#include <gtest/gtest.h>

#include <map>
#include <utility>
#include <vector>

#include "shard-agent/logic/agent_machine.hpp"

namespace koshel::agent {

using messages::AskRoundOutcome;

inline constexpr ShardId kShard{1};
inline constexpr CurrencyId kEuro{978};
inline constexpr Epoch kEpoch{5};
inline constexpr AccountId kAnna{11};
inline constexpr AccountId kBert{12};
inline constexpr AccountId kCleo{13};
inline constexpr AccountId kDora{14};
inline constexpr AccountId kAway{99};  // on another shard
inline constexpr AccountId kAnyWorld = AccountId::any_world(kEuro);

inline AccountId world_slot(int slot) {
  return AccountId::world(kShard, kEuro, slot);
}

inline RoundId round_of(std::int64_t sequence) {
  return {Incarnation(3), Sequence(sequence)};
}

struct HeadOptions {
  std::int64_t balance = 0;
  std::int64_t min = 0;
  std::int64_t max = 1000;
  std::int64_t version = 1;
  AccountStatus status = AccountStatus::Active;
};
inline Head make_head(const HeadOptions& options) {
  return {kEuro,
          Version(options.version),
          Money(options.balance),
          Money(options.min),
          Money(options.max),
          options.status};
}

struct TransferOptions {
  AccountId from;
  AccountId to;
  std::int64_t amount = 1;
  std::uint64_t number = 1;  // the rest of the id
};
inline Transfer make_transfer(const TransferOptions& options) {
  Transfer transfer{{}, false, options.from, options.to, Money(options.amount), ""};
  transfer.id = TransferId(anchor_of(transfer), {0, options.number});
  return transfer;
}
inline Transfer make_keyed(const TransferOptions& options) {
  auto transfer = make_transfer(options);
  transfer.is_keyed = true;
  return transfer;
}

inline messages::ReserveOrder pays(const Transfer& transfer) {
  return {messages::Leg{transfer, messages::Side::Payer}, 0};
}
inline messages::ReserveOrder is_paid(const Transfer& transfer) {
  return {messages::Leg{transfer, messages::Side::Payee}, 0};
}
inline constexpr MoveId kMove{70};
inline messages::ReserveOrder departs(AccountId account, std::int32_t times_busy = 0) {
  return {messages::Depart{account, kMove}, times_busy};
}
inline messages::ReserveOrder arrives(AccountId account) {
  return {messages::Arrive{account, kMove}, 0};
}
inline messages::OpenAccount make_opening(AccountId account, std::int64_t balance) {
  return {account, kEuro, Money(0), Money(INT64_MAX), Money(balance), TransferId(account, {0, 77})};
}

// ---- picking effects

template <class What>
std::vector<What> all(const Effects& effects) {
  std::vector<What> found;
  for (const auto& effect : effects) {
    if (const auto* what = std::get_if<What>(&effect)) found.push_back(*what);
  }
  return found;
}

template <class What>
What only(const Effects& effects) {
  auto found = all<What>(effects);
  EXPECT_EQ(found.size(), 1U);
  return found.size() == 1 ? std::move(found.front()) : What{};
}

template <class What>
bool has(const Effects& effects) {
  return !all<What>(effects).empty();
}

// The one answer among the effects, which has to be of this kind.
template <class Reply>
Reply reply_in(const Effects& effects) {
  auto answer = only<Answer>(effects);
  auto* reply = std::get_if<Reply>(&answer.message);
  EXPECT_NE(reply, nullptr);
  return reply != nullptr ? std::move(*reply) : Reply{};
}

template <class Reply>
std::optional<messages::RoundFault> fault_in(const Effects& effects) {
  const auto reply = reply_in<Reply>(effects);
  const auto* failed = std::get_if<messages::RoundFailed>(&reply);
  return failed != nullptr ? std::optional(failed->fault) : std::nullopt;
}

template <class What, class... Whats>
What as(const std::variant<Whats...>& variant) {
  const auto* what = std::get_if<What>(&variant);
  EXPECT_NE(what, nullptr) << "it holds alternative " << variant.index();
  return what != nullptr ? *what : What{};
}

template <class What, class... Whats>
bool is(const std::variant<Whats...>& variant) {
  return std::holds_alternative<What>(variant);
}

// ---- the driver

class AgentDriver {
 public:
  explicit AgentDriver(const AgentLimits& limits = {}) : machine(kShard, limits) {}

  Effects step(Event event) { return machine.step(std::move(event), now); }
  Effects tick() { return step(Tick{}); }
  Effects tick_after(Duration pause) {
    now.steady += pause;
    return tick();
  }
  template <class Message>
  Effects ask(Message message) {
    return step(Asked<Message>{++last_request, std::move(message)});
  }

  // From New to Serving, or after a lost connection to Serving again.
  Effects take_over(Epoch epoch = kEpoch, std::vector<InDoubtRound> in_doubt = {}) {
    EXPECT_TRUE(has<TakeOver>(tick()));
    return step(TakenOver{epoch, std::move(in_doubt)});
  }
  Effects lose_connection() { return step(SessionLost{machine.epoch()}); }

  // Answers the ReadState among `effects` from what the shard owns and has stored.
  Effects read(const Effects& effects) {
    const auto wanted = only<ReadState>(effects);
    StateRead event{wanted.round, wanted.attempt, DbOutcome::Done, {}, {}};
    for (const auto account : wanted.accounts) {
      if (owned.contains(account)) event.heads.push_back({account, owned.at(account)});
    }
    for (const auto& key : wanted.keys) {
      if (stored.contains(key)) event.stored.push_back(stored.at(key));
    }
    return step(std::move(event));
  }
  // Reads as often as the machine wants it.
  Effects read_if_wanted(Effects effects) {
    while (has<ReadState>(effects) && !testing::Test::HasFailure()) effects = read(effects);
    return effects;
  }

  Effects start_local(std::int64_t sequence, std::vector<messages::LocalOrder> orders) {
    return ask(messages::LocalRound{round_of(sequence), std::move(orders)});
  }
  Effects append_done(std::int64_t sequence, DbOutcome outcome = DbOutcome::Done) {
    return step(AppendDone{round_of(sequence), outcome, ""});
  }
  // A whole local round; the answers of its orders.
  std::vector<messages::LocalAnswer> run_local(std::int64_t sequence,
                                               std::vector<messages::LocalOrder> orders) {
    auto effects = read_if_wanted(start_local(sequence, std::move(orders)));
    if (has<Append>(effects)) effects = append_done(sequence);
    return as<messages::LocalRoundDone>(reply_in<messages::LocalReply>(effects)).answers;
  }

  Effects start_reserve(std::int64_t sequence, std::vector<messages::ReserveOrder> orders) {
    return ask(messages::Reserve{round_of(sequence), std::move(orders)});
  }
  std::vector<messages::Vote> reserve(std::int64_t sequence,
                                      std::vector<messages::ReserveOrder> orders) {
    const auto effects = read_if_wanted(start_reserve(sequence, std::move(orders)));
    return as<messages::Reserved>(reply_in<messages::ReserveReply>(effects)).votes;
  }
  Effects start_prepare(std::int64_t sequence, std::vector<std::int32_t> survivors,
                        std::vector<Head> arriving = {}) {
    return ask(messages::Prepare{round_of(sequence), machine.epoch(), std::move(survivors),
                                 std::move(arriving)});
  }
  Effects prepare_done(std::int64_t sequence, DbOutcome outcome = DbOutcome::Done) {
    return step(PrepareDone{round_of(sequence), outcome, ""});
  }
  // From nothing to Prepared, with every order surviving.
  messages::Prepared prepare(std::int64_t sequence, std::vector<messages::ReserveOrder> orders) {
    std::vector<std::int32_t> survivors;
    for (std::size_t i = 0; i < orders.size(); ++i) {
      survivors.push_back(static_cast<std::int32_t>(i));
    }
    reserve(sequence, std::move(orders));
    EXPECT_TRUE(has<PrepareRound>(start_prepare(sequence, std::move(survivors))));
    return as<messages::Prepared>(reply_in<messages::PrepareReply>(prepare_done(sequence)));
  }
  Effects commit(std::int64_t sequence) { return ask(messages::Settle{round_of(sequence), true}); }
  Effects abort(std::int64_t sequence) { return ask(messages::Settle{round_of(sequence), false}); }
  Effects release(std::int64_t sequence) { return ask(messages::Release{round_of(sequence)}); }
  Effects settle_done(std::int64_t sequence,
                      messages::SettleOutcome outcome = messages::SettleOutcome::Settled) {
    return step(SettlePreparedDone{round_of(sequence), outcome, false});
  }

  // What the next scan, begun after a pause, finds prepared.
  Effects scan(std::vector<PreparedScanned::Found> prepared) {
    const auto begun = only<ScanPrepared>(tick_after(std::chrono::seconds(2)));
    return step(PreparedScanned{begun.scan, std::move(prepared)});
  }

  // Asks for the account with a reservation of one cent and gives it back at once.
  bool is_held(AccountId account) {
    const auto probe = next_probe_--;
    const auto votes = reserve(probe, {is_paid(make_transfer({kAway, account, 1, 999}))});
    release(probe);
    return votes.size() == 1 && is<messages::Busy>(votes[0]);
  }

  AgentMachine machine;
  Now now{Instant{} + std::chrono::hours(1), Timestamp{} + std::chrono::hours(500'000)};
  std::map<AccountId, Head> owned;
  std::map<TransferId, StoredTransfer> stored;
  RequestId last_request = 0;

 private:
  std::int64_t next_probe_ = -100;
};

// Serves with epoch kEpoch and owns Anna, Bert, Cleo and Dora, with 100 each of at most 1000.
class ServingAgent : public AgentDriver {
 public:
  explicit ServingAgent(const AgentLimits& limits = {}) : AgentDriver(limits) {
    take_over();
    for (const auto account : {kAnna, kBert, kCleo, kDora}) {
      owned[account] = make_head({.balance = 100});
    }
  }
};

}  // namespace koshel::agent
