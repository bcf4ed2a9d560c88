#include "shard-agent/logic/agent_machine.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::LocalReply;
using messages::PrepareReply;
using messages::ReserveReply;
using messages::RoundFault;
using messages::SettleDone;
using messages::SettleOutcome;

messages::LocalOrder anna_pays_bert() {
  return {make_transfer({kAnna, kBert, 5}), 0};
}
messages::ReserveOrder anna_pays() {
  return pays(make_transfer({kAnna, kAway, 5}));
}

void expect_serves_nothing(AgentDriver& agent) {
  EXPECT_FALSE(agent.machine.is_serving());
  const auto other_round = 100 + static_cast<std::int64_t>(agent.last_request);
  EXPECT_EQ(fault_in<LocalReply>(agent.start_local(other_round, {anna_pays_bert()})),
            RoundFault::Starting);
  EXPECT_EQ(fault_in<ReserveReply>(agent.start_reserve(2, {anna_pays()})), RoundFault::Starting);
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(2, {0})), RoundFault::Starting);
  EXPECT_EQ(reply_in<SettleDone>(agent.commit(2)).outcome, SettleOutcome::Later);
  EXPECT_TRUE(agent.release(2).empty());
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(AgentMachine, ServesNothingBeforeItHasTakenOver) {
  AgentDriver agent;
  expect_serves_nothing(agent);
  EXPECT_TRUE(has<TakeOver>(agent.tick()));
  expect_serves_nothing(agent);
}

TEST(AgentMachine, ServesWithTheEpochItHasTaken) {
  AgentDriver agent;
  agent.take_over(Epoch(42));
  EXPECT_TRUE(agent.machine.is_serving());
  EXPECT_EQ(agent.machine.epoch(), Epoch(42));
  EXPECT_EQ(agent.machine.counters().take_overs, 1);
}

TEST(AgentMachine, TakesOverOnceAtATime) {
  AgentDriver agent;
  EXPECT_TRUE(has<TakeOver>(agent.tick()));
  EXPECT_TRUE(agent.tick_after(std::chrono::hours(1)).empty());
}

TEST(AgentMachine, TriesAgainAfterAPauseWhenItCannotTakeOver) {
  AgentLimits limits;
  AgentDriver agent(limits);
  agent.tick();
  EXPECT_TRUE(agent.step(TakenOver{std::nullopt, {}}).empty());
  EXPECT_FALSE(agent.machine.is_serving());
  EXPECT_TRUE(agent.tick_after(limits.take_over_retry - Duration(1)).empty());
  EXPECT_TRUE(has<TakeOver>(agent.tick_after(Duration(1))));
  agent.step(TakenOver{kEpoch, {}});
  EXPECT_TRUE(agent.machine.is_serving());
}

TEST(AgentMachine, TakesOverAnewAfterALostConnection) {
  ServingAgent agent;
  EXPECT_TRUE(agent.lose_connection().empty());
  expect_serves_nothing(agent);
  EXPECT_EQ(only<TakeOver>(agent.tick()).known, kEpoch);
  agent.step(TakenOver{kEpoch.next(), {}});
  EXPECT_EQ(agent.machine.epoch(), kEpoch.next());
  EXPECT_EQ(agent.machine.counters().take_overs, 2);
}

TEST(AgentMachine, ForgetsEverythingWhenItTakesOverAnew) {
  ServingAgent agent;
  agent.run_local(1, {anna_pays_bert()});
  const auto transfer = make_keyed({kCleo, kAway, 5});
  agent.prepare(2, {pays(transfer)});
  EXPECT_GT(agent.machine.heads_cached(), 0U);
  agent.lose_connection();
  EXPECT_EQ(agent.machine.heads_cached(), 0U);
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
  EXPECT_EQ(agent.machine.rounds_in_flight(), 0U);
  agent.take_over(kEpoch.next());
  const auto wanted = only<ReadState>(agent.start_reserve(3, {pays(transfer)}));
  EXPECT_EQ(wanted.epoch, kEpoch.next());
  EXPECT_EQ(wanted.accounts, (std::vector{kCleo}));
}

TEST(AgentMachine, AppendsWithItsNewEpochAfterItTookOverAnew) {
  ServingAgent agent;
  agent.lose_connection();
  agent.take_over(kEpoch.next());
  const auto effects = agent.read(agent.start_local(1, {anna_pays_bert()}));
  EXPECT_EQ(only<Append>(effects).batch.epoch, kEpoch.next());
}

TEST(AgentMachine, FailsEveryReadingRoundWhenTheConnectionIsLost) {
  ServingAgent agent;
  agent.start_local(1, {anna_pays_bert()});
  const auto first = agent.last_request;
  agent.start_local(2, {{make_transfer({kCleo, kDora, 5}), 0}});
  const auto effects = agent.step(StateRead{round_of(2), 0, DbOutcome::Disconnected, {}, {}});
  const auto answers = all<Answer>(effects);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].request, first);
  for (const auto& answer : answers) {
    const auto failed = as<messages::RoundFailed>(as<LocalReply>(answer.message));
    EXPECT_EQ(failed.fault, RoundFault::Starting);
  }
}

TEST(AgentMachine, StopsWhenAnAppendMeetsANewerEpoch) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {anna_pays_bert()}));
  const auto effects = agent.append_done(1, DbOutcome::OldEpoch);
  EXPECT_TRUE(has<Stop>(effects));
  EXPECT_EQ(fault_in<LocalReply>(effects), RoundFault::Unavailable);
  expect_serves_nothing(agent);
  EXPECT_TRUE(agent.tick_after(std::chrono::hours(1)).empty());
}

TEST(AgentMachine, StopsWhenAReadingMeetsANewerEpoch) {
  ServingAgent agent;
  agent.start_local(1, {anna_pays_bert()});
  const auto effects = agent.step(StateRead{round_of(1), 0, DbOutcome::OldEpoch, {}, {}});
  EXPECT_TRUE(has<Stop>(effects));
  EXPECT_TRUE(has<Answer>(effects));
  expect_serves_nothing(agent);
}

TEST(AgentMachine, StopsWhenAPrepareMeetsANewerEpoch) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays()});
  agent.start_prepare(1, {0});
  const auto effects = agent.prepare_done(1, DbOutcome::OldEpoch);
  EXPECT_TRUE(has<Stop>(effects));
  EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::Unavailable);
  expect_serves_nothing(agent);
}

TEST(AgentMachine, NeverServesAgainOnceStopped) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {anna_pays_bert()}));
  agent.append_done(1, DbOutcome::OldEpoch);
  EXPECT_TRUE(agent.step(TakenOver{Epoch(99), {}}).empty());
  EXPECT_TRUE(agent.lose_connection().empty());
  EXPECT_FALSE(agent.machine.is_serving());
}

// A statement that waited behind a lost connection runs after the take-over, with the epoch of
// before. What it meets is this agent's own newer epoch.
TEST(AgentMachine, IsNotStoppedByItsOwnNewerEpoch) {
  ServingAgent agent;
  agent.start_local(1, {anna_pays_bert()});
  agent.read(agent.start_local(2, {{make_transfer({kCleo, kDora, 5}), 0}}));
  agent.lose_connection();
  agent.take_over(kEpoch.next());
  agent.step(StateRead{round_of(1), 0, DbOutcome::OldEpoch, {}, {}});
  EXPECT_TRUE(agent.machine.is_serving());
  agent.append_done(2, DbOutcome::OldEpoch);
  EXPECT_TRUE(agent.machine.is_serving());
}

// What was under way when the connection went may be there or come yet; nobody knows before the
// take-over.
TEST(AgentMachine, MayBringAnyTransferWhileItTakesOver) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.prepare(1, {pays(transfer)});
  agent.lose_connection();
  EXPECT_TRUE(agent.machine.may_bring(transfer.id, kAnna));
}

TEST(AgentMachine, TurnsRoundsAwayWhenTooManyAreInFlight) {
  AgentLimits limits;
  limits.rounds_in_flight_max = 2;
  ServingAgent agent(limits);
  const auto first = agent.start_local(1, {anna_pays_bert()});
  agent.reserve(2, {pays(make_transfer({kCleo, kAway, 5}))});
  EXPECT_EQ(agent.machine.rounds_in_flight(), 2U);
  const messages::LocalOrder order{make_transfer({kDora, kAway, 5}), 0};
  EXPECT_EQ(fault_in<LocalReply>(agent.start_local(3, {order})), RoundFault::Overloaded);
  EXPECT_EQ(fault_in<ReserveReply>(agent.start_reserve(4, {anna_pays()})), RoundFault::Overloaded);
  agent.read(first);
  agent.append_done(1);
  EXPECT_TRUE(has<ReadState>(agent.start_local(5, {order})));
}

TEST(AgentMachine, PreparesAndSettlesThoughTooManyRoundsAreInFlight) {
  AgentLimits limits;
  limits.rounds_in_flight_max = 1;
  ServingAgent agent(limits);
  agent.prepare(1, {anna_pays()});
  agent.commit(1);
  EXPECT_EQ(reply_in<SettleDone>(agent.settle_done(1)).outcome, SettleOutcome::Settled);
}

TEST(AgentMachine, TakesARoundsNameOnce) {
  ServingAgent agent;
  agent.start_local(1, {anna_pays_bert()});
  const auto reserve = agent.start_reserve(1, {pays(make_transfer({kCleo, kAway, 5}))});
  EXPECT_EQ(fault_in<ReserveReply>(reserve), RoundFault::Voided);
  agent.reserve(2, {pays(make_transfer({kCleo, kAway, 5}))});
  const auto local = agent.start_local(2, {{make_transfer({kDora, kCleo, 5}), 0}});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(local)));
}

TEST(AgentMachine, KeepsItsMemoryOfHeadsBounded) {
  AgentLimits limits;
  limits.heads_cached_max = 6;
  ServingAgent agent(limits);
  for (std::int64_t i = 0; i < 50; ++i) {
    const AccountId account(500 + i);
    agent.owned[account] = make_head({.balance = 1});
    agent.run_local(i, {{messages::LimitChange{account, {}, Money(50), {}}, 0}});
    ASSERT_LE(agent.machine.heads_cached(), 6U);
  }
}

TEST(AgentMachine, StopsWhenAnotherTookOverWhileItsConnectionWasGone) {
  ServingAgent agent;
  agent.lose_connection();
  const auto taking = only<TakeOver>(agent.tick());
  EXPECT_EQ(taking.known, kEpoch);
  EXPECT_TRUE(has<Stop>(agent.step(TakenOver{std::nullopt, {}, true})));
  EXPECT_FALSE(has<TakeOver>(agent.tick_after(std::chrono::seconds(9))));
}

TEST(AgentMachine, TakesOverAnewWhenAReadFindsItsSessionLost) {
  ServingAgent agent;
  EXPECT_TRUE(agent.step(SessionLost{Epoch(kEpoch.value() - 1)}).empty())
      << "ended by the take-over";
  EXPECT_TRUE(agent.machine.is_serving());
  agent.step(SessionLost{kEpoch});
  EXPECT_FALSE(agent.machine.is_serving());
}

}  // namespace
}  // namespace koshel::agent
