// Accounts that go from this shard to another one, and those that come: votes, prepares, what is
// remembered after them, and who may read an account meanwhile.

#include <gtest/gtest.h>

#include <algorithm>

#include "shard-agent/logic/cross_rounds.hpp"
#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

using messages::Busy;
using messages::Leaving;
using messages::Moved;
using messages::PrepareReply;
using messages::RoundFault;
using messages::SettleOutcome;

constexpr AccountId kEmil{15};  // of another shard, on his way here
const Head kEmilsHead = make_head({.balance = 40, .min = -10, .max = 70, .version = 6});

// What a transfer with Dora, whom no test here moves, has to read first.
std::vector<AccountId> read_for_transfer(AgentDriver& agent, AccountId account) {
  std::vector<AccountId> accounts;
  for (const auto& read :
       all<ReadState>(agent.start_local(900, {{make_transfer({account, kDora}), 0}}))) {
    accounts.insert(accounts.end(), read.accounts.begin(), read.accounts.end());
  }
  return accounts;
}
bool is_read_anew(AgentDriver& agent, AccountId account) {
  return std::ranges::count(read_for_transfer(agent, account), account) > 0;
}

// ---- departures

TEST(Departures, VoteWithTheHeadThatIsToBeCopied) {
  ServingAgent agent;
  agent.owned[kAnna] = make_head({.balance = 30, .version = 7});
  const auto votes = agent.reserve(1, {departs(kAnna), departs(kBert)});
  ASSERT_EQ(votes.size(), 2U);
  EXPECT_EQ(as<Leaving>(votes[0]).head, agent.owned[kAnna]);
  EXPECT_EQ(as<Leaving>(votes[1]).head, agent.owned[kBert]);
}

TEST(Departures, VoteWithTheHeadInMemoryAsItIsNow) {
  ServingAgent agent;
  agent.run_local(1, {{make_transfer({kAnna, kBert, 5}), 0}});
  const auto effects = agent.start_reserve(2, {departs(kAnna)});
  EXPECT_FALSE(has<ReadState>(effects));
  const auto reserved = as<messages::Reserved>(reply_in<messages::ReserveReply>(effects));
  const auto head = as<Leaving>(reserved.votes.at(0)).head;
  EXPECT_EQ(head.version, Version(2));
  EXPECT_EQ(head.balance, Money(95));
}

TEST(Departures, VoteMovedForWhoIsNotOwnedHere) {
  ServingAgent agent;
  const auto votes = agent.reserve(1, {departs(kAway)});
  EXPECT_EQ(as<Moved>(votes.at(0)).account, kAway);
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
}

TEST(Departures, VoteBusyForWhoIsInAnotherRound) {
  ServingAgent agent;
  agent.reserve(1, {pays(make_transfer({kAnna, kAway}))});
  const auto votes = agent.reserve(2, {departs(kAnna), departs(kBert)});
  EXPECT_EQ(as<Busy>(votes.at(0)).account, kAnna);
  EXPECT_TRUE(is<Leaving>(votes.at(1)));
}

TEST(Departures, SayThatTheOtherRoundIsInDoubt) {
  AgentDriver agent;
  agent.take_over(kEpoch, {{round_of(40), {kAnna}}});
  EXPECT_TRUE(as<Busy>(agent.reserve(1, {departs(kAnna)}).at(0)).is_in_doubt);
}

TEST(Departures, GetABusyAccountWhenTheyHaveBeenPatient) {
  AgentLimits limits;
  ServingAgent agent(limits);
  agent.reserve(1, {pays(make_transfer({kAnna, kAway}))});
  EXPECT_TRUE(is<Busy>(agent.reserve(2, {departs(kAnna, limits.busy_patience)}).at(0)));
  agent.release(1);
  EXPECT_TRUE(is<Busy>(agent.run_local(3, {{make_transfer({kAnna, kBert}), 0}}).at(0)));
  EXPECT_TRUE(is<Leaving>(agent.reserve(4, {departs(kAnna)}).at(0)));
}

TEST(Departures, HoldTheAccountUntilTheyAreSettled) {
  ServingAgent agent;
  agent.prepare(1, {departs(kAnna)});
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.commit(1);
  EXPECT_TRUE(agent.is_held(kAnna));
  agent.settle_done(1);
  EXPECT_FALSE(agent.is_held(kAnna));
}

TEST(Departures, PrepareTheLastWordOfThisShard) {
  ServingAgent agent;
  const auto head = make_head(
      {.balance = 30, .min = -5, .max = 99, .version = 7, .status = AccountStatus::Frozen});
  agent.owned[kAnna] = head;
  agent.reserve(1, {departs(kAnna)});
  const auto effect = only<PrepareRound>(agent.start_prepare(1, {0}));
  EXPECT_EQ(effect.departing, (std::vector{MovingAccount{kMove, kAnna, kEuro, Version(7)}}));
  EXPECT_TRUE(effect.arriving.empty());
  EXPECT_EQ(effect.held, std::vector{kAnna});
  EXPECT_EQ(effect.batch.heads, (std::vector{CountedHead{kAnna, Version(7), Money(30)}}));
  EXPECT_TRUE(effect.batch.opened.empty());
  ASSERT_EQ(effect.batch.entries.size(), 1U);
  const auto& entry = effect.batch.entries[0];
  EXPECT_EQ(entry.kind, EntryKind::Moved);
  EXPECT_EQ(entry.version, Version(8));
  EXPECT_EQ(entry.amount, Money(0));
  EXPECT_EQ(entry.status, AccountStatus::Frozen);
  const auto prepared = as<messages::Prepared>(reply_in<PrepareReply>(agent.prepare_done(1)));
  EXPECT_EQ(prepared.legs, (std::vector{LegState{kAnna, Version(8), Money(30)}}));
}

TEST(Departures, PrepareTheSurvivorsAndLetTheOthersStay) {
  ServingAgent agent;
  agent.reserve(1, {departs(kAnna), departs(kBert), departs(kCleo)});
  const auto effect = only<PrepareRound>(agent.start_prepare(1, {0, 2}));
  ASSERT_EQ(effect.departing.size(), 2U);
  EXPECT_EQ(effect.departing[0].account, kAnna);
  EXPECT_EQ(effect.departing[1].account, kCleo);
  EXPECT_EQ(effect.batch.entries.size(), 2U);
  EXPECT_FALSE(agent.is_held(kBert));
  EXPECT_FALSE(agent.machine.may_have_left(kBert));
  EXPECT_TRUE(agent.is_held(kCleo));
}

TEST(Departures, TakeNoHeadsFromTheirCoordinator) {
  ServingAgent agent;
  agent.reserve(1, {departs(kAnna), departs(kBert)});
  const auto head = agent.owned[kAnna];
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0, 1}, {head})), RoundFault::Rejected);
  EXPECT_EQ(fault_in<PrepareReply>(agent.start_prepare(1, {0, 1}, {head, head})),
            RoundFault::Rejected);
  EXPECT_TRUE(has<PrepareRound>(agent.start_prepare(1, {0, 1})));
}

TEST(Departures, ForgetTheHeadsOfWhoHasGone) {
  ServingAgent agent;
  agent.prepare(1, {departs(kAnna)});
  agent.commit(1);
  agent.settle_done(1);
  agent.owned.erase(kAnna);
  EXPECT_EQ(as<Moved>(agent.run_local(2, {{make_transfer({kAnna, kBert}), 0}}).at(0)).account,
            kAnna);
  EXPECT_EQ(as<Moved>(agent.reserve(3, {departs(kAnna)}).at(0)).account, kAnna);
}

TEST(Departures, LeaveEverythingAsItWasWhenTheyAreAborted) {
  ServingAgent agent;
  agent.prepare(1, {departs(kAnna)});
  EXPECT_FALSE(only<SettlePrepared>(agent.abort(1)).is_commit);
  agent.settle_done(1);
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(agent.machine.accounts_held(), 0U);
  EXPECT_FALSE(agent.machine.may_have_left(kAnna));
  const auto append = only<Append>(
      agent.read_if_wanted(agent.start_local(2, {{make_transfer({kAnna, kBert}), 0}})));
  EXPECT_EQ(append.batch.heads.at(0), (CountedHead{kAnna, Version(1), Money(100)}));
}

TEST(Departures, ReadHeadsAnewThatWereStale) {
  ServingAgent agent;
  agent.reserve(1, {departs(kAnna)});
  agent.start_prepare(1, {0});
  EXPECT_EQ(fault_in<PrepareReply>(agent.prepare_done(1, DbOutcome::Stale)), RoundFault::Stale);
  EXPECT_FALSE(agent.machine.may_have_left(kAnna));
  EXPECT_TRUE(is_read_anew(agent, kAnna));
}

// ---- arrivals

TEST(Arrivals, VoteYesWithoutReading) {
  ServingAgent agent;
  const auto effects = agent.start_reserve(1, {arrives(kEmil)});
  EXPECT_FALSE(has<ReadState>(effects));
  const auto reserved = as<messages::Reserved>(reply_in<messages::ReserveReply>(effects));
  EXPECT_EQ(reserved.epoch, kEpoch);
  EXPECT_TRUE(is<messages::Yes>(reserved.votes.at(0)));
}

TEST(Arrivals, HoldTheAccountThatIsNotHereYet) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  EXPECT_EQ(as<Busy>(agent.reserve(2, {arrives(kEmil)}).at(0)).account, kEmil);
  EXPECT_TRUE(agent.is_held(kEmil));
  agent.release(1);
  EXPECT_FALSE(agent.is_held(kEmil));
  EXPECT_TRUE(is<messages::Yes>(agent.reserve(3, {arrives(kEmil)}).at(0)));
}

TEST(Arrivals, PrepareTheFirstWordOfThisShard) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  const auto effect = only<PrepareRound>(agent.start_prepare(1, {0}, {kEmilsHead}));
  EXPECT_EQ(effect.arriving, (std::vector{MovingAccount{kMove, kEmil, kEuro, Version(6)}}));
  EXPECT_TRUE(effect.departing.empty());
  EXPECT_EQ(effect.held, std::vector{kEmil});
  EXPECT_EQ(effect.batch.heads, (std::vector{CountedHead{kEmil, Version(6), Money(40)}}));
  EXPECT_TRUE(effect.batch.opened.empty());
  ASSERT_EQ(effect.batch.entries.size(), 1U);
  const auto& entry = effect.batch.entries[0];
  EXPECT_EQ(entry.kind, EntryKind::Moved);
  EXPECT_EQ(entry.version, Version(7));
  EXPECT_EQ(entry.min_balance, Money(-10));
  EXPECT_EQ(entry.max_balance, Money(70));
  const auto prepared = as<messages::Prepared>(reply_in<PrepareReply>(agent.prepare_done(1)));
  EXPECT_EQ(prepared.legs, (std::vector{LegState{kEmil, Version(7), Money(40)}}));
}

TEST(Arrivals, AreTheSameEntryOnBothShards) {
  ServingAgent source;
  source.owned[kEmil] = kEmilsHead;
  const auto head = as<Leaving>(source.reserve(1, {departs(kEmil)}).at(0)).head;
  const auto last = only<PrepareRound>(source.start_prepare(1, {0})).batch;
  ServingAgent target;
  target.reserve(1, {arrives(kEmil)});
  const auto first = only<PrepareRound>(target.start_prepare(1, {0}, {head})).batch;
  EXPECT_EQ(first.entries, last.entries);
  EXPECT_EQ(first.heads, last.heads);
}

TEST(Arrivals, TakeTheHeadsBySurvivors) {
  ServingAgent agent;
  constexpr AccountId kOthers[] = {AccountId(97), AccountId(98)};
  agent.reserve(1, {arrives(kOthers[0]), arrives(kEmil), arrives(kOthers[1])});
  const auto other = make_head({.balance = 1, .version = 3});
  const auto effect = only<PrepareRound>(agent.start_prepare(1, {1, 2}, {kEmilsHead, other}));
  ASSERT_EQ(effect.arriving.size(), 2U);
  EXPECT_EQ(effect.arriving[0], (MovingAccount{kMove, kEmil, kEuro, Version(6)}));
  EXPECT_EQ(effect.arriving[1], (MovingAccount{kMove, kOthers[1], kEuro, Version(3)}));
  EXPECT_FALSE(agent.is_held(kOthers[0]));
}

TEST(Arrivals, AreRefusedWithoutHeadsThatFit) {
  const std::vector<std::vector<Head>> heads = {
      {},
      {kEmilsHead},
      {kEmilsHead, kEmilsHead, kEmilsHead},
      {kEmilsHead, make_head({.balance = 1001})},
      {make_head({.balance = -1}), kEmilsHead},
  };
  for (const auto& told : heads) {
    ServingAgent agent;
    agent.reserve(1, {arrives(kEmil), arrives(AccountId(98))});
    const auto effects = agent.start_prepare(1, {0, 1}, told);
    EXPECT_FALSE(has<PrepareRound>(effects));
    EXPECT_EQ(fault_in<PrepareReply>(effects), RoundFault::Rejected);
    EXPECT_TRUE(has<PrepareRound>(agent.start_prepare(1, {0, 1}, {kEmilsHead, kEmilsHead})));
  }
}

TEST(Arrivals, BringAWorldAccountOfAShardThatIsDrained) {
  ServingAgent agent;
  const auto world = AccountId::world(ShardId(2), kEuro, 0);
  auto head = unopened_world(kEuro);
  head.version = Version(9);
  head.balance = Money(-500);
  agent.reserve(1, {arrives(world)});
  const auto effect = only<PrepareRound>(agent.start_prepare(1, {0}, {head}));
  EXPECT_EQ(effect.arriving, (std::vector{MovingAccount{kMove, world, kEuro, Version(9)}}));
  EXPECT_TRUE(effect.batch.opened.empty());
  ASSERT_EQ(effect.batch.entries.size(), 1U);
  EXPECT_EQ(effect.batch.entries[0].version, Version(10));
}

TEST(Arrivals, AreKnownOnceTheyAreCommitted) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  agent.start_prepare(1, {0}, {kEmilsHead});
  agent.prepare_done(1);
  agent.commit(1);
  agent.settle_done(1);
  EXPECT_FALSE(agent.is_held(kEmil));
  const auto effects = agent.start_local(2, {{make_transfer({kEmil, kDora, 50}), 0}});
  EXPECT_EQ(only<ReadState>(effects).accounts, std::vector{kDora});
  const auto heads = only<Append>(agent.read(effects)).batch.heads;
  EXPECT_NE(std::ranges::find(heads, CountedHead{kEmil, Version(7), Money(40)}), heads.end());
}

TEST(Arrivals, AreNotHereWhenTheyAreAborted) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  agent.start_prepare(1, {0}, {kEmilsHead});
  agent.prepare_done(1);
  agent.abort(1);
  agent.settle_done(1);
  EXPECT_TRUE(agent.machine.is_idle());
  EXPECT_EQ(as<Moved>(agent.run_local(2, {{make_transfer({kEmil, kDora}), 0}}).at(0)).account,
            kEmil);
}

TEST(Arrivals, ThatAreNotCopiedUpToTheirHeadsAreNotKnown) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  agent.start_prepare(1, {0}, {kEmilsHead});
  EXPECT_EQ(fault_in<PrepareReply>(agent.prepare_done(1, DbOutcome::Stale)), RoundFault::Stale);
  EXPECT_FALSE(agent.is_held(kEmil));
  EXPECT_TRUE(is_read_anew(agent, kEmil));
}

// ---- who may read the account meanwhile

TEST(MayHaveLeft, IsTrueFromThePrepareUntilItIsSettled) {
  for (const bool is_commit : {true, false}) {
    ServingAgent agent;
    const auto& machine = agent.machine;
    const auto reading = agent.start_reserve(1, {departs(kAnna)});
    EXPECT_FALSE(machine.may_have_left(kAnna));
    agent.read(reading);
    EXPECT_FALSE(machine.may_have_left(kAnna)) << "nobody can decide upon a reservation";
    agent.start_prepare(1, {0});
    EXPECT_TRUE(machine.may_have_left(kAnna));
    agent.prepare_done(1);
    EXPECT_TRUE(machine.may_have_left(kAnna));
    EXPECT_FALSE(machine.may_have_left(kBert));
    is_commit ? agent.commit(1) : agent.abort(1);
    EXPECT_TRUE(machine.may_have_left(kAnna));
    agent.settle_done(1, SettleOutcome::Later);
    EXPECT_TRUE(machine.may_have_left(kAnna));
    is_commit ? agent.commit(1) : agent.abort(1);
    agent.settle_done(1);
    EXPECT_FALSE(machine.may_have_left(kAnna));
  }
}

TEST(MayHaveLeft, IsFalseForWhoArrivesOrPays) {
  ServingAgent agent;
  agent.reserve(1, {arrives(kEmil)});
  agent.start_prepare(1, {0}, {kEmilsHead});
  agent.prepare(2, {pays(make_transfer({kAnna, kAway}))});
  EXPECT_FALSE(agent.machine.may_have_left(kEmil));
  EXPECT_FALSE(agent.machine.may_have_left(kAnna));
}

TEST(MayHaveLeft, IsTrueForAReservationThatIsToBeCommitted) {
  ServingAgent agent;
  agent.reserve(1, {departs(kAnna)});
  agent.commit(1);  // prepared before this agent's time, and reserved once more
  EXPECT_TRUE(agent.machine.may_have_left(kAnna));
}

TEST(MayHaveLeft, IsTrueForWhatATakeOverFindsInDoubt) {
  for (const bool is_commit : {true, false}) {
    AgentDriver agent;
    agent.take_over(kEpoch, {{round_of(40), {kAnna, kBert}, {kAnna}}});
    EXPECT_TRUE(agent.machine.may_have_left(kAnna));
    EXPECT_FALSE(agent.machine.may_have_left(kBert)) << "held, but it stays";
    EXPECT_TRUE(has<SettlePrepared>(agent.step(DecisionRead{round_of(40), is_commit})));
    EXPECT_TRUE(agent.machine.may_have_left(kAnna));
    agent.settle_done(40);
    EXPECT_FALSE(agent.machine.may_have_left(kAnna));
    EXPECT_TRUE(is_read_anew(agent, kAnna));
  }
}

TEST(MayHaveLeft, IsTrueAgainAfterATakeOverInBetween) {
  ServingAgent agent;
  agent.prepare(1, {departs(kAnna)});
  agent.lose_connection();
  agent.take_over(kEpoch.next(), {{round_of(1), {kAnna}, {kAnna}}});
  EXPECT_TRUE(agent.machine.may_have_left(kAnna));
}

}  // namespace
}  // namespace koshel::agent
