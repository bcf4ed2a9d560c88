#pragma once
// Makes a coordinator's machine, hands it events and keeps the effects until a test takes them.
// Account N lives on shard N / 100, so that accounts alone say whether a transfer is local; account
// 0 is @world. Notes every answer and fails the test when an order is answered twice.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "coordinator/logic/coordinator_machine.hpp"

namespace koshel::coordinator {

using messages::AskRoundOutcome;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr Incarnation kIncarnation(9);
inline constexpr Duration kPatience = seconds(10);
inline constexpr CurrencyId kEuro(978);
inline constexpr AccountId kWorld = AccountId::any_world(kEuro);
inline const Timestamp kThen{std::chrono::microseconds(1'700'000'000'000'000)};

// ---- orders

struct Sides {
  std::int64_t from = 0;
  std::int64_t to = 0;
};

inline ShardId home_of(AccountId account) {
  return ShardId(static_cast<std::int32_t>(account.value() / 100));
}

inline Order transfer(Sides sides, std::uint64_t number = 0) {
  TransferOrder order;
  auto& transfer = order.transfer;
  transfer.from = sides.from == 0 ? kWorld : AccountId(sides.from);
  transfer.to = sides.to == 0 ? kWorld : AccountId(sides.to);
  transfer.id = TransferId(sides.from == 0 ? transfer.to : transfer.from, {0, number});
  transfer.amount = Money(100);
  order.from_shard = home_of(transfer.from.is_world() ? transfer.to : transfer.from);
  order.to_shard = home_of(transfer.to.is_world() ? transfer.from : transfer.to);
  return order;
}

inline Order keyed(Sides sides, std::uint64_t key) {
  auto order = transfer(sides, key);
  std::get<TransferOrder>(order).transfer.is_keyed = true;
  return order;
}

inline Order limits(std::int64_t account) {
  LimitOrder order;
  order.change.account = AccountId(account);
  order.change.max_balance = Money(5'000);
  order.shard = home_of(order.change.account);
  return order;
}

inline Order open_user(std::string name, std::int64_t account) {
  OpenOrder order;
  order.open.account = AccountId(account);
  order.open.currency = kEuro;
  order.name = std::move(name);
  order.shard = home_of(order.open.account);
  return order;
}

inline const Transfer& asked(const Order& order) {
  return std::get<TransferOrder>(order).transfer;
}

inline StoredTransfer stored_of(const Order& order) {
  StoredTransfer stored;
  stored.transfer = asked(order);
  stored.anchor.account = stored.transfer.id.anchor();
  stored.at = kThen;
  return stored;
}

inline Refusal refusal_of(RefusalCode code) {
  Refusal refusal;
  refusal.code = code;
  return refusal;
}

// ---- what others say

inline Error lost() {
  return {Fault::InDoubt, "the reply was lost"};
}
inline Error unreachable() {
  return {Fault::Unavailable, "the call was never made"};
}

inline messages::FindTransferDone found(StoredTransfer stored) {
  messages::FindTransferDone done;
  done.stored = std::move(stored);
  return done;
}

inline messages::RoundFailed failed(messages::RoundFault fault) {
  return {fault, "as told"};
}

inline LegState leg_of(ShardId shard, std::size_t place) {
  const auto place_number = static_cast<std::int64_t>(place);
  return {AccountId(shard.value() * 100 + place_number), Version(place_number + 2), Money(7)};
}

inline messages::Prepared prepared_of(ShardId shard, std::size_t survivors) {
  messages::Prepared prepared{{}, kThen};
  for (std::size_t i = 0; i < survivors; ++i) prepared.legs.push_back(leg_of(shard, i));
  return prepared;
}

// ---- the machine

struct RoundInFlight {
  Sequence round;
  std::vector<ShardId> shards;
  std::vector<OrderId> orders;
};

class CoordinatorDriver {
 public:
  explicit CoordinatorDriver(const RoundLimits& rounds = {}, const BookLimits& book = {},
                             const RebalanceLimits& rebalance = {})
      : machine_(kIncarnation, book, rounds, LogLimits{}, rebalance) {}

  CoordinatorMachine& machine() { return machine_; }

  void give(Event event) {
    for (auto& effect : machine_.step(std::move(event), now_)) {
      if (auto* finish = std::get_if<Finish>(&effect)) {
        EXPECT_LE(finish->order, last_order_) << "nobody asked for this order";
        EXPECT_TRUE(answers_.emplace(finish->order, std::move(finish->outcome)).second)
            << "order " << finish->order << " was answered twice";
      } else {
        effects_.push_back(std::move(effect));
      }
    }
  }
  // Time passes in one step, then the clock ticks.
  void pass(Duration time) {
    now_ += time;
    give(Tick{});
  }

  std::vector<OrderId> submit_together(std::vector<Order> orders, Duration patience = kPatience) {
    Submit submit;
    std::vector<OrderId> ids;
    for (auto& order : orders) {
      ids.push_back(++last_order_);
      submit.orders.push_back({last_order_, std::move(order), now_ + patience});
    }
    give(std::move(submit));
    return ids;
  }
  OrderId submit(Order order, Duration patience = kPatience) {
    return submit_together({std::move(order)}, patience).front();
  }

  // The effects of one kind since they were last taken, oldest first.
  template <class What>
  std::vector<What> take() {
    std::vector<What> taken;
    std::vector<Effect> rest;
    for (auto& effect : effects_) {
      if (auto* what = std::get_if<What>(&effect)) {
        taken.push_back(std::move(*what));
      } else {
        rest.push_back(std::move(effect));
      }
    }
    effects_ = std::move(rest);
    return taken;
  }
  template <class Message>
  std::vector<Send<Message>> sent() {
    return take<Send<Message>>();
  }
  template <class What>
  What take_one() {
    auto taken = take<What>();
    if (taken.size() != 1) {
      throw std::runtime_error("one effect expected, not " + std::to_string(taken.size()));
    }
    return std::move(taken.front());
  }
  template <class Message>
  Send<Message> sent_one() {
    return take_one<Send<Message>>();
  }
  // Nothing was asked for since effects were last taken, but what is told the directory regularly.
  bool is_idle() const {
    return std::ranges::all_of(effects_, [](const Effect& effect) {
      return std::holds_alternative<KeepLog>(effect) ||
             std::holds_alternative<BeatRebalance>(effect);
    });
  }
  void discard() { effects_.clear(); }

  // ---- answers

  bool is_answered(OrderId id) const { return answers_.contains(id); }
  std::size_t answered() const { return answers_.size(); }
  template <class What>
  const What* answer(OrderId id) const {
    const auto found = answers_.find(id);
    return found == answers_.end() ? nullptr : std::get_if<What>(&found->second);
  }
  std::optional<FailCode> fail_code(OrderId id) const {
    const auto* failed = answer<Failed>(id);
    return failed == nullptr ? std::nullopt : std::optional(failed->code);
  }

  // ---- replies

  void reply_local(Sequence round, messages::LocalReply reply) {
    give(LocalReplied{round, std::move(reply)});
  }
  void apply_all(const Send<messages::LocalRound>& sent) {
    messages::LocalRoundDone done;
    done.answers.resize(sent.message.orders.size(), messages::Applied{});
    reply_local(sent.round, std::move(done));
  }
  void vote(Sequence round, ShardId shard, std::vector<messages::Vote> votes,
            Epoch epoch = Epoch(1)) {
    give(ReserveReplied{round, shard, messages::ReserveReply(messages::Reserved{epoch, votes})});
  }
  void reply_prepare(Sequence round, ShardId shard, messages::PrepareReply reply) {
    give(PrepareReplied{round, shard, std::move(reply)});
  }
  void reply_settle(Sequence round, ShardId shard, messages::SettleOutcome outcome) {
    give(SettleReplied{round, shard, messages::SettleDone{outcome}});
  }
  void settle_all(const RoundInFlight& round) {
    for (const auto shard : round.shards) {
      reply_settle(round.round, shard, messages::SettleOutcome::Settled);
    }
  }

  // ---- rounds of several parts, all orders of which survive

  RoundInFlight start_cross(std::vector<Order> orders, Duration patience = kPatience) {
    RoundInFlight started{{}, {}, submit_together(std::move(orders), patience)};
    for (const auto& reserve : sent<messages::Reserve>()) {
      started.round = reserve.round;
      started.shards.push_back(reserve.shard);
    }
    return started;
  }
  RoundInFlight bring_to_prepare(std::vector<Order> orders, Duration patience = kPatience) {
    auto started = start_cross(std::move(orders), patience);
    for (const auto shard : started.shards) {
      vote(started.round, shard, {started.orders.size(), messages::Yes{}});
    }
    return started;
  }
  RoundInFlight bring_to_decision(std::vector<Order> orders, Duration patience = kPatience) {
    auto started = bring_to_prepare(std::move(orders), patience);
    sent<messages::Prepare>();
    for (const auto shard : started.shards) {
      reply_prepare(started.round, shard, prepared_of(shard, started.orders.size()));
    }
    return started;
  }
  RoundInFlight bring_to_settling(std::vector<Order> orders, Duration patience = kPatience) {
    auto started = bring_to_decision(std::move(orders), patience);
    take<Decide>();
    give(Decided{started.round, Decision::Commit});
    return started;
  }

 private:
  CoordinatorMachine machine_;
  Instant now_{std::chrono::hours(1)};
  OrderId last_order_ = 0;
  std::vector<Effect> effects_;
  std::map<OrderId, Outcome> answers_;
};

}  // namespace koshel::coordinator
