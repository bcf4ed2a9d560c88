// Who holds the rebalance, what it takes from the plan and when it is over.

#include "coordinator/logic/rebalancer.hpp"

#include "tests/unit/coordinator/rebalance_driver.hpp"

namespace koshel::coordinator {
namespace {

constexpr Incarnation kOther(4);

class TheRebalancer : public Rebalancing {};

// ---- who holds it

TEST_F(TheRebalancer, BeatsRegularlyAndOneBeatAtATime) {
  driver.pass(Duration());
  EXPECT_EQ(driver.take<BeatRebalance>().size(), 1U);
  driver.pass(seconds(9));
  EXPECT_TRUE(driver.take<BeatRebalance>().empty()) << "the first has no answer yet";
  answer_beat();
  driver.pass(kRebalanceLimits.beat - Duration(1));
  EXPECT_TRUE(driver.take<BeatRebalance>().empty());
  driver.pass(Duration(1));
  EXPECT_EQ(driver.take<BeatRebalance>().size(), 1U);
}

TEST_F(TheRebalancer, BeatsOnAfterABeatThatFailed) {
  driver.pass(Duration());
  driver.take_one<BeatRebalance>();
  driver.give(RebalanceBeaten{lost()});
  driver.pass(kRebalanceLimits.beat);
  driver.take_one<BeatRebalance>();
}

TEST_F(TheRebalancer, DoesNothingWhereThereIsNothingToDo) {
  for (const auto idle : {RebalanceState::Idle, RebalanceState::Failed}) {
    state = idle;
    beat();
    EXPECT_TRUE(driver.is_idle());
    EXPECT_FALSE(driver.machine().is_moving_users());
  }
}

TEST_F(TheRebalancer, DoesNothingWhileAnotherHoldsIt) {
  holder = kOther;
  for (int i = 0; i < 9; ++i) {
    beat();
    ++beats;
  }
  EXPECT_TRUE(driver.is_idle());
  EXPECT_FALSE(driver.machine().is_moving_users());
}

TEST_F(TheRebalancer, ReadsWhatIsOpenBeforeItDoesAnything) {
  beat();
  EXPECT_TRUE(driver.machine().is_moving_users());
  EXPECT_TRUE(driver.take<TakeMove>().empty());
  driver.take_one<ReadMoves>();
  driver.pass(seconds(9));
  EXPECT_TRUE(driver.take<ReadMoves>().empty()) << "one at a time";
  driver.give(MovesRead{std::vector{open_move(kMove, {101})}});
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kMove);
  driver.take_one<TakeMove>();
}

TEST_F(TheRebalancer, TakesOverWhatStoodStillForTheLeaseAndNotBefore) {
  holder = kOther;
  const auto first = beat();
  EXPECT_EQ(first.seen_beat, -1);
  for (Duration still = kRebalanceLimits.beat; still < kRebalanceLimits.lease;
       still += kRebalanceLimits.beat) {
    EXPECT_EQ(beat().seen_beat, -1);
  }
  EXPECT_EQ(beat().seen_beat, beats);
}

TEST_F(TheRebalancer, TakesNothingOverThatBeats) {
  holder = kOther;
  beat();
  for (int i = 0; i < 4; ++i) {
    driver.pass(kRebalanceLimits.lease - Duration(1));
    EXPECT_EQ(driver.take_one<BeatRebalance>().seen_beat, -1);
    ++beats;
    answer_beat();
  }
}

TEST_F(TheRebalancer, TakesNothingOverFromItself) {
  hold();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(beat().seen_beat, -1);
}

TEST_F(TheRebalancer, GoesOnWhenABeatFails) {
  hold_the_last({open_move(kMove, {101})});
  driver.pass(kRebalanceLimits.beat);
  driver.give(RebalanceBeaten{unreachable()});
  EXPECT_TRUE(driver.machine().is_moving_users());
  begin();
  EXPECT_EQ(driver.take<CopyChunk>().size(), 1U);
}

TEST_F(TheRebalancer, DropsEverythingWhenItIsLost) {
  hold({open_move(kMove, {101})});
  driver.discard();
  holder = kOther;
  beat();
  EXPECT_FALSE(driver.machine().is_moving_users());
  driver.give(ArrivalBegun{kMove, messages::ArrivalBegun{true, {}}});
  driver.give(MoveTaken{std::optional(open_move(kOtherMove, {102}))});
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.is_idle());
}

TEST_F(TheRebalancer, ReadsAnewWhatItHasLostSightOf) {
  hold({open_move(kMove, {101})});
  holder = kOther;
  beat();
  holder = kIncarnation;
  driver.discard();
  beat();
  EXPECT_TRUE(driver.take<BeginArrival>().empty());
  read({open_move(kMove, {}, {101})});
  EXPECT_EQ(clean().shard, kSource) << "another one has cut it over";
}

// It slept; another one took it over, ended it, and let go of it before the next one was begun.
TEST_F(TheRebalancer, ReadsAnewWhenAnotherOneHeldItBetweenTwoOfItsBeats) {
  hold_the_last({open_move(kMove, {}, {101})});
  arrive();
  EXPECT_EQ(driver.take_one<CleanMove>().clean.move, kMove);
  ++beats;
  beat();
  driver.give(MoveCleaned{kMove, messages::MoveCleaned{false}});  // 101 is back where it was
  EXPECT_TRUE(cleans_nothing());
  read({open_move(kOtherMove, {102})});
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kOtherMove);
  driver.take_one<TakeMove>();
}

TEST_F(TheRebalancer, DoesNotBelieveWhatWasAskedBeforeAnotherOneHeldIt) {
  beat();
  driver.take_one<ReadMoves>();
  ++beats;
  beat();
  EXPECT_TRUE(driver.take<ReadMoves>().empty()) << "one at a time";
  driver.give(MovesRead{std::vector{open_move(kMove, {101})}});
  EXPECT_TRUE(driver.take<BeginArrival>().empty());
  read({open_move(kOtherMove, {102})});
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kOtherMove);
}

TEST_F(TheRebalancer, ReadsAMoveThatWasTakenWhileAnotherOneMayHaveHeldIt) {
  hold();
  driver.take_one<TakeMove>();
  ++beats;
  beat();
  read({});
  driver.give(MoveTaken{std::optional(open_move(kMove, {101}))});
  EXPECT_TRUE(driver.take<BeginArrival>().empty());
  read({open_move(kMove, {101})});
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kMove);
}

TEST_F(TheRebalancer, ReadsNothingAnewAsLongAsItsBeatsAreTheOnlyOnes) {
  hold_the_last({open_move(kMove, {}, {101})});
  for (int i = 0; i < 9; ++i) beat();
  EXPECT_TRUE(driver.take<ReadMoves>().empty());
}

TEST_F(TheRebalancer, IgnoresWhatWasReadBeforeItWasLost) {
  beat();
  holder = kOther;
  beat();
  driver.discard();
  driver.give(MovesRead{std::vector{open_move(kMove, {101})}});
  EXPECT_TRUE(driver.is_idle());
}

TEST_F(TheRebalancer, MovesNobodyOnceItsIncarnationIsClosed) {
  hold();
  driver.give(LogKept{directory::LogState{true, {}}});
  driver.discard();
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.take<BeatRebalance>().empty());
}

// ---- what it takes from the plan

TEST_F(TheRebalancer, TakesSoManyMovesAtOnce) {
  hold();
  driver.pass(seconds(1));
  EXPECT_EQ(driver.take_one<TakeMove>().users_max, kRebalanceLimits.users_per_move);
  driver.give(MoveTaken{std::optional(open_move(kMove, {101}))});
  take(open_move(kOtherMove, {102}));
  EXPECT_EQ(driver.take<BeginArrival>().size(), 2U);
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.take<TakeMove>().empty());
}

TEST_F(TheRebalancer, TakesTheNextMoveWhenOneHasEnded) {
  hold({open_move(kMove, {}, {101}), open_move(kOtherMove, {102})});
  EXPECT_TRUE(driver.take<TakeMove>().empty());
  clean_and_end();
  driver.take_one<TakeMove>();
}

TEST_F(TheRebalancer, TakesNoMoreUsersThanItMayInASecond) {
  users_per_second = 4;
  hold();
  EXPECT_EQ(driver.take_one<TakeMove>().users_max, 4);
  driver.give(MoveTaken{std::optional(open_move(kMove, {101, 102, 103, 104}))});
  driver.pass(seconds(1) - Duration(1));
  EXPECT_TRUE(driver.take<TakeMove>().empty());
  driver.pass(Duration(1));
  driver.take_one<TakeMove>();
}

TEST_F(TheRebalancer, TakesSmallMovesSoonerOneAfterAnother) {
  users_per_second = 4;
  hold();
  take(open_move(kMove, {101}));
  driver.pass(milliseconds(250));
  take(open_move(kOtherMove, {102}));
}

TEST_F(TheRebalancer, SavesNoUsersUpWhileNothingIsTaken) {
  users_per_second = 1'000;
  hold();
  EXPECT_EQ(driver.take_one<TakeMove>().users_max, kRebalanceLimits.users_per_move);
  driver.pass(seconds(9));
  users_per_second = 1;
  driver.take<BeatRebalance>();
  answer_beat();
  driver.give(MoveTaken{std::optional(open_move(kMove, {101}))});
  driver.pass(milliseconds(999));
  EXPECT_TRUE(driver.take<TakeMove>().empty());
}

TEST_F(TheRebalancer, ReadsWhatIsOpenWhenItDoesNotKnowWhetherItHasTakenAMove) {
  for (const auto& error : {lost(), unreachable()}) {
    hold();
    driver.take_one<TakeMove>();
    driver.give(MoveTaken{error});
    driver.pass(kRebalanceLimits.retry - Duration(1));
    EXPECT_TRUE(driver.take<ReadMoves>().empty());
    driver.pass(Duration(1));
    read({open_move(kMove, {101})});
    EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kMove);
    take_none();
    holder = kOther;
    driver.discard();
    answer_beat();
    holder = kIncarnation;
  }
}

TEST_F(TheRebalancer, KnowsAMoveOnceThatIsReadWhileItIsTaken) {
  hold();
  take(open_move(kMove, {101}));
  driver.take_one<BeginArrival>();
  driver.take_one<TakeMove>();
  driver.give(ArrivalBegun{kMove, unreachable()});
  read({open_move(kMove, {101}), open_move(kOtherMove, {102})});
  EXPECT_TRUE(driver.take<BeginArrival>().empty());
  driver.give(MoveTaken{std::optional(open_move(kOtherMove, {102}))});
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kOtherMove);
  driver.pass(kRebalanceLimits.retry);
  EXPECT_EQ(driver.take_one<BeginArrival>().begin.move, kMove);
}

TEST_F(TheRebalancer, FindsAMoveThatWasReadWhileItWasTakenAndWhoseReplyIsLost) {
  hold();
  take(open_move(kMove, {101}));
  driver.take_one<BeginArrival>();
  driver.take_one<TakeMove>();
  driver.give(ArrivalBegun{kMove, unreachable()});
  read({open_move(kMove, {101}), open_move(kOtherMove, {102})});
  driver.give(MoveTaken{lost()});
  driver.pass(kRebalanceLimits.retry);
  read({open_move(kMove, {101}), open_move(kOtherMove, {102})});
  EXPECT_EQ(driver.take<BeginArrival>().size(), 2U);
}

TEST_F(TheRebalancer, TakesLeftoversWhenThePlanIsDoneAndNothingIsOpen) {
  hold({open_move(kMove, {}, {101})});
  take_none();
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.take<TakeLeftovers>().empty());
  EXPECT_TRUE(driver.take<TakeMove>().empty());
  clean_and_end();
  driver.take_one<TakeLeftovers>();
}

TEST_F(TheRebalancer, MovesLeftoversAsItMovesUsers) {
  hold();
  take_none();
  driver.take_one<TakeLeftovers>();
  const auto world = AccountId::world(kSource, kEuro, 0).value();
  driver.give(MoveTaken{std::optional(open_move(kMove, {world}))});
  begin_and_copy();
  cut_over();
  clean_and_end();
  take_no_leftovers();
  driver.take<BeatRebalance>();
  EXPECT_EQ(driver.take_one<EndRebalance>().error, "");
}

// ---- when it is over

class Ending : public Rebalancing {
 protected:
  // With nothing left to do, but that so many entries are not told yet.
  void bring_to_the_end(std::int64_t entries) {
    hold_the_last({open_move(kMove, {101})});
    begin();
    copy({.is_complete = true, .entries = entries});
    cut_over();
    clean_and_end();
    take_no_leftovers();
  }
  void end_all() {
    driver.take_one<EndRebalance>();
    driver.give(RebalanceEnded{true});
  }
};

TEST_F(Ending, IsToldWhenNothingIsLeft) {
  bring_to_the_end(0);
  EXPECT_TRUE(driver.machine().is_moving_users());
  end_all();
  EXPECT_FALSE(driver.machine().is_moving_users());
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.is_idle());
}

TEST_F(Ending, IsToldOnlyAfterTheLastEntries) {
  bring_to_the_end(40);
  EXPECT_TRUE(driver.take<EndRebalance>().empty());
  driver.pass(Duration());
  EXPECT_EQ(driver.take_one<BeatRebalance>().entries, 40);
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.take<EndRebalance>().empty()) << "that they are told is not sure yet";
  answer_beat();
  end_all();
}

TEST_F(Ending, IsToldAfterTheLastEntriesThoughTheirBeatWasNeverMade) {
  bring_to_the_end(40);
  driver.pass(Duration());
  EXPECT_EQ(driver.take_one<BeatRebalance>().entries, 40);
  driver.give(RebalanceBeaten{unreachable()});
  EXPECT_EQ(beat().entries, 40);
  end_all();
}

TEST_F(Ending, CountsNoEntriesTwiceWhoseBeatWasLost) {
  bring_to_the_end(40);
  driver.pass(Duration());
  driver.take_one<BeatRebalance>();
  driver.give(RebalanceBeaten{lost()});
  EXPECT_EQ(beat().entries, 0);
  end_all();
}

TEST_F(Ending, IsNotYetWhenTheDirectoryHasSomethingLeft) {
  bring_to_the_end(0);
  driver.take_one<EndRebalance>();
  driver.give(RebalanceEnded{false});
  EXPECT_TRUE(driver.is_idle());
  beat();
  EXPECT_TRUE(driver.is_idle());
  beat();
  read({open_move(kOtherMove, {102})});
  driver.take_one<BeginArrival>();
  driver.take_one<TakeMove>();
}

TEST_F(Ending, IsToldAgainWhenTheReplyIsLost) {
  bring_to_the_end(0);
  driver.take_one<EndRebalance>();
  driver.give(RebalanceEnded{lost()});
  beat();
  beat();
  read({});
  take_none();
  take_no_leftovers();
  end_all();
}

TEST_F(Ending, IsForgottenWhenAnotherOneBegins) {
  bring_to_the_end(0);
  end_all();
  hold();
  driver.take_one<TakeMove>();
}

// ---- what stands in the way

TEST_F(TheRebalancer, TellsWhatStandsInTheWayUntilItDoesNot) {
  hold_the_last({open_move(kMove, {101})});
  EXPECT_EQ(beat().error, "");
  driver.take_one<BeginArrival>();
  driver.give(ArrivalBegun{kMove, unreachable()});
  EXPECT_EQ(beat().error, unreachable().context);
  read({open_move(kMove, {101})});
  driver.pass(kRebalanceLimits.retry);
  begin_and_copy();
  cut_over();
  driver.take_one<BeatRebalance>();
  answer_beat();
  EXPECT_EQ(beat().error, "");
}

TEST_F(TheRebalancer, FailsAfterSoManyFailuresInARow) {
  hold_the_last({open_move(kMove, {101})});
  for (int failures = 1; failures <= kRebalanceLimits.retries_max; ++failures) {
    driver.take_one<BeginArrival>();
    driver.give(ArrivalBegun{kMove, unreachable()});
    read({open_move(kMove, {101})});
    driver.pass(kRebalanceLimits.retry);
  }
  EXPECT_TRUE(driver.take<EndRebalance>().empty());
  driver.take_one<BeginArrival>();
  driver.give(ArrivalBegun{kMove, unreachable()});
  EXPECT_EQ(driver.take_one<EndRebalance>().error, unreachable().context);
  driver.pass(seconds(9));
  EXPECT_TRUE(driver.take<BeginArrival>().empty());
  driver.give(RebalanceEnded{true});
  EXPECT_FALSE(driver.machine().is_moving_users());
}

TEST_F(TheRebalancer, FailsWhenWhatIsOpenCannotBeRead) {
  beat();
  for (int failures = 0; failures <= kRebalanceLimits.retries_max; ++failures) {
    driver.take_one<ReadMoves>();
    driver.give(MovesRead{unreachable()});
    EXPECT_TRUE(driver.take<EndRebalance>().empty());
    driver.pass(kRebalanceLimits.retry);
  }
  EXPECT_EQ(driver.take_one<EndRebalance>().error, unreachable().context);
}

TEST_F(TheRebalancer, CountsFailuresAnewAfterASuccess) {
  hold_the_last({open_move(kMove, {101})});
  begin();
  for (int i = 0; i < kRebalanceLimits.retries_max * 3; ++i) {
    driver.take_one<CopyChunk>();
    driver.give(ChunkCopied{kMove, unreachable()});
    driver.pass(kRebalanceLimits.retry);
    copy({.entries = 1});
  }
  EXPECT_TRUE(driver.take<EndRebalance>().empty());
}

TEST_F(TheRebalancer, FailsInTheEndThoughEveryTryToCutOverCopiesSomething) {
  hold_the_last({open_move(kMove, {101})});
  for (int failures = 0; failures <= kRebalanceLimits.retries_max; ++failures) {
    if (failures > 0) read({open_move(kMove, {101})});
    driver.pass(kRebalanceLimits.retry);
    EXPECT_TRUE(driver.take<EndRebalance>().empty());
    begin();
    copy({.is_complete = true, .entries = 1});
    driver.give(DirectoryHealth{false});
    driver.pass(kRebalanceLimits.cut_over_max);
    driver.give(DirectoryHealth{true});
  }
  EXPECT_NE(driver.take_one<EndRebalance>().error, "");
}

}  // namespace
}  // namespace koshel::coordinator
