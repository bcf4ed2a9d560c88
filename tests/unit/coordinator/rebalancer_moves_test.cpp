// What the rebalancer does with a move: step by step, when a step fails, and when all is paused or
// cancelled.

#include "coordinator/logic/rebalancer.hpp"

#include "tests/unit/coordinator/rebalance_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::CopiedTo;

class MoveSteps : public Rebalancing {
 protected:
  using Rebalancing::Rebalancing;
  void expect_nothing_for(Duration time) {
    driver.pass(time - Duration(1));
    EXPECT_TRUE(driver.take<BeginArrival>().empty());
    EXPECT_TRUE(driver.take<CopyChunk>().empty());
    EXPECT_TRUE(cleans_nothing());
    EXPECT_TRUE(driver.take<EndMove>().empty());
    EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
    driver.pass(Duration(1));
  }
};

TEST_F(MoveSteps, FollowOneAnother) {
  hold();
  take(open_move(kMove, {101, 102}));
  take_none();

  const auto beginning = driver.take_one<BeginArrival>();
  EXPECT_EQ(beginning.target, kTarget);
  EXPECT_EQ(beginning.begin.move, kMove);
  EXPECT_EQ(beginning.begin.accounts, accounts({101, 102}));
  EXPECT_TRUE(driver.is_idle());
  driver.give(ArrivalBegun{
      kMove,
      messages::ArrivalBegun{true, {{AccountId(101), Version(3)}, {AccountId(102), Version(0)}}}});

  const auto first = copy(
      {.entries = 100, .copied = {{AccountId(101), Version(5)}, {AccountId(102), Version(98)}}});
  EXPECT_EQ(first.source, kSource);
  EXPECT_EQ(first.target, kTarget);
  EXPECT_EQ(first.read.limit, kRebalanceLimits.entries_per_chunk);
  EXPECT_EQ(first.read.after,
            (std::vector<CopiedTo>{{AccountId(101), Version(3)}, {AccountId(102), Version(0)}}));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty()) << "there is more to copy";
  const auto second =
      copy({.is_complete = true, .entries = 7, .copied = {{AccountId(102), Version(105)}}});
  EXPECT_EQ(second.read.after,
            (std::vector<CopiedTo>{{AccountId(101), Version(5)}, {AccountId(102), Version(98)}}));

  const auto reserves = driver.sent<messages::Reserve>();
  ASSERT_EQ(reserves.size(), 2U);
  EXPECT_EQ(reserves[0].shard, kSource);
  EXPECT_EQ(reserves[0].message.orders,
            (std::vector<messages::ReserveOrder>{{messages::Depart{AccountId(101), kMove}, 0},
                                                 {messages::Depart{AccountId(102), kMove}, 0}}));
  const auto round = reserves[0].round;
  Head head;
  head.version = Version(105);
  driver.vote(round, kSource, {2, messages::Leaving{head}});
  driver.vote(round, kTarget, {2, messages::Yes{}});
  const auto tail = driver.take_one<HandOver>();
  ASSERT_EQ(tail.parts.size(), 1U);
  EXPECT_EQ(tail.parts[0].copied, (CopiedTo{AccountId(101), Version(5)}));
  driver.give(HandedOver{round, success()});
  for (const auto shard : {kSource, kTarget}) {
    driver.reply_prepare(round, shard, prepared_of(shard, 2));
  }
  driver.give(UsersMoved{round, MoveUsersOutcome::Moved});
  EXPECT_TRUE(cleans_nothing());
  for (const auto shard : {kSource, kTarget}) {
    driver.reply_settle(round, shard, messages::SettleOutcome::Settled);
  }

  const auto cleaning = clean();
  EXPECT_EQ(cleaning.shard, kSource);
  EXPECT_EQ(cleaning.clean.move, kMove);
  EXPECT_TRUE(cleaning.clean.is_leaving);
  EXPECT_EQ(cleaning.clean.accounts, accounts({101, 102}));
  EXPECT_EQ(cleaning.clean.limit, kRebalanceLimits.entries_per_chunk);

  const auto ending = end();
  EXPECT_EQ(ending.move, kMove);
  EXPECT_TRUE(ending.is_cut_over);
  EXPECT_EQ(ending.accounts, accounts({101, 102}));
  EXPECT_EQ(driver.answered(), 0U) << "no client has asked for any of that";
  EXPECT_EQ(driver.machine().counters().orders_finished, 0);
}

TEST_F(MoveSteps, GoOnWhereTheyWereLeft) {
  hold_the_last({open_move(kMove, {101}, {102})});
  EXPECT_EQ(begin().begin.accounts, accounts({101})) << "who is cut over is not copied any more";
  copy({.is_complete = true});
  cut_over();
  EXPECT_EQ(clean().clean.accounts, accounts({101, 102}));
  EXPECT_EQ(end().accounts, accounts({101, 102}));
}

TEST_F(MoveSteps, DeleteNothingAtTheSourceThatTheTargetDoesNotOwn) {
  hold_the_last({open_move(kMove, {}, {101, 102})});
  const auto check = driver.take_one<CheckArrived>();
  EXPECT_EQ(check.target, kTarget);
  EXPECT_EQ(check.accounts, accounts({101, 102}));
  driver.give(ArrivedChecked{kMove, unreachable()});
  expect_nothing_for(kRebalanceLimits.retry);
  EXPECT_EQ(driver.take_one<CheckArrived>().move, kMove) << "it is asked again";
  driver.give(ArrivedChecked{kMove, false});
  read({open_move(kMove, {}, {101, 102})});
  expect_nothing_for(kRebalanceLimits.retry);
  EXPECT_EQ(driver.take_one<CheckArrived>().move, kMove) << "the directory still believes it";
  driver.give(ArrivedChecked{kMove, true});
  EXPECT_EQ(clean(false).shard, kSource);
  driver.pass(kRebalanceLimits.retry);
  clean_and_end();
}

TEST_F(MoveSteps, OfSeveralMovesDoNotWaitForEachOther) {
  hold({open_move(kMove, {101}), open_move(kOtherMove, {}, {102})});
  driver.take_one<BeginArrival>();
  clean_and_end();
  take_none();
  driver.give(ArrivalBegun{kMove, messages::ArrivalBegun{true, {{AccountId(101), kCopied}}}});
  driver.take_one<CopyChunk>();
}

// ---- what fails

TEST_F(MoveSteps, AreReadAgainWhenTheTargetCannotBegin) {
  const Result<messages::ArrivalBegun> replies[] = {unreachable(), lost(),
                                                    messages::ArrivalBegun{false, {}}};
  hold_the_last({open_move(kMove, {101, 102})});
  for (const auto& reply : replies) {
    driver.take_one<BeginArrival>();
    driver.give(ArrivalBegun{kMove, reply});
    read({open_move(kMove, {101}, {102})});
    expect_nothing_for(kRebalanceLimits.retry);
  }
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.accounts, accounts({101}));
}

TEST_F(MoveSteps, EndWhenTheMoveIsNotThereAnyMore) {
  hold_the_last({open_move(kMove, {101})});
  driver.take_one<BeginArrival>();
  driver.give(ArrivalBegun{kMove, messages::ArrivalBegun{false, {}}});
  read({});
  take_no_leftovers();
  driver.take_one<EndRebalance>();
}

TEST_F(MoveSteps, CopySmallerChunksAfterAFailureAndGrowAgain) {
  hold_the_last({open_move(kMove, {101})});
  begin();
  std::vector<std::int32_t> limits;
  for (int i = 0; i < 4; ++i) {
    limits.push_back(driver.take_one<CopyChunk>().read.limit);
    driver.give(ChunkCopied{kMove, i % 2 == 0 ? lost() : unreachable()});
    expect_nothing_for(kRebalanceLimits.retry);
  }
  EXPECT_EQ(limits, (std::vector{100, 25, 6, 1}));
  limits.clear();
  for (int i = 0; i < 9; ++i) limits.push_back(copy({.entries = 1}).read.limit);
  EXPECT_EQ(limits, (std::vector{1, 2, 4, 8, 16, 32, 64, 100, 100}));
}

TEST_F(MoveSteps, KeepWhatIsCopiedWhenAChunkFails) {
  hold_the_last({open_move(kMove, {101})});
  begin();
  copy({.entries = 1, .copied = {{AccountId(101), Version(9)}}});
  driver.take_one<CopyChunk>();
  driver.give(ChunkCopied{kMove, lost()});
  driver.pass(kRebalanceLimits.retry);
  EXPECT_EQ(driver.take_one<CopyChunk>().read.after,
            (std::vector{CopiedTo{AccountId(101), Version(9)}}));
}

TEST_F(MoveSteps, BeginAnewWhenAChunkDoesNotFit) {
  hold_the_last({open_move(kMove, {101})});
  begin();
  copy({.is_fitting = false});
  read({open_move(kMove, {101})});
  expect_nothing_for(kRebalanceLimits.retry);
  begin();
  EXPECT_EQ(driver.take_one<CopyChunk>().read.after,
            (std::vector{CopiedTo{AccountId(101), kCopied}}));
}

TEST_F(MoveSteps, BeginAnewForWhoCouldNotBeCutOver) {
  hold_the_last({open_move(kMove, {101, 102})});
  begin_and_copy();
  const auto reserves = driver.sent<messages::Reserve>();
  ASSERT_EQ(reserves.size(), 2U);
  const auto round = reserves[0].round;
  Head head;
  head.version = kCopied;
  driver.vote(round, kSource, {messages::Leaving{head}, messages::Busy{AccountId(102), true}});
  driver.vote(round, kTarget, {2, messages::Yes{}});
  for (const auto shard : {kSource, kTarget}) {
    driver.reply_prepare(round, shard, prepared_of(shard, 1));
  }
  driver.give(UsersMoved{round, MoveUsersOutcome::Moved});
  for (const auto shard : {kSource, kTarget}) {
    driver.reply_settle(round, shard, messages::SettleOutcome::Settled);
  }
  EXPECT_TRUE(driver.take<ReadMoves>().empty()) << "the other one is still tried";
  driver.discard();
  driver.pass(kRebalanceLimits.cut_over_max);
  read({open_move(kMove, {102}, {101})});
  driver.discard();
  driver.pass(milliseconds(100));
  EXPECT_EQ(begin().begin.accounts, accounts({102}));
  copy({.is_complete = true});
  cut_over();
  EXPECT_EQ(clean().clean.accounts, accounts({102, 101}));
  EXPECT_EQ(end().accounts, accounts({102, 101}));
}

TEST_F(MoveSteps, ReadWhatBecameOfACutOverWhoseOutcomeIsNotKnown) {
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  const auto round = bring_to_decision();
  driver.pass(kRebalanceLimits.cut_over_max);
  read({open_move(kMove, {}, {101})});  // decided by now; the reply is not here yet
  expect_nothing_for(kRebalanceLimits.retry);
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  EXPECT_EQ(clean().shard, kSource);
}

TEST_F(MoveSteps, AreReadAgainWhenTheDirectoryDoesNotBelieveThem) {
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  const auto round = bring_to_decision();
  driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
  read({});
  take_no_leftovers();
}

TEST_F(MoveSteps, CleanChunkUponChunk) {
  hold_the_last({open_move(kMove, {}, {101})});
  for (int i = 0; i < 3; ++i) {
    clean(false);
    EXPECT_TRUE(driver.take<ReadMoves>().empty());
    driver.pass(milliseconds(20));
  }
  clean();
  driver.take_one<EndMove>();
}

TEST_F(MoveSteps, CleanAgainAfterAFailure) {
  hold_the_last({open_move(kMove, {}, {101})});
  arrive();
  for (const auto& error : {lost(), unreachable()}) {
    driver.take_one<CleanMove>();
    driver.give(MoveCleaned{kMove, error});
    expect_nothing_for(kRebalanceLimits.retry);
  }
  clean_and_end();
}

TEST_F(MoveSteps, EndAgainWhenTheEndWasLost) {
  for (const bool has_ended : {true, false}) {
    hold_the_last({open_move(kMove, {}, {101})});
    clean();
    driver.take_one<EndMove>();
    driver.give(MoveEnded{kMove, lost()});
    if (has_ended) {
      read({});
      take_no_leftovers();
      driver.take_one<EndRebalance>();
      driver.give(RebalanceEnded{true});
    } else {
      read({open_move(kMove, {}, {101})});
      expect_nothing_for(kRebalanceLimits.retry);
      clean_and_end();
    }
    driver.discard();
  }
}

TEST_F(MoveSteps, IgnoreRepliesThatNobodyWaitsFor) {
  hold_the_last({open_move(kMove, {101})});
  driver.give(ArrivalBegun{kOtherMove, messages::ArrivalBegun{true, {}}});
  begin();
  driver.take_one<CopyChunk>();
  driver.give(ChunkCopied{kMove, unreachable()});
  driver.give(ChunkCopied{kMove, ChunkCopied::Progress{true, true, 5, {}}});
  driver.give(MoveCleaned{kMove, messages::MoveCleaned{true}});
  driver.give(MoveEnded{kMove, success()});
  EXPECT_TRUE(driver.is_idle());
  expect_nothing_for(kRebalanceLimits.retry);
  driver.take_one<CopyChunk>();
}

TEST_F(MoveSteps, LeaveOrdersToTheirRoundsWhenTheRebalanceIsLost) {
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  const auto round = bring_to_decision();
  holder = Incarnation(4);
  beat();
  driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
  driver.discard();
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.is_idle());
  EXPECT_EQ(driver.answered(), 0U);
  EXPECT_EQ(driver.machine().orders(), 0U);
}

TEST_F(MoveSteps, TakeNoOutcomeOfBeforeTheRebalanceWasLost) {
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  const auto round = bring_to_decision();
  holder = Incarnation(4);
  beat();
  holder = kIncarnation;
  beat();
  read({open_move(kMove, {101})});
  driver.take_one<BeginArrival>();
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  driver.settle_all(round);
  EXPECT_TRUE(cleans_nothing());
  driver.give(ArrivalBegun{kMove, messages::ArrivalBegun{false, {}}});
  read({open_move(kMove, {}, {101})});
  driver.pass(kRebalanceLimits.retry);
  EXPECT_EQ(clean().shard, kSource);
}

class CrowdedMoveSteps : public MoveSteps {
 protected:
  CrowdedMoveSteps() : MoveSteps(BookLimits{.orders_max = 2}) {}
};

TEST_F(CrowdedMoveSteps, CutOverOneAfterAnotherWhenTooManyOrdersWait) {
  hold_the_last({open_move(kMove, {101, 102})});
  begin_and_copy();
  cut_over();
  EXPECT_TRUE(cleans_nothing());
  cut_over();
  EXPECT_EQ(clean().clean.accounts, accounts({101, 102}));
}

TEST_F(CrowdedMoveSteps, TryAgainWhenThereIsNoRoomForAnyOrder) {
  driver.submit_together({transfer({301, 302}), transfer({401, 402})}, seconds(2));
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.pass(Duration());
  read({open_move(kMove, {101})});
  driver.pass(seconds(2));  // the clients give up
  begin_and_copy();
  cut_over();
  clean_and_end();
}

// ---- paused

TEST_F(MoveSteps, StopBeforeTheNextWhenPausedAndGoOnWhenResumed) {
  hold_the_last({open_move(kMove, {101})});
  turn_to(RebalanceState::Paused);
  begin();
  EXPECT_TRUE(driver.is_idle());
  turn_to(RebalanceState::Running);
  turn_to(RebalanceState::Paused);
  copy({.is_complete = true});
  EXPECT_TRUE(driver.is_idle());
  turn_to(RebalanceState::Running);
  turn_to(RebalanceState::Paused);
  cut_over();
  EXPECT_TRUE(cleans_nothing());
  turn_to(RebalanceState::Running);
  turn_to(RebalanceState::Paused);
  arrive();
  EXPECT_TRUE(cleans_nothing());
  turn_to(RebalanceState::Running);
  turn_to(RebalanceState::Paused);
  clean();
  driver.take_one<EndMove>();  // belongs to the cleaning
  driver.give(MoveEnded{kMove, success()});
  driver.discard();
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.is_idle());
  EXPECT_TRUE(driver.machine().is_moving_users());
  driver.discard();
  answer_beat();
  turn_to(RebalanceState::Running);
  driver.take_one<TakeLeftovers>();
}

TEST_F(MoveSteps, OfAPausedRebalanceAreOnlyRead) {
  state = RebalanceState::Paused;
  hold({open_move(kMove, {101})});
  EXPECT_TRUE(driver.is_idle());
  turn_to(RebalanceState::Running);
  driver.take_one<BeginArrival>();
  driver.take_one<TakeMove>();
}

// ---- cancelled

TEST_F(MoveSteps, AreUndoneAtTheTargetWhenCancelledBeforeTheCutOver) {
  hold({open_move(kMove, {101, 102})});
  take_none();
  turn_to(RebalanceState::Cancelling);
  begin();
  const auto cleaning = clean();
  EXPECT_EQ(cleaning.shard, kTarget);
  EXPECT_FALSE(cleaning.clean.is_leaving);
  EXPECT_EQ(cleaning.clean.accounts, accounts({101, 102}));
  const auto ending = end();
  EXPECT_FALSE(ending.is_cut_over);
  EXPECT_EQ(ending.accounts, accounts({101, 102}));
  EXPECT_TRUE(driver.take<TakeLeftovers>().empty());
  EXPECT_EQ(driver.take_one<EndRebalance>().error, "");
}

TEST_F(MoveSteps, GoOnToTheirEndWhenCancelledAfterTheCutOver) {
  hold_the_last({open_move(kMove, {101})});
  begin_and_copy();
  cut_over();
  turn_to(RebalanceState::Cancelling);
  EXPECT_EQ(clean().shard, kSource);
  EXPECT_TRUE(end().is_cut_over);
  driver.take_one<EndRebalance>();
}

TEST_F(MoveSteps, AreUndoneForWhoIsNotCutOverAndFinishedForTheOthers) {
  state = RebalanceState::Cancelling;
  hold({open_move(kMove, {101, 103}, {102})});
  const auto undoing = clean();
  EXPECT_EQ(undoing.shard, kTarget);
  EXPECT_FALSE(undoing.clean.is_leaving);
  EXPECT_EQ(undoing.clean.accounts, accounts({101, 103}));
  const auto undone = end();
  EXPECT_FALSE(undone.is_cut_over);
  EXPECT_EQ(undone.accounts, accounts({101, 103}));
  read({open_move(kMove, {}, {102})});
  EXPECT_EQ(clean().shard, kSource);
  EXPECT_EQ(end().accounts, accounts({102}));
  driver.take_one<EndRebalance>();
}

TEST_F(MoveSteps, AreUndoneOnlyWhenNoRoundIsUnderWay) {
  for (const bool is_cut_over : {true, false}) {
    state = RebalanceState::Running;
    hold_the_last({open_move(kMove, {101})});
    begin_and_copy();
    const auto round = bring_to_decision();
    turn_to(RebalanceState::Cancelling);
    EXPECT_TRUE(cleans_nothing());
    if (is_cut_over) {
      driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
      driver.settle_all(round);
    } else {
      driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
      read({open_move(kMove, {101})});
      driver.pass(kRebalanceLimits.retry);
      answer_beat();
    }
    EXPECT_EQ(clean().shard, is_cut_over ? kSource : kTarget);
    EXPECT_EQ(end().is_cut_over, is_cut_over);
    driver.take_one<EndRebalance>();
    driver.give(RebalanceEnded{true});
    driver.discard();
  }
}

TEST_F(MoveSteps, AreReadAgainWhenWhatShallBeUndoneIsOwnedByTheTarget) {
  state = RebalanceState::Cancelling;
  hold({open_move(kMove, {101})});
  clean(false);
  read({open_move(kMove, {}, {101})});  // a round of an earlier holder was decided after all
  driver.pass(milliseconds(20));
  EXPECT_EQ(clean().shard, kSource);
  EXPECT_TRUE(end().is_cut_over);
}

TEST_F(MoveSteps, OfAMoveThatIsTakenWhileItIsCancelledAreUndone) {
  hold();
  driver.take_one<TakeMove>();
  turn_to(RebalanceState::Cancelling);
  EXPECT_TRUE(driver.take<EndRebalance>().empty()) << "a move may be taken yet";
  driver.give(MoveTaken{std::optional(open_move(kMove, {101}))});
  EXPECT_EQ(clean().shard, kTarget);
}

}  // namespace
}  // namespace koshel::coordinator
