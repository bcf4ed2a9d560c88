// Cross-shard rounds up to the prepare: reserve, vote, release, expire, prepare.

#include "shard-agent/logic/cross_rounds.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Busy;
using messages::KeyInProgress;
using messages::Prepared;
using messages::PrepareReply;
using messages::Reserved;
using messages::ReserveReply;
using messages::RoundFault;
using messages::Yes;

messages::ReserveOrder anna_pays(std::int64_t amount, std::uint64_t number = 1) {
  return pays(make_transfer({kAnna, kAway, amount, number}));
}
messages::ReserveOrder bert_is_paid(std::int64_t amount, std::uint64_t number = 1) {
  return is_paid(make_transfer({kAway, kBert, amount, number}));
}

TEST(CrossRounds, ReadTheHeadsOfTheirOwnSidesAlone) {
  ServingAgent agent;
  const auto wanted = only<ReadState>(agent.start_reserve(1, {anna_pays(5), bert_is_paid(5)}));
  EXPECT_EQ(wanted.accounts, (std::vector<AccountId>{kAnna, kBert}));
  EXPECT_EQ(wanted.epoch, kEpoch);
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(CrossRounds, AnswerWithVotesAndTheirEpoch) {
  ServingAgent agent;
  const auto effects = agent.read_if_wanted(
      agent.start_reserve(1, {anna_pays(101, 1), anna_pays(60, 2), anna_pays(41, 3)}));
  const auto reserved = as<Reserved>(reply_in<ReserveReply>(effects));
  EXPECT_EQ(reserved.epoch, kEpoch);
  ASSERT_EQ(reserved.votes.size(), 3U);
  EXPECT_TRUE(is<messages::Refused>(reserved.votes[0]));
  EXPECT_TRUE(is<Yes>(reserved.votes[1]));
  EXPECT_TRUE(is<messages::Retry>(reserved.votes[2]));
}

TEST(CrossRounds, VoteAtOnceWhenAllHeadsAreKnown) {
  ServingAgent agent;
  agent.run_local(1, {{make_transfer({kAnna, kBert, 1}), 0}});
  const auto effects = agent.start_reserve(2, {anna_pays(5)});
  EXPECT_FALSE(has<ReadState>(effects));
  EXPECT_TRUE(is<Yes>(as<Reserved>(reply_in<ReserveReply>(effects)).votes.at(0)));
}

TEST(CrossRounds, ReadBeforeTheyRefuseWhatOnlyTheMemorySpeaksFor) {
  ServingAgent agent;
  agent.run_local(1, {{make_transfer({kAnna, kBert, 50}), 0}});
  agent.owned[kAnna] = make_head({.balance = 500, .version = 7});  // a newer agent wrote
  const auto doubtful = agent.start_reserve(2, {anna_pays(60)});
  EXPECT_EQ(only<ReadState>(doubtful).accounts, (std::vector{kAnna}));
  EXPECT_FALSE(has<Answer>(doubtful));
  const auto effects = agent.read(doubtful);
  EXPECT_TRUE(is<Yes>(as<Reserved>(reply_in<ReserveReply>(effects)).votes.at(0)));
  const auto prepare = only<PrepareRound>(agent.start_prepare(2, {0}));
  EXPECT_EQ(prepare.batch.heads.at(0), (CountedHead{kAnna, Version(7), Money(500)}));
}

TEST(CrossRounds, WriteNothingBeforeThePrepare) {
  ServingAgent agent;
  const auto effects = agent.read(agent.start_reserve(1, {anna_pays(5)}));
  EXPECT_EQ(effects.size(), 1U);
  EXPECT_TRUE(has<Answer>(effects));
}

TEST(CrossRounds, VoteBusyForAnAccountThatAnotherRoundHolds) {
  ServingAgent agent;
  agent.start_local(1, {{make_transfer({kAnna, kBert, 1}), 0}});
  const auto votes = agent.reserve(2, {anna_pays(5), is_paid(make_transfer({kAway, kCleo, 5, 2}))});
  EXPECT_EQ(as<Busy>(votes.at(0)), (Busy{kAnna, false}));
  EXPECT_TRUE(is<Yes>(votes.at(1)));
}

TEST(CrossRounds, VoteMovedForAnAccountThatIsNotOwnedHere) {
  ServingAgent agent;
  const auto votes = agent.reserve(1, {pays(make_transfer({AccountId(77), kAway, 5}))});
  EXPECT_EQ(as<messages::Moved>(votes.at(0)).account, AccountId(77));
}

TEST(CrossRounds, AreDroppedAtOnceWithoutAnyYes) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(101)});
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0})), RoundFault::Expired);
}

TEST(CrossRounds, AreReleasedByAMessage) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.release(1).empty());
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0})), RoundFault::Expired);
}

TEST(CrossRounds, AreReleasedWhenTheyHaveVotedByAMessageThatOvertookTheVotes) {
  for (const bool is_abort : {true, false}) {
    ServingAgent agent;
    const auto reading = agent.start_reserve(1, {anna_pays(5)});
    if (is_abort) {
      agent.abort(1);
    } else {
      EXPECT_TRUE(agent.release(1).empty());
    }
    EXPECT_TRUE(agent.is_held(kAnna));
    EXPECT_TRUE(is<Reserved>(reply_in<ReserveReply>(agent.read(reading))));
    EXPECT_FALSE(agent.is_held(kAnna));
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0})), RoundFault::Expired);
  }
}

TEST(CrossRounds, AreNotReleasedOnceTheyPrepare) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  agent.release(1);
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.prepare_done(1);
  agent.release(1);
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(CrossRounds, ExpireByThemselvesAndAreNotPreparedAfterThat) {
  AgentLimits limits;
  ServingAgent agent(limits);
  agent.reserve(1, {anna_pays(5)});
  agent.tick_after(limits.reservation - Duration(1));
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.tick_after(Duration(1));
  EXPECT_FALSE(agent.is_held(kAnna));
  EXPECT_EQ(agent.machine.counters().reservations_expired, 1);
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0})), RoundFault::Expired);
}

TEST(CrossRounds, AreNotPreparedAfterTheirTimeThoughNoTickHasCome) {
  AgentLimits limits;
  ServingAgent agent(limits);
  agent.reserve(1, {anna_pays(5)});
  agent.now.steady += limits.reservation;
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0})), RoundFault::Expired);
}

TEST(CrossRounds, CountTheirTimeFromTheVote) {
  AgentLimits limits;
  ServingAgent agent(limits);
  const auto slow = agent.start_reserve(1, {anna_pays(5)});
  agent.tick_after(limits.reservation * 2);
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(has<Answer>(agent.read(slow)));
  agent.tick_after(limits.reservation - Duration(1));
  EXPECT_TRUE(has<PrepareRound>(agent.start_prepare(1, {0})));
}

TEST(CrossRounds, DoNotExpireOnceTheyPrepare) {
  AgentLimits limits;
  ServingAgent agent(limits);
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  agent.tick_after(limits.reservation * 2);
  EXPECT_TRUE(agent.is_held(kAnna));
  EXPECT_TRUE(is<Prepared>(reply_in<PrepareReply>(agent.prepare_done(1))));
}

TEST(CrossRounds, SayThatTheHeadsCouldNotBeRead) {
  ServingAgent agent;
  agent.start_reserve(1, {anna_pays(5)});
  const auto effects = agent.step(StateRead{round_of(1), 0, DbOutcome::Unavailable, {}, {}});
  EXPECT_EQ(fault_in<ReserveReply>(effects), RoundFault::Unavailable);
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_FALSE(agent.is_held(kAnna));
}

TEST(CrossRounds, AreNotReservedTwice) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  const auto second = agent.start_reserve(1, {anna_pays(5)});
  EXPECT_EQ(fault_in<ReserveReply>(second), RoundFault::Voided);
  EXPECT_TRUE(has<PrepareRound>(agent.start_prepare(1, {0})));
}

TEST(CrossRounds, AreTurnedAwayWhenNoPreparedSlotIsFree) {
  AgentLimits limits;
  limits.prepared_max = 2;
  ServingAgent agent(limits);
  EXPECT_TRUE(is<Yes>(agent.reserve(1, {anna_pays(5)}).at(0)));
  EXPECT_TRUE(is<Yes>(agent.reserve(2, {bert_is_paid(5)}).at(0)));
  const auto third = agent.start_reserve(3, {pays(make_transfer({kCleo, kAway, 5}))});
  EXPECT_EQ(fault_in<ReserveReply>(third), RoundFault::Overloaded);
  EXPECT_EQ(agent.machine.accounts_held(), 2U);
  agent.release(1);
  EXPECT_TRUE(is<Yes>(agent.reserve(4, {pays(make_transfer({kCleo, kAway, 5}))}).at(0)));
}

TEST(CrossRounds, PrepareTheSurvivorsAlone) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5, 1), bert_is_paid(7, 2), anna_pays(10, 3)});
  const auto effects = agent.start_prepare(1, {0, 2});
  EXPECT_FALSE(has<Answer>(effects));
  const auto prepare = only<PrepareRound>(effects);
  EXPECT_EQ(prepare.held, (std::vector{kAnna}));
  EXPECT_EQ(prepare.batch.round, round_of(1));
  EXPECT_EQ(prepare.batch.epoch, kEpoch);
  EXPECT_EQ(prepare.batch.at, agent.now.calendar);
  EXPECT_EQ(prepare.batch.heads, (std::vector{CountedHead{kAnna, Version(1), Money(100)}}));
  ASSERT_EQ(prepare.batch.entries.size(), 2U);
  EXPECT_EQ(prepare.batch.entries[0].amount, Money(-5));
  EXPECT_EQ(prepare.batch.entries[1].amount, Money(-10));
  EXPECT_EQ(prepare.batch.entries[1].balance, Money(85));
  const auto prepared = as<Prepared>(reply_in<PrepareReply>(agent.prepare_done(1)));
  ASSERT_EQ(prepared.legs.size(), 2U);
  EXPECT_EQ(prepared.legs[0], (LegState{kAnna, Version(2), Money(95)}));
  EXPECT_EQ(prepared.legs[1], (LegState{kAnna, Version(3), Money(85)}));
  EXPECT_EQ(prepared.at, agent.now.calendar);
  EXPECT_EQ(agent.machine.counters().rounds_prepared, 1);
}

TEST(CrossRounds, ReleaseTheLosersAtThePrepare) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5, 1), bert_is_paid(7, 2)});
  EXPECT_TRUE(agent.is_held(kBert));
  agent.start_prepare(1, {0});
  EXPECT_FALSE(agent.is_held(kBert));
  EXPECT_TRUE(agent.is_held(kAnna));
}

TEST(CrossRounds, ReleaseTheKeysOfTheLosersAtThePrepare) {
  ServingAgent agent;
  const auto loser = make_keyed({kBert, kAway, 7});
  agent.reserve(1, {anna_pays(5), pays(loser)});
  EXPECT_TRUE(is<KeyInProgress>(agent.reserve(2, {pays(loser)}).at(0)));
  agent.start_prepare(1, {0});
  EXPECT_TRUE(is<Yes>(agent.reserve(3, {pays(loser)}).at(0)));
}

TEST(CrossRounds, KeepTheKeysOfTheSurvivorsUntilTheyAreSettled) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.prepare(1, {pays(transfer)});
  EXPECT_TRUE(is<KeyInProgress>(agent.reserve(2, {pays(transfer)}).at(0)));
  agent.commit(1);
  EXPECT_TRUE(is<KeyInProgress>(agent.reserve(3, {pays(transfer)}).at(0)));
  agent.settle_done(1);
  EXPECT_TRUE(is<Yes>(agent.reserve(4, {pays(transfer)}).at(0)));
}

TEST(CrossRounds, AskForTheKeysOfPayersAlone) {
  ServingAgent agent;
  const auto paying = make_keyed({kAnna, kAway, 5});
  const auto paid = make_keyed({kAway, kBert, 5});
  const auto wanted = only<ReadState>(agent.start_reserve(1, {pays(paying), is_paid(paid)}));
  EXPECT_EQ(wanted.keys, (std::vector{paying.id}));
}

TEST(CrossRounds, ReplayAKeyAndRefuseItsReuse) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.stored[transfer.id] = {
      transfer, EntryKind::Transfer, {}, {kAnna, Version(1), Money(100)}, {}};
  EXPECT_TRUE(is<messages::Replayed>(agent.reserve(1, {pays(transfer)}).at(0)));
  const auto other = make_keyed({kAnna, kAway, 6});
  EXPECT_TRUE(is<messages::KeyReused>(agent.reserve(2, {pays(other)}).at(0)));
  EXPECT_TRUE(agent.machine.is_idle());
}

TEST(CrossRounds, FindAKeyInProgressInALocalRound) {
  ServingAgent agent;
  const auto transfer = make_keyed({kAnna, kAway, 5});
  agent.start_local(1, {{messages::RememberRefusal{transfer, {}}, 0}});
  EXPECT_TRUE(is<KeyInProgress>(agent.reserve(2, {pays(transfer)}).at(0)));
}

TEST(CrossRounds, RefuseAPrepareOfAnotherEpoch) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  for (const auto epoch : {Epoch(kEpoch.value() - 1), kEpoch.next()}) {
    const auto effects = agent.ask(messages::Prepare{round_of(1), epoch, {0}});
    EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::OldEpoch);
    EXPECT_FALSE(has<PrepareRound>(effects));
  }
}

TEST(CrossRounds, RefuseSurvivorsThatWereNotVotedYes) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(101, 1), anna_pays(5, 2), bert_is_paid(5, 3)});
  for (const auto& survivors :
       std::vector<std::vector<std::int32_t>>{{}, {0}, {0, 1}, {3}, {-1}, {2, 1}}) {
    const auto effects = agent.start_prepare(1, survivors);
    EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::Rejected);
    EXPECT_FALSE(has<PrepareRound>(effects));
  }
}

TEST(CrossRounds, RefuseASurvivorThatIsNamedTwice) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  const auto effects = agent.start_prepare(1, {0, 0});
  EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::Rejected);
  EXPECT_FALSE(has<PrepareRound>(effects));
}

TEST(CrossRounds, SayUnknownToASecondPrepareWhileTheFirstRuns) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  const auto first = agent.last_request;
  const auto second = agent.start_prepare(1, {0});
  EXPECT_TRUE(is<messages::RoundUnknown>(reply_in<PrepareReply>(second)));
  EXPECT_FALSE(has<PrepareRound>(second));
  EXPECT_EQ(only<Answer>(agent.prepare_done(1)).request, first);
}

TEST(CrossRounds, AnswerASecondPrepareLikeTheFirst) {
  ServingAgent agent;
  const auto first = agent.prepare(1, {anna_pays(5)});
  agent.now.calendar += std::chrono::hours(1);
  const auto effects = agent.start_prepare(1, {0});
  EXPECT_FALSE(has<PrepareRound>(effects));
  const auto second = as<Prepared>(reply_in<PrepareReply>(effects));
  EXPECT_EQ(second.legs, first.legs);
  EXPECT_EQ(second.at, first.at);
}

TEST(CrossRounds, TellWhyAPrepareDidNothing) {
  const std::pair<DbOutcome, RoundFault> faults[] = {
      {DbOutcome::Stale, RoundFault::Stale},
      {DbOutcome::WasHere, RoundFault::Voided},
      {DbOutcome::Rejected, RoundFault::Rejected},
      {DbOutcome::Unavailable, RoundFault::Unavailable}};
  for (const auto& [outcome, fault] : faults) {
    ServingAgent agent;
    agent.reserve(1, {anna_pays(5)});
    agent.start_prepare(1, {0});
    EXPECT_EQ(fault_in<PrepareReply>(agent.prepare_done(1, outcome)), fault);
    EXPECT_TRUE(agent.machine.is_idle());
    EXPECT_FALSE(agent.is_held(kAnna));
  }
}

TEST(CrossRounds, ForgetHeadsThatProvedStale) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  agent.prepare_done(1, DbOutcome::Stale);
  EXPECT_EQ(agent.machine.counters().stale_heads, 1);
  EXPECT_EQ(only<ReadState>(agent.start_reserve(2, {anna_pays(5)})).accounts.size(), 1U);
}

TEST(CrossRounds, LetTheirHoldsRowGoThoughNothingWasPrepared) {
  ServingAgent agent;
  agent.reserve(1, {anna_pays(5)});
  agent.start_prepare(1, {0});
  agent.prepare_done(1, DbOutcome::Stale);
  const auto effects = agent.tick_after(std::chrono::seconds(2));
  EXPECT_EQ(only<ForgetHolds>(effects).rounds, (std::vector{round_of(1)}));
}

TEST(CrossRounds, OpenAnAccountWithMoneyFromAFreeWorldSlot) {
  ServingAgent agent;
  agent.start_local(1, {{make_transfer({kAnyWorld, kAnna, 1}), 0}});  // holds slot 0
  const AccountId eve(21);
  EXPECT_TRUE(is<Yes>(agent.reserve(2, {{make_opening(eve, 40), 0}}).at(0)));
  EXPECT_TRUE(agent.is_held(eve));
  const auto prepare = only<PrepareRound>(agent.start_prepare(2, {0}));
  EXPECT_EQ(prepare.held, (std::vector{eve, world_slot(1)}));
  EXPECT_EQ(prepare.batch.opened,
            (std::vector{OpenedAccount{eve, kEuro}, OpenedAccount{world_slot(1), kEuro}}));
  std::int64_t sum = 0;
  for (const auto& entry : prepare.batch.entries) sum += entry.amount.minor_units();
  EXPECT_EQ(sum, 0);
  const auto prepared = as<Prepared>(reply_in<PrepareReply>(agent.prepare_done(2)));
  EXPECT_EQ(prepared.legs, (std::vector{LegState{eve, Version(1), Money(40)}}));
}

TEST(CrossRounds, OpenAnEmptyAccountWithoutAnyWorldSlot) {
  ServingAgent agent;
  const AccountId eve(21);
  const auto votes = agent.reserve(1, {{make_opening(eve, 0), 0}});
  EXPECT_TRUE(is<Yes>(votes.at(0)));
  const auto prepare = only<PrepareRound>(agent.start_prepare(1, {0}));
  EXPECT_EQ(prepare.held, (std::vector{eve}));
  EXPECT_EQ(prepare.batch.entries.size(), 1U);
}

TEST(CrossRounds, VoteBusyForAnOpeningWhenAllWorldSlotsAreHeld) {
  AgentLimits limits;
  limits.worlds_max = 1;
  ServingAgent agent(limits);
  agent.start_local(1, {{make_transfer({kAnyWorld, kAnna, 1}), 0}});
  EXPECT_TRUE(is<Busy>(agent.reserve(2, {{make_opening(AccountId(21), 40), 0}}).at(0)));
}

TEST(CrossRounds, DoNotOpenAnAccountThatAnotherRoundOpens) {
  ServingAgent agent;
  agent.prepare(1, {{make_opening(AccountId(21), 0), 0}});
  EXPECT_TRUE(is<Busy>(agent.reserve(2, {{make_opening(AccountId(21), 0), 0}}).at(0)));
}

}  // namespace
}  // namespace koshel::agent
