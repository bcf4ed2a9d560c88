#include "shard-agent/logic/local_rounds.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Applied;
using messages::Busy;
using messages::LocalOrder;
using messages::LocalReply;
using messages::RoundFault;

LocalOrder pay(const TransferOptions& options) {
  return {make_transfer(options), 0};
}

TEST(LocalRounds, ReadTheHeadsThatAreMissing) {
  ServingAgent agent;
  const auto wanted = only<ReadState>(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  EXPECT_EQ(wanted.round, round_of(1));
  EXPECT_EQ(wanted.epoch, kEpoch);
  EXPECT_EQ(wanted.accounts, (std::vector<AccountId>{kAnna, kBert}));
  EXPECT_TRUE(wanted.keys.empty());
}

TEST(LocalRounds, AppendWhatTheyWorkedOutAndAnswerOnlyThen) {
  ServingAgent agent;
  const auto effects = agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  EXPECT_FALSE(has<Answer>(effects));
  const auto batch = only<Append>(effects).batch;
  EXPECT_EQ(batch.round, round_of(1));
  EXPECT_EQ(batch.epoch, kEpoch);
  EXPECT_EQ(batch.at, agent.now.calendar);
  EXPECT_EQ(batch.heads.size(), 2U);
  EXPECT_EQ(batch.entries.size(), 2U);
  const auto done = agent.append_done(1);
  EXPECT_EQ(only<Answer>(done).request, agent.last_request);
  const auto answers = as<messages::LocalRoundDone>(reply_in<LocalReply>(done)).answers;
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(as<Applied>(answers[0]).from, (LegState{kAnna, Version(2), Money(95)}));
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
  EXPECT_EQ(agent.machine.counters().transfers_applied, 1);
  EXPECT_EQ(agent.machine.counters().rounds_local, 1);
}

TEST(LocalRounds, MoveTheHeadsSoThatNothingIsReadAgain) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnna, kBert, 5})});
  const auto effects = agent.start_local(2, {pay({kBert, kAnna, 105})});
  EXPECT_FALSE(has<ReadState>(effects));
  const auto batch = only<Append>(effects).batch;
  EXPECT_EQ(batch.heads[0], (CountedHead{kAnna, Version(2), Money(95)}));
  EXPECT_EQ(batch.heads[1], (CountedHead{kBert, Version(2), Money(105)}));
}

TEST(LocalRounds, LeaveTheHeadsWhereTheyWereWhenTheAppendFails) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Rejected);
  const auto effects = agent.start_local(2, {pay({kAnna, kBert, 100})});
  EXPECT_EQ(only<Append>(effects).batch.heads[0], (CountedHead{kAnna, Version(1), Money(100)}));
}

TEST(LocalRounds, EndAtOnceWhenNothingIsToBeWritten) {
  ServingAgent agent;
  const auto effects = agent.read(agent.start_local(1, {pay({kAnna, kBert, 101})}));
  EXPECT_FALSE(has<Append>(effects));
  const auto answers = as<messages::LocalRoundDone>(reply_in<LocalReply>(effects)).answers;
  EXPECT_TRUE(is<messages::Refused>(answers.at(0)));
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(LocalRounds, ReadBeforeTheySayWhatOnlyTheMemorySpeaksFor) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnna, kBert, 50})});
  agent.owned[kAnna] = make_head({.balance = 500, .version = 7});  // a newer agent wrote
  const auto doubtful = agent.start_local(2, {pay({kAnna, kBert, 60})});
  EXPECT_FALSE(has<Answer>(doubtful));
  EXPECT_EQ(only<ReadState>(doubtful).accounts.size(), 2U);
  EXPECT_EQ(only<Append>(agent.read(doubtful)).batch.heads.at(0),
            (CountedHead{kAnna, Version(7), Money(500)}));
}

TEST(LocalRounds, ReadBeforeTheySayThatAnAccountIsAsItIsToBe) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnna, kBert, 50}), pay({kBert, kCleo, 1})});
  agent.owned[kAnna] = make_head({.balance = 50, .version = 7});  // a newer agent wrote
  const messages::LocalOrder unchanged{messages::LimitChange{kAnna, {}, {}, AccountStatus::Active},
                                       0};
  const auto doubtful = agent.start_local(2, {unchanged, pay({kBert, kCleo, 1})});
  EXPECT_FALSE(has<Append>(doubtful)) << "it would not look at the account";
  agent.read(doubtful);
  const auto answers =
      as<messages::LocalRoundDone>(reply_in<LocalReply>(agent.append_done(2))).answers;
  EXPECT_EQ(as<messages::Changed>(answers.at(0)).head.version, Version(7));
}

TEST(LocalRounds, EndAtOnceWithoutOrders) {
  ServingAgent agent;
  EXPECT_TRUE(agent.run_local(1, {}).empty());
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(LocalRounds, ChainOneAccountManyTimesInOneAppend) {
  ServingAgent agent;
  std::vector<LocalOrder> orders;
  for (std::uint64_t i = 0; i < 150; ++i) orders.push_back(pay({kAnna, kBert, 1, i}));
  const auto effects = agent.read(agent.start_local(1, orders));
  const auto batch = only<Append>(effects).batch;
  ASSERT_EQ(batch.entries.size(), 200U);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(batch.entries[i].account, kAnna);
    EXPECT_EQ(batch.entries[i].version, Version(2 + static_cast<std::int64_t>(i)));
  }
  const auto answers =
      as<messages::LocalRoundDone>(reply_in<LocalReply>(agent.append_done(1))).answers;
  EXPECT_TRUE(is<Applied>(answers.at(99)));
  EXPECT_TRUE(is<messages::Refused>(answers.at(100)));
  EXPECT_TRUE(is<messages::Refused>(answers.at(149)));
}

TEST(LocalRounds, LetOneRefusalFailNobodyElse) {
  ServingAgent agent;
  const auto answers = agent.run_local(
      1, {pay({kAnna, kBert, 5000, 1}), pay({kAnna, kAway, 1, 2}), pay({kCleo, kBert, 100, 3})});
  EXPECT_TRUE(is<messages::Refused>(answers.at(0)));
  EXPECT_TRUE(is<messages::Moved>(answers.at(1)));
  EXPECT_TRUE(is<Applied>(answers.at(2)));
}

// The world of a shard that was drained lives elsewhere by then: a second one must not begin.
TEST(LocalRounds, OpenNoWorldForADepositToAUserWhoIsElsewhere) {
  ServingAgent agent;
  const auto effects = agent.read_if_wanted(agent.start_local(1, {pay({kAnyWorld, kAway, 1})}));
  EXPECT_FALSE(has<Append>(effects));
  const auto answers = as<messages::LocalRoundDone>(reply_in<LocalReply>(effects)).answers;
  EXPECT_TRUE(is<messages::Moved>(answers.at(0)));
}

TEST(LocalRounds, OpenTheWorldsTheyUseAndNoOther) {
  ServingAgent agent;
  const auto effects = agent.read_if_wanted(
      agent.start_local(1, {pay({kAnyWorld, kAway, 1, 1}), pay({kAnyWorld, kBert, 2, 2})}));
  const auto batch = only<Append>(effects).batch;
  EXPECT_EQ(batch.opened.size(), 1U);
  EXPECT_EQ(batch.entries.size(), 3U);  // its opening, its debit and the credit
}

TEST(LocalRounds, SayThatTheHeadsCouldNotBeRead) {
  for (const auto outcome : {DbOutcome::Unavailable, DbOutcome::Rejected}) {
    ServingAgent agent;
    agent.start_local(1, {pay({kAnna, kBert, 5})});
    const auto effects = agent.step(StateRead{round_of(1), 0, outcome, {}, {}});
    EXPECT_EQ(fault_in<LocalReply>(effects), RoundFault::Unavailable);
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_FALSE(agent.is_held(kAnna));
    EXPECT_TRUE(agent.machine.is_serving());
  }
}

TEST(LocalRounds, FailWhenTheConnectionIsLostWhileTheyRead) {
  for (const auto outcome : {DbOutcome::Disconnected, DbOutcome::Lost}) {
    ServingAgent agent;
    agent.start_local(1, {pay({kAnna, kBert, 5})});
    const auto effects = agent.step(StateRead{round_of(1), 0, outcome, {}, {}});
    EXPECT_EQ(fault_in<LocalReply>(effects), RoundFault::Starting);
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_FALSE(agent.machine.is_serving());
  }
}

TEST(LocalRounds, TellWhyAnAppendDidNothing) {
  const std::pair<DbOutcome, RoundFault> faults[] = {
      {DbOutcome::Rejected, RoundFault::Rejected},
      {DbOutcome::Unavailable, RoundFault::Unavailable},
      {DbOutcome::OldEpoch, RoundFault::Unavailable}};
  for (const auto& [outcome, fault] : faults) {
    ServingAgent agent;
    agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
    EXPECT_EQ(fault_in<LocalReply>(agent.append_done(1, outcome)), fault);
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_EQ(agent.machine.accounts_held(), 0U);
  }
}

TEST(LocalRounds, ReadAgainWhenAHeadIsStale) {
  ServingAgent agent;
  agent.run_local(1, {pay({kAnna, kBert, 5})});
  agent.start_local(2, {pay({kAnna, kBert, 90})});
  agent.owned[kAnna] = make_head({.balance = 80, .version = 9});
  agent.owned[kBert] = make_head({.balance = 105, .version = 2});
  const auto stale = agent.append_done(2, DbOutcome::Stale);
  EXPECT_FALSE(has<Answer>(stale));
  const auto wanted = only<ReadState>(stale);
  EXPECT_EQ(wanted.attempt, 1);
  EXPECT_EQ(wanted.accounts, (std::vector<AccountId>{kAnna, kBert}));
  // The amount passed against the stale head and does not against the true one.
  const auto answers =
      as<messages::LocalRoundDone>(reply_in<LocalReply>(agent.read(stale))).answers;
  EXPECT_EQ(as<messages::Refused>(answers.at(0)).refusal.balance, Money(80));
  EXPECT_EQ(agent.machine.counters().stale_heads, 1);
}

TEST(LocalRounds, HoldTheirAccountsWhileTheyReadAgain) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Stale);
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.is_held(kBert));
}

TEST(LocalRounds, GiveUpAfterTooManyStaleHeads) {
  AgentLimits limits;
  limits.stale_retries_max = 2;
  ServingAgent agent(limits);
  auto effects = agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(has<Append>(effects));
    effects = agent.read(agent.append_done(1, DbOutcome::Stale));
  }
  EXPECT_TRUE(has<Append>(effects));
  EXPECT_EQ(fault_in<LocalReply>(agent.append_done(1, DbOutcome::Stale)), RoundFault::Stale);
  EXPECT_FALSE(agent.is_held(kAnna));
}

TEST(LocalRounds, IgnoreAReadingOfAnEarlierTry) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  const auto stale = agent.append_done(1, DbOutcome::Stale);
  EXPECT_TRUE(agent.step(StateRead{round_of(1), 0, DbOutcome::Done, {}, {}}).empty());
  EXPECT_TRUE(has<Append>(agent.read(stale)));
}

TEST(LocalRounds, SayNothingBeforeTheDatabaseWasAskedWhatBecameOfThem) {
  for (const auto outcome : {DbOutcome::Lost, DbOutcome::Disconnected}) {
    ServingAgent agent;
    agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
    EXPECT_FALSE(has<Answer>(agent.append_done(1, outcome)));
    EXPECT_FALSE(agent.machine.is_idle());
    const auto effects = agent.take_over(kEpoch.next());
    EXPECT_FALSE(has<Answer>(effects));
    EXPECT_EQ(only<AskLocal>(effects).round, round_of(1));
  }
}

TEST(LocalRounds, AreAnsweredAsAppendedWhenTheDatabaseSaysSo) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Lost);
  agent.take_over(kEpoch.next());
  const auto effects = agent.step(LocalAsked{round_of(1), AskRoundOutcome::Applied});
  const auto answers = as<messages::LocalRoundDone>(reply_in<LocalReply>(effects)).answers;
  EXPECT_EQ(as<Applied>(answers.at(0)).from, (LegState{kAnna, Version(2), Money(95)}));
  EXPECT_TRUE(agent.machine.is_idle());
  // Others may have written since, so its heads are not believed.
  EXPECT_TRUE(has<ReadState>(agent.start_local(2, {pay({kAnna, kBert, 5})})));
}

TEST(LocalRounds, HaveFailedWhenTheDatabaseNeverSawThem) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Lost);
  agent.take_over(kEpoch.next());
  const auto effects = agent.step(LocalAsked{round_of(1), AskRoundOutcome::NotApplied});
  EXPECT_EQ(fault_in<LocalReply>(effects), RoundFault::Unavailable);
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(LocalRounds, AreAskedAboutAgainWhenTheyCouldNotBeAsked) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Lost);
  agent.take_over(kEpoch.next());
  EXPECT_FALSE(has<Answer>(agent.step(LocalAsked{round_of(1), std::nullopt})));
  EXPECT_FALSE(agent.machine.is_serving());
  const auto effects = agent.take_over(Epoch(7));
  EXPECT_EQ(only<AskLocal>(effects).round, round_of(1));
}

TEST(LocalRounds, IgnoreALateWordAboutAnAppendTheyAskAbout) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.lose_connection();
  EXPECT_TRUE(agent.append_done(1).empty());
  EXPECT_TRUE(has<AskLocal>(agent.take_over(kEpoch.next())));
}

TEST(LocalRounds, IgnoreResultsOfRoundsTheyDoNotKnow) {
  ServingAgent agent;
  EXPECT_TRUE(agent.append_done(8).empty());
  EXPECT_TRUE(agent.step(StateRead{round_of(8), 0, DbOutcome::Done, {}, {}}).empty());
  EXPECT_TRUE(agent.step(LocalAsked{round_of(8), AskRoundOutcome::Applied}).empty());
  EXPECT_TRUE(agent.machine.is_serving());
}

TEST(LocalRounds, SayUnknownToASecondDelivery) {
  ServingAgent agent;
  const auto first = agent.start_local(1, {pay({kAnna, kBert, 5})});
  const auto request = agent.last_request;
  const auto second = agent.start_local(1, {pay({kAnna, kBert, 5})});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(second)));
  agent.read(first);
  EXPECT_EQ(only<Answer>(agent.append_done(1)).request, request);
}

// A round that was applied or voided before: which of the two, this delivery does not know. To say
// that it failed would have its transfers run again in another round.
TEST(LocalRounds, DoNotSayThatTheyFailedWhenTheyWereHereBefore) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  const auto effects = agent.append_done(1, DbOutcome::WasHere);
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(effects)));
  EXPECT_TRUE(agent.machine.is_idle());
}

// One that was refused has written nothing: the database could not tell that it was here.
TEST(LocalRounds, DoNotRunASecondTimeAfterTheyWereAnswered) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 1'000'000})}));
  const auto second = agent.start_local(1, {pay({kAnna, kBert, 1'000'000})});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(second)));
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(LocalRounds, DoNotRunASecondTimeAfterTheAgentHadNoRoom) {
  AgentLimits limits;
  limits.rounds_in_flight_max = 1;
  ServingAgent agent(limits);
  agent.start_local(1, {pay({kAnna, kBert, 5})});
  EXPECT_EQ(fault_in<LocalReply>(agent.start_local(2, {pay({kCleo, kBert, 5})})),
            messages::RoundFault::Overloaded);
  agent.append_done(1);
  const auto second = agent.start_local(2, {pay({kCleo, kBert, 5})});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(second)));
}

TEST(LocalRounds, SayUnknownToASecondDeliveryWhileTheAgentTakesOver) {
  ServingAgent agent;
  agent.read(agent.start_local(1, {pay({kAnna, kBert, 5})}));
  agent.append_done(1, DbOutcome::Lost);
  const auto second = agent.start_local(1, {pay({kAnna, kBert, 5})});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(second)));
}

TEST(LocalRounds, SayUnknownToASecondDeliveryWhenTheAgentIsFull) {
  AgentLimits limits;
  limits.rounds_in_flight_max = 1;
  ServingAgent agent(limits);
  agent.start_local(1, {pay({kAnna, kBert, 5})});
  const auto second = agent.start_local(1, {pay({kAnna, kBert, 5})});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<LocalReply>(second)));
}

// The heads memory is bounded and forgets; an account of the shard is never said to have moved for
// that.
TEST(LocalRounds, TakeMoreAccountsThanTheMemoryOfHeadsHolds) {
  AgentLimits limits;
  limits.heads_cached_max = 2;
  ServingAgent agent(limits);
  const auto answers = agent.run_local(1, {pay({kAnna, kBert, 5, 1}), pay({kCleo, kDora, 5, 2})});
  EXPECT_TRUE(is<Applied>(answers.at(0)));
  EXPECT_TRUE(is<Applied>(answers.at(1)));
  EXPECT_LE(agent.machine.heads_cached(), 2U);
}

TEST(LocalRounds, KeepAHeadTheyCountedOnThoughTheMemoryForgetsItMeanwhile) {
  AgentLimits limits;
  limits.heads_cached_max = 4;
  ServingAgent agent(limits);
  agent.run_local(1, {pay({kAnna, kBert, 5})});
  const auto slow = agent.start_local(2, {pay({kAnna, kCleo, 5})});  // reads Cleo alone
  for (std::int64_t i = 0; i < 8; ++i) {
    const AccountId other(500 + i);
    agent.owned[other] = make_head({.balance = 1});
    agent.run_local(10 + i, {{messages::LimitChange{other, {}, Money(50), {}}, 0}});
  }
  EXPECT_TRUE(has<Append>(agent.read(slow)));
}

}  // namespace
}  // namespace koshel::agent
