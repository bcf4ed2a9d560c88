// Cross-shard rounds from the prepare on: settle, in order and out of it.

#include <gtest/gtest.h>

#include "shard-agent/logic/cross_rounds.hpp"
#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::PrepareReply;
using messages::RoundFault;
using messages::SettleDone;
using messages::SettleOutcome;

messages::ReserveOrder anna_pays(std::int64_t amount, std::uint64_t number = 1) {
  return pays(make_transfer({kAnna, kAway, amount, number}));
}

SettleOutcome outcome_in(const Effects& effects) {
  return reply_in<SettleDone>(effects).outcome;
}

// What the agent counts on Anna's head to be.
CountedHead counted_head(AgentDriver& agent, std::int64_t sequence) {
  const auto effects =
      agent.read_if_wanted(agent.start_local(sequence, {{make_transfer({kAnna, kBert, 1}), 0}}));
  return only<Append>(effects).batch.heads.at(0);
}

TEST(Settling, CommitsAtOnceAndMovesTheHeads) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  const auto begun = agent.commit(1);
  EXPECT_FALSE(has<Answer>(begun));
  EXPECT_EQ(only<SettlePrepared>(begun).round, round_of(1));
  EXPECT_TRUE(only<SettlePrepared>(begun).is_commit);
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_EQ(outcome_in(agent.settle_done(1)), SettleOutcome::Settled);
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_EQ(agent.machine.counters().transfers_applied, 1);
  const auto next = agent.start_local(2, {{make_transfer({kAnna, kBert, 1}), 0}});
  EXPECT_EQ(only<ReadState>(next).accounts, (std::vector{kBert}));
  EXPECT_EQ(only<Append>(agent.read(next)).batch.heads.at(0),
            (CountedHead{kAnna, Version(2), Money(95)}));
}

TEST(Settling, RollsBackAndLeavesTheHeads) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  EXPECT_FALSE(only<SettlePrepared>(agent.abort(1)).is_commit);
  EXPECT_EQ(outcome_in(agent.settle_done(1)), SettleOutcome::Settled);
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_EQ(agent.machine.counters().transfers_applied, 0);
  EXPECT_EQ(counted_head(agent, 2), (CountedHead{kAnna, Version(1), Money(100)}));
}

TEST(Settling, LetsTheHoldsRowGoWithTheNextPrepare) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  agent.settle_done(1);
  agent.reserve(2, {anna_pays(5)});
  EXPECT_EQ(only<PrepareRound>(agent.start_prepare(2, {0})).forgotten, (std::vector{round_of(1)}));
  EXPECT_FALSE(has<ForgetHolds>(agent.tick_after(std::chrono::seconds(2))));
}

TEST(Settling, LetsTheHoldsRowGoWithTheNextScanOtherwise) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  const auto begun = agent.tick();
  EXPECT_FALSE(has<ForgetHolds>(begun));
  agent.step(PreparedScanned{only<ScanPrepared>(begun).scan, {{{round_of(1), 0}}}});
  agent.commit(1);
  agent.settle_done(1);
  EXPECT_EQ(only<ForgetHolds>(agent.tick_after(std::chrono::seconds(2))).rounds,
            (std::vector{round_of(1)}));
}

TEST(Settling, WaitsForThePrepareThatStillRuns) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  const auto prepare_request = agent.last_request;
  EXPECT_TRUE(agent.abort(1).empty());
  const auto settle_request = agent.last_request;
  const auto effects = agent.prepare_done(1);
  EXPECT_EQ(only<Answer>(effects).request, prepare_request);
  EXPECT_FALSE(only<SettlePrepared>(effects).is_commit);
  EXPECT_EQ(only<Answer>(agent.settle_done(1)).request, settle_request);
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(Settling, HasNothingToDoForAnAbortWhenThePrepareFails) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  agent.abort(1);
  const auto effects = agent.prepare_done(1, DbOutcome::Stale);
  const auto answers = all<Answer>(effects);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_TRUE(is<PrepareReply>(answers[0].message));
  EXPECT_EQ(as<SettleDone>(answers[1].message).outcome, SettleOutcome::Settled);
  EXPECT_FALSE(has<SettlePrepared>(effects));
}

TEST(Settling, AnswersEachOfTwoSettlesOnceWhileThePrepareRuns) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  std::map<RequestId, int> times_answered;
  const auto count = [&](const Effects& effects) {
    for (const auto& answer : all<Answer>(effects)) ++times_answered[answer.request];
  };
  const auto prepare_request = agent.last_request;
  count(agent.abort(1));
  const auto first = agent.last_request;
  count(agent.abort(1));
  const auto second = agent.last_request;
  count(agent.prepare_done(1));
  count(agent.settle_done(1));
  const std::map<RequestId, int> expected{{prepare_request, 1}, {first, 1}, {second, 1}};
  EXPECT_EQ(times_answered, expected);
}

TEST(Settling, SaysLaterToASecondSettleWhileTheFirstRuns) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  const auto first = agent.last_request;
  const auto second = agent.commit(1);
  EXPECT_EQ(outcome_in(second), SettleOutcome::Later);
  EXPECT_FALSE(has<SettlePrepared>(second));
  EXPECT_EQ(only<Answer>(agent.settle_done(1)).request, first);
}

TEST(Settling, AsksTheDatabaseAboutARoundItDoesNotKnow) {
  ServingAgent agent;
  EXPECT_TRUE(only<SettlePrepared>(agent.commit(1)).is_commit);
  EXPECT_EQ(outcome_in(agent.settle_done(1)), SettleOutcome::Settled);
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(Settling, AsksTheDatabaseAgainWhenASettleIsRepeated) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  agent.settle_done(1);
  EXPECT_TRUE(has<SettlePrepared>(agent.commit(1)));
  EXPECT_EQ(outcome_in(agent.settle_done(1)), SettleOutcome::Settled);
}

TEST(Settling, ReleasesAReservationForAnAbort) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  const auto effects = agent.abort(1);
  EXPECT_EQ(outcome_in(effects), SettleOutcome::Settled);
  EXPECT_FALSE(has<SettlePrepared>(effects));
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.machine.is_idle());
}

// A reserve that was delivered again after its round had been settled looks like one that was never
// prepared. Only the database has the row that tells them apart.
TEST(Settling, AsksTheDatabaseBeforeItCallsAReservedRoundLost) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  agent.settle_done(1);
  agent.reserve(1, {anna_pays(5)});  // delivered again, late
  const auto effects = agent.commit(1);
  EXPECT_FALSE(has<Answer>(effects));
  EXPECT_TRUE(has<SettlePrepared>(effects));
}

TEST(Settling, RaisesAnAlarmForALostHalf) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  const auto effects = agent.settle_done(1, SettleOutcome::Lost);
  ASSERT_EQ(all<Answer>(effects).size(), 1U);
  EXPECT_EQ(as<SettleDone>(only<Answer>(effects).message).outcome, SettleOutcome::Lost);
  EXPECT_TRUE(has<Alarm>(effects));
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_TRUE(has<ReadState>(agent.start_local(2, {{make_transfer({kAnna, kBert, 1}), 0}})));
}

TEST(Settling, GoesBackToPreparedWhenItCannotBeDoneNow) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  EXPECT_EQ(outcome_in(agent.settle_done(1, SettleOutcome::Later)), SettleOutcome::Later);
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(has<SettlePrepared>(agent.commit(1)));
}

TEST(Settling, AsksTheLogWhenItCouldNotBeDoneInTime) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.commit(1);
  agent.settle_done(1, SettleOutcome::Later);
  EXPECT_EQ(only<AskDecision>(agent.scan({{round_of(1), 10}})).round, round_of(1));
}

TEST(Settling, IgnoresResultsOfRoundsItDoesNotKnow) {
  ServingAgent agent;
  EXPECT_TRUE(agent.settle_done(8).empty());
  EXPECT_TRUE(agent.prepare_done(8).empty());
  EXPECT_TRUE(agent.machine.is_serving());
}

TEST(Settling, KeepsInFlightWhatMayStillCome) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.prepare(1, {pays(transfer)});
  EXPECT_TRUE(agent.machine.may_bring(transfer.id, kAnna));
  agent.commit(1);
  EXPECT_TRUE(agent.machine.may_bring(transfer.id, kAnna));
  agent.settle_done(1);
  EXPECT_FALSE(agent.machine.may_bring(transfer.id, kAnna));
}

// The heads memory is bounded and forgets; what a reservation counts on has to last until its
// prepare.
TEST(Settling, PreparesThoughTheMemoryHasForgottenItsHeads) {
  AgentLimits limits;
  limits.heads_cached_max = 4;
  ServingAgent agent(limits);
  agent.reserve(1, {anna_pays(5)});
  for (std::int64_t i = 0; i < 8; ++i) {
    const AccountId other(500 + i);
    agent.owned[other] = make_head({.balance = 1});
    agent.run_local(10 + i, {{messages::LimitChange{other, {}, Money(50), {}}, 0}});
  }
  const auto batch = only<PrepareRound>(agent.start_prepare(1, {0})).batch;
  EXPECT_EQ(batch.heads, (std::vector{CountedHead{kAnna, Version(1), Money(100)}}));
}

// @world can pay in as much as its bounds allow; more than that is no reason for the agent to stop.
TEST(Settling, DoesNotVoteYesForAnOpeningThatWorldCannotPay) {
  ServingAgent agent;
  const auto votes = agent.reserve(1, {{make_opening(AccountId(21), INT64_MAX), 0}});
  EXPECT_FALSE(is<messages::Yes>(votes.at(0)));
}

TEST(Settling, DoesNotVoteYesForOpeningsThatWorldCannotPayTogether) {
  ServingAgent agent;
  const auto votes = agent.reserve(1, {{make_opening(AccountId(21), INT64_MAX / 2), 0},
                                       {make_opening(AccountId(22), INT64_MAX / 2), 0}});
  EXPECT_TRUE(is<messages::Yes>(votes.at(0)));
  EXPECT_FALSE(is<messages::Yes>(votes.at(1)));
}

}  // namespace
}  // namespace koshel::agent
