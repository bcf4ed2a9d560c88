// Cross-shard rounds whose coordinator is silent: the scan, the log, and what a take-over finds.

#include <gtest/gtest.h>

#include <algorithm>

#include "shard-agent/logic/cross_rounds.hpp"
#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Busy;
using messages::PrepareReply;
using messages::ReserveReply;
using messages::RoundFault;
using messages::SettleDone;
using messages::SettleOutcome;

constexpr double kOld = 5;  // AgentLimits::in_doubt_age, in seconds
constexpr double kYoung = 4.9;

messages::ReserveOrder anna_pays(std::int64_t amount) {
  return pays(make_transfer({kAnna, kAway, amount}));
}

// Beside Dora, whom no test here touches, and by what succeeds: a refusal would be read in any
// case.
bool is_read_anew(AgentDriver& agent, AccountId account) {
  const auto effects = agent.start_local(900, {{make_transfer({account, kDora}), 0}});
  return std::ranges::count(only<ReadState>(effects).accounts, account) > 0;
}

TEST(Recovery, ScansRegularlyAndOneScanAtATime) {
  AgentLimits limits;
  ServingAgent agent(limits);
  const auto first = only<ScanPrepared>(agent.tick());
  EXPECT_FALSE(has<ScanPrepared>(agent.tick_after(limits.scan_interval * 3)));
  agent.step(PreparedScanned{first.scan, std::nullopt});
  EXPECT_FALSE(has<ScanPrepared>(agent.tick_after(limits.scan_interval - Duration(1))));
  const auto second = only<ScanPrepared>(agent.tick_after(Duration(1)));
  EXPECT_GT(second.scan, first.scan);
  EXPECT_EQ(agent.machine.counters().prepared_scans, 1);
}

TEST(Recovery, LeavesYoungRoundsToTheirCoordinator) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  EXPECT_TRUE(agent.scan({{round_of(1), kYoung}}).empty());
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(Recovery, AsksTheLogAboutOldRounds) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  const auto effects = agent.scan({{round_of(1), kOld}});
  EXPECT_EQ(only<AskDecision>(effects).round, round_of(1));
  EXPECT_FALSE(has<SettlePrepared>(effects));
}

TEST(Recovery, AsksOnceUntilTheLogHasAnswered) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.scan({{round_of(1), kOld}});
  EXPECT_FALSE(has<AskDecision>(agent.scan({{round_of(1), kOld + 2}})));
  EXPECT_TRUE(agent.step(DecisionRead{round_of(1), std::nullopt}).empty());
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(has<AskDecision>(agent.scan({{round_of(1), kOld + 4}})));
}

TEST(Recovery, DoesWhatTheLogSays) {
  for (const bool is_commit : {true, false}) {
    ServingAgent agent;
    agent.prepare(1, {anna_pays(5)});
    agent.scan({{round_of(1), kOld}});
    const auto settle = only<SettlePrepared>(agent.step(DecisionRead{round_of(1), is_commit}));
    EXPECT_EQ(settle.round, round_of(1));
    EXPECT_EQ(settle.is_commit, is_commit);
    EXPECT_FALSE(has<Answer>(agent.settle_done(1)));
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_EQ(agent.machine.counters().recovered_commit, is_commit ? 1 : 0);
    EXPECT_EQ(agent.machine.counters().recovered_abort, is_commit ? 0 : 1);
    const auto effects = agent.read(agent.start_local(2, {{make_transfer({kAnna, kBert}), 0}}));
    EXPECT_EQ(only<Append>(effects).batch.heads.at(0).version, Version(is_commit ? 2 : 1));
  }
}

TEST(Recovery, LeavesARoundToTheCoordinatorThatCameFirst) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.scan({{round_of(1), kOld}});
  agent.commit(1);
  EXPECT_FALSE(has<SettlePrepared>(agent.step(DecisionRead{round_of(1), true})));
  EXPECT_TRUE(has<Answer>(agent.settle_done(1)));
  EXPECT_EQ(agent.machine.counters().recovered_commit, 0);
}

TEST(Recovery, IgnoresTheLogsWordOnARoundThatIsGone) {
  ServingAgent agent;
  EXPECT_TRUE(agent.step(DecisionRead{round_of(1), true}).empty());
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(Recovery, NeverAsksAboutAPrepareThatStillRuns) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  EXPECT_FALSE(has<AskDecision>(agent.scan({{round_of(1), kOld}})));
  EXPECT_TRUE(is<messages::Prepared>(reply_in<PrepareReply>(agent.prepare_done(1))));
}

TEST(Recovery, ReleasesWhatSomebodyElseSettledAndForgetsItsHeads) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  agent.scan({});
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
  EXPECT_TRUE(is_read_anew(agent, kAnna));
  const auto later = agent.tick_after(std::chrono::seconds(2));
  EXPECT_EQ(only<ForgetHolds>(later).rounds, (std::vector{round_of(1)}));
}

TEST(Recovery, AsksWhenTheServersClockWasSetBack) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  EXPECT_FALSE(has<AskDecision>(agent.scan({{round_of(1), -kOld / 2}})));
  EXPECT_TRUE(has<AskDecision>(agent.scan({{round_of(1), -3600}})));
}

TEST(Recovery, ReleasesTheKeysOfWhatSomebodyElseSettled) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.prepare(1, {pays(transfer)});
  agent.scan({});
  EXPECT_TRUE(is<messages::Yes>(agent.reserve(2, {pays(transfer)}).at(0)));
}

TEST(Recovery, DoesNotTrustAScanThatBeganBeforeThePrepareEnded) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  const auto begun = only<ScanPrepared>(agent.tick());
  agent.prepare_done(1);
  agent.step(PreparedScanned{begun.scan, std::vector<PreparedScanned::Found>{}});
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.scan({});
  EXPECT_FALSE(agent.is_held(kAnna));
}

TEST(Recovery, KeepsWhatIsReservedOrPreparingWhateverTheScanFinds) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.reserve(2, {pays(make_transfer({kBert, kAway, 5}))});
  agent.start_prepare(2, {0});
  agent.scan({});
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.is_held(kBert));
}

TEST(Recovery, KeepsEverythingWhenTheScanCouldNotBeRead) {
  ServingAgent agent;
  agent.prepare(1, {anna_pays(5)});
  const auto begun = only<ScanPrepared>(agent.tick());
  agent.step(PreparedScanned{begun.scan, std::nullopt});
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(Recovery, ResolvesARoundThatNobodyToldItOf) {
  ServingAgent agent;
  const auto effects = agent.scan({{round_of(40), kOld}});
  EXPECT_EQ(only<AskDecision>(effects).round, round_of(40));
  EXPECT_TRUE(has<SettlePrepared>(agent.step(DecisionRead{round_of(40), false})));
  agent.settle_done(40);
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(Recovery, LetsGoOfARoundThatOnlyOneScanSaw) {
  ServingAgent agent;
  EXPECT_TRUE(agent.scan({{round_of(40), kYoung}}).empty());
  EXPECT_FALSE(agent.machine.is_idle());
  agent.scan({});
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(TakingOver, HoldsTheAccountsInDoubtAndServesTheOthers) {
  ServingAgent agent;
  agent.lose_connection();
  const auto effects = agent.take_over(kEpoch.next(), {{round_of(1), {kAnna, kBert}}});
  EXPECT_EQ(only<AskDecision>(effects).round, round_of(1));  // of whatever age
  const auto answers = agent.run_local(
      2, {{make_transfer({kAnna, kCleo, 5}), 0}, {make_transfer({kCleo, kDora, 5}), 0}});
  EXPECT_EQ(as<Busy>(answers.at(0)), (Busy{kAnna, true}));
  EXPECT_TRUE(is<messages::Applied>(answers.at(1)));
  const auto votes = agent.reserve(3, {is_paid(make_transfer({kAway, kBert, 5}))});
  EXPECT_EQ(as<Busy>(votes.at(0)), (Busy{kBert, true}));
}

TEST(TakingOver, DoesWhatTheLogSaysAboutWhatItFound) {
  for (const bool is_commit : {true, false}) {
    AgentDriver agent;
    agent.take_over(kEpoch, {{round_of(1), {kAnna}}});
    EXPECT_TRUE(agent.is_held(kAnna));
    const auto settle = only<SettlePrepared>(agent.step(DecisionRead{round_of(1), is_commit}));
    EXPECT_EQ(settle.is_commit, is_commit);
    EXPECT_TRUE(agent.is_held(kAnna));
    agent.settle_done(1);
    EXPECT_FALSE(agent.is_held(kAnna));
    EXPECT_TRUE(agent.machine.is_idle());
  }
}

TEST(TakingOver, ServesTheOthersWhileTheLogCannotBeAsked) {
  ServingAgent agent;
  agent.lose_connection();
  agent.take_over(kEpoch.next(), {{round_of(1), {kAnna}}});
  agent.step(DecisionRead{round_of(1), std::nullopt});
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_FALSE(agent.is_held(kBert));
  EXPECT_FALSE(has<AskDecision>(agent.scan({{round_of(1), kYoung}})));
  EXPECT_TRUE(has<AskDecision>(agent.scan({{round_of(1), kOld}})));
}

TEST(TakingOver, SettlesForTheCoordinatorWhatItFound) {
  AgentDriver agent;
  agent.take_over(kEpoch, {{round_of(1), {kAnna}}});
  EXPECT_TRUE(only<SettlePrepared>(agent.commit(1)).is_commit);
  EXPECT_EQ(reply_in<SettleDone>(agent.settle_done(1)).outcome, SettleOutcome::Settled);
}

TEST(TakingOver, KnowsNoVotesOfWhatItFound) {
  AgentDriver agent;
  agent.take_over(kEpoch, {{round_of(1), {kAnna}}});
  const auto effects = agent.start_prepare(1, {0});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<PrepareReply>(effects)));
}

TEST(TakingOver, MayStillBringWhateverIsInDoubt) {
  AgentDriver agent;
  agent.take_over(kEpoch, {{round_of(1), {kAnna}}});
  EXPECT_TRUE(agent.machine.may_bring(TransferId(kAnna, {0, 3}), kAnna));
  EXPECT_FALSE(agent.machine.may_bring(TransferId(kBert, {0, 3}), kBert));
}

TEST(TakingOver, LetsGoOfWhatSomebodyElseSettled) {
  AgentDriver agent;
  agent.take_over(kEpoch, {{round_of(1), {kAnna}}});
  agent.scan({});
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(TakingOver, ForgetsReservationsSoThatTheirPrepareIsRefused) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.lose_connection();
  const auto early = agent.start_prepare(1, {0});
  EXPECT_EQ(fault_in<PrepareReply>(early), RoundFault::Starting);
  agent.take_over(kEpoch.next());
  const auto late = agent.ask(messages::Prepare{round_of(1), kEpoch, {0}});
  EXPECT_EQ(fault_in<PrepareReply>(late), RoundFault::Expired);
}

TEST(TakingOver, RefusesVotesOfItsOwnEarlierEpoch) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.lose_connection();
  agent.take_over(kEpoch.next());
  agent.reserve(1, {anna_pays(5)});
  const auto effects = agent.ask(messages::Prepare{round_of(1), kEpoch, {0}});
  EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::OldEpoch);
}

TEST(TakingOver, AnswersEverythingThatWaits) {
  ServingAgent agent;
  agent.start_reserve(1, {anna_pays(5)});
  agent.reserve(2, {pays(make_transfer({kBert, kAway, 5}))});
  agent.start_prepare(2, {0});
  agent.prepare(3, {pays(make_transfer({kCleo, kAway, 5}))});
  agent.commit(3);
  std::map<RequestId, Answer> answers;
  const auto effects = agent.lose_connection();
  for (const auto& answer : all<Answer>(effects)) answers.emplace(answer.request, answer);
  ASSERT_EQ(answers.size(), 3U);
  const auto reserve = as<ReserveReply>(answers.begin()->second.message);
  EXPECT_EQ(as<messages::RoundFailed>(reserve).fault, RoundFault::Starting);
  const auto prepare = as<PrepareReply>(std::next(answers.begin())->second.message);
  EXPECT_TRUE(is<messages::RoundUnknown>(prepare));
  const auto settle = as<SettleDone>(answers.rbegin()->second.message);
  EXPECT_EQ(settle.outcome, SettleOutcome::Later);
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(TakingOver, FollowsAPrepareWhoseReplyWasLost) {
  for (const auto outcome : {DbOutcome::Lost, DbOutcome::Disconnected}) {
    ServingAgent agent;
    agent.reserve(1, {anna_pays(5)});
    agent.start_prepare(1, {0});
    const auto effects = agent.prepare_done(1, outcome);
    EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<PrepareReply>(effects)));
    EXPECT_FALSE(agent.machine.is_serving());
    agent.take_over(kEpoch.next(), {{round_of(1), {kAnna}}});
    EXPECT_TRUE(agent.is_held(kAnna));
    EXPECT_TRUE(agent.prepare_done(1).empty());  // late, and of no account
    EXPECT_TRUE(agent.is_held(kAnna));
  }
}

TEST(Scan, ThatFindsNoConnectionMakesTheAgentTakeOverAnew) {
  ServingAgent agent;
  const auto begun = only<ScanPrepared>(agent.tick_after(std::chrono::seconds(2)));
  agent.step(PreparedScanned{begun.scan, std::nullopt, true});
  EXPECT_FALSE(agent.machine.is_serving());
  EXPECT_TRUE(has<TakeOver>(agent.tick()));
}

TEST(Scan, OfBeforeATakeOverIsNotTakenForTheRunningOne) {
  ServingAgent agent;
  const auto early = only<ScanPrepared>(agent.tick());
  agent.lose_connection();
  agent.take_over(kEpoch.next());
  const auto late = only<ScanPrepared>(agent.tick());
  agent.step(PreparedScanned{early.scan, std::nullopt, true});  // of the session that was lost
  EXPECT_TRUE(agent.machine.is_serving());
  EXPECT_EQ(agent.machine.counters().prepared_scans, 0);
  const auto effects = agent.step(PreparedScanned{late.scan, {{{round_of(40), kOld}}}});
  EXPECT_EQ(only<AskDecision>(effects).round, round_of(40));
}

}  // namespace
}  // namespace koshel::agent
