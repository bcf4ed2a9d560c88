// Local rounds: holds, the @world slots, and keys.

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Applied;
using messages::Busy;
using messages::KeyInProgress;
using messages::LocalOrder;
using messages::LocalReply;

LocalOrder pay(const TransferOptions& options, int times_busy = 0) {
  return {make_transfer(options), times_busy};
}
LocalOrder pay_keyed(const TransferOptions& options) {
  return {make_keyed(options), 0};
}

std::vector<messages::LocalAnswer> answers_in(const Effects& effects) {
  return as<messages::LocalRoundDone>(reply_in<LocalReply>(effects)).answers;
}

TEST(LocalHolds, TurnAwayWhoComesToAHeldAccountAndServeTheOthers) {
  ServingAgent agent;
  agent.start_local(1, {pay({kAnna, kBert, 5})});
  const auto answers = agent.run_local(2, {pay({kBert, kCleo, 5, 1}), pay({kDora, kCleo, 5, 2})});
  EXPECT_EQ(as<Busy>(answers.at(0)), (Busy{kBert, false}));
  EXPECT_TRUE(is<Applied>(answers.at(1)));
  EXPECT_EQ(agent.machine.counters().busy, 1);
}

TEST(LocalHolds, TakeNothingForAnOrderThatIsTurnedAway) {
  ServingAgent agent;
  agent.start_local(1, {pay({kAnna, kBert, 5})});
  agent.start_local(2, {pay({kCleo, kBert, 5})});
  EXPECT_FALSE(agent.is_held(kCleo));
}

TEST(LocalHolds, EndWithTheirRound) {
  ServingAgent agent;
  const auto first = agent.start_local(1, {pay({kAnna, kBert, 5})});
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.read(first);
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.append_done(1);
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_FALSE(agent.is_held(kBert));
}

TEST(LocalHolds, KeepAnAccountForWhoWasTurnedAwayOftenEnough) {
  AgentLimits limits;
  limits.busy_patience = 3;
  ServingAgent agent(limits);
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  EXPECT_TRUE(is<Busy>(agent.run_local(2, {pay({kBert, kCleo, 5, 8}, 3)}).at(0)));
  agent.append_done(1);
  EXPECT_TRUE(is<Busy>(agent.run_local(3, {pay({kBert, kDora, 5, 9})}).at(0)));
  EXPECT_TRUE(is<Applied>(agent.run_local(4, {pay({kBert, kCleo, 5, 8}, 4)}).at(0)));
  EXPECT_TRUE(is<Applied>(agent.run_local(5, {pay({kBert, kDora, 5, 9}, 1)}).at(0)));
}

TEST(LocalHolds, GiveTheKeptAccountAwayWhenItsMomentIsOver) {
  AgentLimits limits;
  limits.busy_patience = 3;
  ServingAgent agent(limits);
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.run_local(2, {pay({kBert, kCleo, 5, 8}, 3)});
  agent.append_done(1);
  agent.tick_after(limits.keep_for_patient);
  EXPECT_TRUE(is<Applied>(agent.run_local(3, {pay({kBert, kDora, 5, 9})}).at(0)));
}

TEST(WorldSlots, AreOpenedWhenFirstUsed) {
  ServingAgent agent;
  const auto effects = agent.read(agent.start_local(1, {pay({kAnyWorld, kAnna, 40})}));
  const auto batch = only<Append>(effects).batch;
  ASSERT_EQ(batch.opened.size(), 1U);
  EXPECT_EQ(batch.opened[0], (OpenedAccount{world_slot(0), kEuro}));
  const auto applied = as<Applied>(answers_in(agent.append_done(1)).at(0));
  EXPECT_EQ(applied.from, (LegState{world_slot(0), Version(2), Money(-40)}));
  EXPECT_EQ(applied.to, (LegState{kAnna, Version(2), Money(140)}));
}

TEST(WorldSlots, AreOpenedOnce) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnyWorld, kAnna, 40})});
  const auto effects = agent.start_local(2, {pay({kAnna, kAnyWorld, 140})});
  EXPECT_FALSE(has<ReadState>(effects));
  const auto batch = only<Append>(effects).batch;
  EXPECT_TRUE(batch.opened.empty());
  EXPECT_EQ(batch.heads.back(), (CountedHead{world_slot(0), Version(2), Money(-40)}));
}

TEST(WorldSlots, AreChosenAmongThoseThatAreFree) {
  ServingAgent agent;
  agent.start_local(1, {pay({kAnyWorld, kAnna, 40})});
  const auto second = agent.read(agent.start_local(2, {pay({kAnyWorld, kBert, 40})}));
  EXPECT_EQ(only<Append>(second).batch.opened.at(0).account, world_slot(1));
}

TEST(WorldSlots, AreSharedByTheDepositsOfOneRound) {
  ServingAgent agent;
  const auto effects =
      agent.read(agent.start_local(1, {pay({kAnyWorld, kAnna, 40}), pay({kAnyWorld, kBert, 2})}));
  const auto batch = only<Append>(effects).batch;
  EXPECT_EQ(batch.opened.size(), 1U);
  EXPECT_EQ(batch.entries.back().balance, Money(-42));
}

TEST(WorldSlots, MakeADepositBusyOnlyWhenAllAreHeld) {
  AgentLimits limits;
  limits.worlds_max = 2;
  ServingAgent agent(limits);
  agent.start_local(1, {pay({kAnyWorld, kAnna, 1})});
  agent.start_local(2, {pay({kAnyWorld, kBert, 1})});
  const auto answers = agent.run_local(3, {pay({kAnyWorld, kCleo, 1})});
  EXPECT_TRUE(is<Busy>(answers.at(0)));
  EXPECT_FALSE(agent.is_held(kCleo));
}

TEST(WorldSlots, AreKeptApartByCurrency) {
  ServingAgent agent;
  const CurrencyId yen(392);
  agent.start_local(1, {pay({kAnyWorld, kAnna, 1})});
  const auto effects =
      agent.read(agent.start_local(2, {pay({AccountId::any_world(yen), kBert, 1})}));
  EXPECT_EQ(only<Append>(effects).batch.opened.at(0),
            (OpenedAccount{AccountId::world(kShard, yen, 0), yen}));
}

TEST(LocalKeys, AreLookedUpAfterTheHold) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnna, kBert, 5});
  const auto wanted = only<ReadState>(agent.start_local(1, {order}));
  EXPECT_EQ(wanted.keys, (std::vector{std::get<Transfer>(order.what).id}));
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(LocalKeys, AreLookedUpThoughAllHeadsAreKnown) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnna, kBert, 5})});
  const auto wanted = only<ReadState>(agent.start_local(2, {pay_keyed({kAnna, kBert, 5, 2})}));
  EXPECT_TRUE(wanted.accounts.empty());
  EXPECT_EQ(wanted.keys.size(), 1U);
}

TEST(LocalKeys, AreLookedUpAgainAfterAStaleHead) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnna, kBert, 5});
  const auto transfer = std::get<Transfer>(order.what);
  agent.read(agent.start_local(1, {order}));
  const auto stale = agent.append_done(1, DbOutcome::Stale);
  EXPECT_EQ(only<ReadState>(stale).keys, (std::vector{transfer.id}));
  agent.stored[transfer.id] = {
      transfer, EntryKind::Transfer, {}, {kAnna, Version(2), Money(95)}, {}};
  EXPECT_TRUE(is<messages::Replayed>(answers_in(agent.read(stale)).at(0)));
}

TEST(LocalKeys, AreReplayedWithTheAnswerOfThatTime) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kBert, 5});
  const StoredTransfer before{
      transfer, EntryKind::Transfer, {}, {kAnna, Version(2), Money(95)}, Timestamp()};
  agent.stored[transfer.id] = before;
  const auto answers = agent.run_local(1, {{transfer, 0}});
  EXPECT_EQ(as<messages::Replayed>(answers.at(0)).stored, before);
}

TEST(LocalKeys, AreRefusedWithOtherContent) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kBert, 5});
  agent.stored[transfer.id] = {
      transfer, EntryKind::Transfer, {}, {kAnna, Version(2), Money(95)}, {}};
  const auto answers = agent.run_local(1, {pay_keyed({kAnna, kBert, 6})});
  EXPECT_TRUE(is<messages::KeyReused>(answers.at(0)));
}

TEST(LocalKeys, RememberARefusalAndReplayIt) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kBert, 101});
  auto effects = agent.read(agent.start_local(1, {{transfer, 0}}));
  const auto entry = only<Append>(effects).batch.entries.at(0);
  EXPECT_EQ(entry.kind, EntryKind::Refused);
  const auto first = as<messages::Refused>(answers_in(agent.append_done(1)).at(0));
  // Enough money now, and still the answer stands.
  agent.run_local(2, {pay({kCleo, kAnna, 50})});
  agent.stored[transfer.id] = {
      transfer, EntryKind::Refused, entry.refusal, {kAnna, entry.version, entry.balance}, {}};
  const auto again = as<messages::Replayed>(agent.run_local(3, {{transfer, 0}}).at(0));
  EXPECT_EQ(again.stored.refusal, first.refusal);
}

TEST(LocalKeys, AreUsedOnceInARound) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnna, kBert, 5});
  const auto effects = agent.read(agent.start_local(1, {order, order}));
  EXPECT_EQ(only<Append>(effects).batch.entries.size(), 2U);
  const auto answers = answers_in(agent.append_done(1));
  EXPECT_TRUE(is<Applied>(answers.at(0)));
  EXPECT_TRUE(is<Busy>(answers.at(1)));
}

TEST(LocalKeys, AreInProgressWhileAnotherRoundHasThem) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnna, kBert, 5});
  agent.read(agent.start_local(1, {order}));
  EXPECT_TRUE(is<KeyInProgress>(agent.run_local(2, {order}).at(0)));
  agent.append_done(1);
  agent.stored[std::get<Transfer>(order.what).id] = {
      std::get<Transfer>(order.what), EntryKind::Transfer, {}, {kAnna, Version(2), Money(95)}, {}};
  EXPECT_TRUE(is<messages::Replayed>(agent.run_local(3, {order}).at(0)));
}

TEST(LocalKeys, AreInProgressWhileACrossShardRoundHasThem) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.prepare(1, {pays(transfer)});
  EXPECT_TRUE(is<KeyInProgress>(agent.run_local(2, {{transfer, 0}}).at(0)));
  const messages::RememberRefusal remember{transfer, {}};
  EXPECT_TRUE(is<KeyInProgress>(agent.run_local(3, {{remember, 0}}).at(0)));
}

TEST(LocalKeys, AreInProgressForADepositToo) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnyWorld, kBert, 5});
  agent.read(agent.start_local(1, {order}));
  EXPECT_TRUE(is<KeyInProgress>(agent.run_local(2, {order}).at(0)));
}

// A round that the agent asks about was forgotten with all holds and keys. What it leaves behind
// when it ends must not take a key from the round that has it now.
TEST(LocalKeys, StayWithTheNewRoundWhenAnUnknownOneEnds) {
  ServingAgent agent;
  const auto order = pay_keyed({kAnna, kBert, 5});
  agent.read(agent.start_local(1, {order}));
  agent.append_done(1, DbOutcome::Lost);
  agent.take_over(kEpoch.next());
  agent.read(agent.start_local(2, {order}));
  agent.step(LocalAsked{round_of(1), AskRoundOutcome::NotApplied});
  EXPECT_TRUE(is<KeyInProgress>(agent.run_local(3, {order}).at(0)));
}

TEST(LocalKeys, MayComeWhileTheirRoundIsUnderWay) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kBert, 5});
  EXPECT_FALSE(agent.machine.may_bring(transfer.id, kAnna));
  agent.read(agent.start_local(1, {{transfer, 0}}));
  EXPECT_TRUE(agent.machine.may_bring(transfer.id, kAnna));
  EXPECT_FALSE(agent.machine.may_bring(TransferId(kAnna, {0, 55}), kAnna));
  agent.append_done(1);
  EXPECT_FALSE(agent.machine.may_bring(transfer.id, kAnna));
}

}  // namespace
}  // namespace koshel::agent
