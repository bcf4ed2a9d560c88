// Rounds that move accounts to another shard, and what becomes of clients' orders meanwhile.

#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::Busy;
using messages::Leaving;
using messages::Yes;

constexpr MoveId kMove(70);
constexpr ShardId kSource(1);
constexpr ShardId kTarget(2);

// To shard 2, which has the account's history up to `copied`.
Order move_user(std::int64_t account, std::int64_t copied = 5) {
  return MoveOrder{kMove, AccountId(account), home_of(AccountId(account)), kTarget,
                   Version(copied)};
}

Head head_at(std::int64_t version) {
  Head head;
  head.currency = kEuro;
  head.version = Version(version);
  head.balance = Money(version * 10);
  return head;
}

class MovingRounds : public testing::Test {
 protected:
  // Every account is copied up to its head, which has version 5.
  RoundInFlight bring_to_prepare(std::vector<Order> orders, Duration patience = kPatience) {
    const auto round = driver.start_cross(std::move(orders), patience);
    driver.vote(round.round, kTarget, {round.orders.size(), Yes{}});
    driver.vote(round.round, kSource, {round.orders.size(), Leaving{head_at(5)}});
    return round;
  }
  void prepare_all(const RoundInFlight& round, std::size_t survivors) {
    for (const auto shard : round.shards) {
      driver.reply_prepare(round.round, shard, prepared_of(shard, survivors));
    }
  }
  RoundInFlight bring_to_decision(std::vector<Order> orders, Duration patience = kPatience) {
    const auto round = bring_to_prepare(std::move(orders), patience);
    driver.sent<messages::Prepare>();
    prepare_all(round, round.orders.size());
    return round;
  }
  RoundInFlight bring_to_settling(std::vector<Order> orders, Duration patience = kPatience) {
    const auto round = bring_to_decision(std::move(orders), patience);
    driver.take<MoveUsers>();
    driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
    return round;
  }
  void expect_settles(bool is_commit) {
    const auto settles = driver.sent<messages::Settle>();
    ASSERT_EQ(settles.size(), 2U);
    EXPECT_EQ(settles[0].shard, kSource);
    EXPECT_EQ(settles[1].shard, kTarget);
    for (const auto& settle : settles) EXPECT_EQ(settle.message.is_commit, is_commit);
  }
  void expect_releases() {
    const auto releases = driver.sent<messages::Release>();
    ASSERT_EQ(releases.size(), 2U);
    EXPECT_EQ(releases[0].shard, kSource);
    EXPECT_EQ(releases[1].shard, kTarget);
  }

  CoordinatorDriver driver;
};

// ---- reserve

TEST_F(MovingRounds, TellTheSourceToLetGoAndTheTargetToTake) {
  driver.submit_together({move_user(101), move_user(102)});
  const auto reserves = driver.sent<messages::Reserve>();
  ASSERT_EQ(reserves.size(), 2U);
  EXPECT_EQ(reserves[0].shard, kSource);
  EXPECT_EQ(reserves[0].message.orders,
            (std::vector<messages::ReserveOrder>{{messages::Depart{AccountId(101), kMove}, 0},
                                                 {messages::Depart{AccountId(102), kMove}, 0}}));
  EXPECT_EQ(reserves[1].shard, kTarget);
  EXPECT_EQ(reserves[1].message.orders,
            (std::vector<messages::ReserveOrder>{{messages::Arrive{AccountId(101), kMove}, 0},
                                                 {messages::Arrive{AccountId(102), kMove}, 0}}));
}

TEST_F(MovingRounds, GoEachWayInALaneOfTheirOwn) {
  driver.submit_together({move_user(101), move_user(301)});
  const auto reserves = driver.sent<messages::Reserve>();
  ASSERT_EQ(reserves.size(), 4U);
  EXPECT_NE(reserves[0].round, reserves[2].round);
  EXPECT_EQ(reserves[2].shard, kTarget);
  EXPECT_TRUE(std::holds_alternative<messages::Arrive>(reserves[2].message.orders[0].what));
  EXPECT_EQ(reserves[3].shard, ShardId(3));
  EXPECT_TRUE(std::holds_alternative<messages::Depart>(reserves[3].message.orders[0].what));
}

TEST_F(MovingRounds, ComeAgainMorePatientWhenAnAccountIsBusy) {
  const auto round = driver.start_cross({move_user(101)});
  driver.vote(round.round, kSource, {Busy{AccountId(101), false}});
  driver.vote(round.round, kTarget, {Yes{}});
  expect_releases();
  driver.pass(milliseconds(50));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2U);
  EXPECT_EQ(again[0].message.orders[0].times_busy, 1);
}

TEST_F(MovingRounds, EndForAnAccountThatHasMovedAlready) {
  const auto round = driver.start_cross({move_user(101)});
  driver.vote(round.round, kSource, {messages::Moved{AccountId(101)}});
  driver.vote(round.round, kTarget, {Yes{}});
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::Internal);
  EXPECT_TRUE(driver.take<ReadRoutes>().empty()) << "where it is, the moves say";
  expect_releases();
}

TEST_F(MovingRounds, PrepareNothingWhileTheDirectoryIsDown) {
  driver.give(DirectoryHealth{false});
  const auto id = driver.submit(move_user(101));
  for (int tries = 0; tries < 9; ++tries) driver.pass(seconds(1));
  EXPECT_TRUE(driver.is_idle());
  EXPECT_EQ(driver.fail_code(id), FailCode::DirectoryUnavailable);
}

// ---- hand over and prepare

TEST_F(MovingRounds, PrepareAtOnceWhatIsCopiedUpToItsHead) {
  const auto round = bring_to_prepare({move_user(101), move_user(102)});
  EXPECT_TRUE(driver.take<HandOver>().empty());
  const auto prepares = driver.sent<messages::Prepare>();
  ASSERT_EQ(prepares.size(), 2U);
  EXPECT_EQ(prepares[0].shard, kSource);
  EXPECT_TRUE(prepares[0].message.arriving.empty());
  EXPECT_EQ(prepares[1].shard, kTarget);
  EXPECT_EQ(prepares[1].message.arriving, (std::vector{head_at(5), head_at(5)}));
  for (const auto& prepare : prepares) {
    EXPECT_EQ(prepare.round, round.round);
    EXPECT_EQ(prepare.message.survivors, (std::vector{0, 1}));
  }
}

TEST_F(MovingRounds, HandOverWhatAccountsHaveGotSinceTheyWereCopied) {
  const auto round = driver.start_cross({move_user(101, 5), move_user(102, 5), move_user(103, 0)});
  driver.vote(round.round, kTarget, {3, Yes{}});
  driver.vote(round.round, kSource,
              {Leaving{head_at(5)}, Leaving{head_at(6)}, Leaving{head_at(3)}});
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
  const auto effect = driver.take_one<HandOver>();
  EXPECT_EQ(effect.round, round.round);
  EXPECT_EQ(effect.source, kSource);
  EXPECT_EQ(effect.target, kTarget);
  ASSERT_EQ(effect.parts.size(), 2U);
  EXPECT_EQ(effect.parts[0].move, kMove);
  EXPECT_EQ(effect.parts[0].copied, (messages::CopiedTo{AccountId(102), Version(5)}));
  EXPECT_EQ(effect.parts[1].copied, (messages::CopiedTo{AccountId(103), Version(0)}));
  driver.give(HandedOver{round.round, success()});
  const auto prepares = driver.sent<messages::Prepare>();
  ASSERT_EQ(prepares.size(), 2U);
  EXPECT_TRUE(prepares[0].message.arriving.empty());
  EXPECT_EQ(prepares[1].message.arriving, (std::vector{head_at(5), head_at(6), head_at(3)}));
}

TEST_F(MovingRounds, GoBackWhenTheHandOverFails) {
  const auto id = driver.submit(move_user(101, 4));
  for (int tries = 0; tries < 4; ++tries) {
    const auto reserves = driver.sent<messages::Reserve>();
    ASSERT_EQ(reserves.size(), 2U);
    driver.vote(reserves[0].round, kSource, {Leaving{head_at(5)}});
    driver.vote(reserves[0].round, kTarget, {Yes{}});
    driver.take_one<HandOver>();
    driver.give(HandedOver{reserves[0].round, unreachable()});
    expect_releases();
    EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
    driver.give(HandedOver{reserves[0].round, success()});  // twice, and after its end
    driver.pass(seconds(1));
  }
  EXPECT_EQ(driver.fail_code(id), FailCode::ShardUnavailable);
  EXPECT_EQ(driver.machine().rounds_cross(), 0U);
}

TEST_F(MovingRounds, GoOnFromOneHandOverOnly) {
  const auto round = driver.start_cross({move_user(101, 4)});
  driver.give(HandedOver{round.round, success()});
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty()) << "it has not voted yet";
  driver.vote(round.round, kSource, {Leaving{head_at(5)}});
  driver.vote(round.round, kTarget, {Yes{}});
  driver.give(HandedOver{round.round, success()});
  EXPECT_EQ(driver.sent<messages::Prepare>().size(), 2U);
  driver.give(HandedOver{round.round, unreachable()});
  EXPECT_TRUE(driver.sent<messages::Release>().empty());
}

TEST_F(MovingRounds, GoOnToTheirEndThoughTheirOrdersEndedDuringTheHandOver) {
  const auto round = driver.start_cross({move_user(101, 4)}, seconds(1));
  driver.vote(round.round, kSource, {Leaving{head_at(5)}});
  driver.vote(round.round, kTarget, {Yes{}});
  driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(round.orders[0]), FailCode::OutcomeUnknown);
  driver.give(HandedOver{round.round, success()});
  prepare_all(round, 1);
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  driver.settle_all(round);
  EXPECT_EQ(driver.machine().rounds_cross(), 0U);
}

TEST_F(MovingRounds, GoOnWithoutAccountsThatAreBusy) {
  const auto round = driver.start_cross({move_user(101), move_user(102), move_user(103)});
  driver.vote(round.round, kSource,
              {Leaving{head_at(5)}, Busy{AccountId(102), false}, Leaving{head_at(4)}});
  driver.vote(round.round, kTarget, {3, Yes{}});
  const auto prepares = driver.sent<messages::Prepare>();
  ASSERT_EQ(prepares.size(), 2U);
  EXPECT_EQ(prepares[0].message.survivors, (std::vector{0, 2}));
  EXPECT_EQ(prepares[1].message.arriving, (std::vector{head_at(5), head_at(4)}));
  prepare_all(round, 2);
  const auto effect = driver.take_one<MoveUsers>();
  ASSERT_EQ(effect.parts.size(), 2U);
  EXPECT_EQ(effect.parts[1].account, AccountId(103));
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  driver.settle_all(round);
  ASSERT_TRUE(driver.answer<CutOver>(round.orders[2]));
  EXPECT_EQ(driver.answer<CutOver>(round.orders[2])->state, leg_of(kTarget, 1));
  EXPECT_FALSE(driver.is_answered(round.orders[1]));
}

TEST_F(MovingRounds, AbortWhenAnAccountIsNotCopiedUpToItsHead) {
  const auto round = bring_to_prepare({move_user(101)});
  driver.reply_prepare(round.round, kSource, prepared_of(kSource, 1));
  driver.reply_prepare(round.round, kTarget, failed(messages::RoundFault::Stale));
  EXPECT_TRUE(driver.take<MoveUsers>().empty());
  expect_settles(false);
}

// ---- decide

TEST_F(MovingRounds, DecideTogetherWithTheRoutes) {
  const auto round = bring_to_decision({move_user(101), move_user(102)});
  EXPECT_TRUE(driver.take<Decide>().empty()) << "the directory's own transaction decides";
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  const auto effect = driver.take_one<MoveUsers>();
  EXPECT_EQ(effect.round, round.round);
  EXPECT_EQ(effect.participants, (std::vector{kSource, kTarget}));
  EXPECT_EQ(effect.source, kSource);
  EXPECT_EQ(effect.target, kTarget);
  ASSERT_EQ(effect.parts.size(), 2U);
  EXPECT_EQ(effect.parts[0].move, kMove);
  EXPECT_EQ(effect.parts[0].account, AccountId(101));
  EXPECT_EQ(effect.parts[1].account, AccountId(102));
}

TEST_F(MovingRounds, SayThatTheAccountIsCutOverWhenBothShardsHaveSettled) {
  const auto round = bring_to_settling({move_user(101)});
  expect_settles(true);
  driver.reply_settle(round.round, kTarget, messages::SettleOutcome::Settled);
  EXPECT_FALSE(driver.is_answered(round.orders[0]));
  driver.reply_settle(round.round, kSource, messages::SettleOutcome::Settled);
  ASSERT_TRUE(driver.answer<CutOver>(round.orders[0]));
  EXPECT_EQ(driver.answer<CutOver>(round.orders[0])->state, leg_of(kTarget, 0));
}

TEST_F(MovingRounds, SayThatTheAccountIsCutOverThoughAShardIsSilent) {
  const auto round = bring_to_settling({move_user(101)});
  driver.reply_settle(round.round, kTarget, messages::SettleOutcome::Settled);
  driver.pass(RoundLimits{}.settle_wait);
  EXPECT_TRUE(driver.answer<CutOver>(round.orders[0]));
  EXPECT_EQ(driver.machine().rounds_unconfirmed(), 1U);
}

TEST_F(MovingRounds, TryAgainWhenOthersHaveDecidedThatTheyAbort) {
  const auto round = bring_to_decision({move_user(101)});
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Decided});
  expect_settles(false);
  EXPECT_FALSE(driver.is_answered(round.orders[0]));
  const auto again = driver.sent<messages::Reserve>();
  ASSERT_EQ(again.size(), 2U);
  EXPECT_NE(again[0].round, round.round);
}

TEST_F(MovingRounds, GiveUpWhatTheDirectoryDoesNotBelieve) {
  const auto round = bring_to_decision({move_user(101), move_user(102)});
  driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
  expect_settles(false);
  for (const auto id : round.orders) EXPECT_EQ(driver.fail_code(id), FailCode::Internal);
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
}

TEST_F(MovingRounds, AskTheLogWhenTheReplyOfTheDecisionIsLost) {
  for (const auto stands : {Decision::Commit, Decision::Abort}) {
    const auto round = bring_to_decision({move_user(101)});
    driver.give(UsersMoved{round.round, lost()});
    EXPECT_TRUE(driver.sent<messages::Settle>().empty());
    const auto decide = driver.take_one<Decide>();
    EXPECT_EQ(decide.round, round.round);
    EXPECT_EQ(decide.wish, Decision::Abort);
    driver.give(Decided{round.round, stands});
    expect_settles(stands == Decision::Commit);
    EXPECT_FALSE(driver.is_answered(round.orders[0]));
    driver.settle_all(round);
    EXPECT_EQ(driver.answer<CutOver>(round.orders[0]) != nullptr, stands == Decision::Commit);
    driver.give(DirectoryHealth{true});
    driver.discard();
  }
}

TEST_F(MovingRounds, AskTheirSourceWhenTheyAreFencedOff) {
  const auto round = bring_to_decision({move_user(101)});
  driver.give(UsersMoved{round.round, lost()});
  driver.give(Decided{round.round, Decision::Fenced});
  EXPECT_EQ(driver.sent_one<messages::AskRound>().shard, kSource);
  driver.give(AskReplied{round.round, messages::AskRoundDone{AskRoundOutcome::Applied}});
  expect_settles(true);
}

TEST_F(MovingRounds, AbortWhenTheDirectoryWasNeverAsked) {
  const auto round = bring_to_decision({move_user(101)});
  driver.give(UsersMoved{round.round, unreachable()});
  expect_settles(false);
  EXPECT_TRUE(driver.take<Decide>().empty());
  EXPECT_FALSE(driver.machine().is_directory_up());
  driver.give(DirectoryHealth{true});
  driver.pass(seconds(1));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2U);
}

// ---- clients' orders on the accounts

TEST_F(MovingRounds, LetClientsWaitAndGoOnAtTheTarget) {
  const auto round = bring_to_prepare({move_user(101)});
  driver.discard();
  const auto id = driver.submit(transfer({101, 201}));
  EXPECT_TRUE(driver.is_idle()) << "the account is in a round";
  prepare_all(round, 1);
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  driver.discard();
  driver.settle_all(round);
  for (const auto& reserve : driver.sent<messages::Reserve>()) {  // by routes that are old now
    driver.vote(reserve.round, reserve.shard,
                {reserve.shard == kSource ? messages::Vote(messages::Moved{AccountId(101)})
                                          : messages::Vote(Yes{})});
  }
  EXPECT_EQ(driver.take_one<ReadRoutes>().accounts, std::vector{AccountId(101)});
  driver.discard();
  driver.give(
      RoutesRead{{AccountId(101)}, std::map<AccountId, ShardId>{{AccountId(101), kTarget}}});
  driver.pass(milliseconds(50));
  const auto local = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(local.shard, kTarget);
  driver.apply_all(local);
  EXPECT_TRUE(driver.answer<Committed>(id));
}

TEST_F(MovingRounds, LetClientsGoOnAtTheSourceAfterAnAbort) {
  const auto round = bring_to_decision({move_user(101)});
  const auto id = driver.submit(transfer({101, 102}));
  driver.discard();
  driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
  const auto local = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(local.shard, kSource);
  driver.apply_all(local);
  EXPECT_TRUE(driver.answer<Committed>(id));
}

TEST_F(MovingRounds, LetGoOfAccountsThatDoNotSurvive) {
  const auto round = driver.start_cross({move_user(101), move_user(102)});
  const auto id = driver.submit(transfer({102, 103}));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.vote(round.round, kSource, {Leaving{head_at(5)}, Busy{AccountId(102), false}});
  driver.vote(round.round, kTarget, {2, Yes{}});
  driver.apply_all(driver.sent_one<messages::LocalRound>());
  EXPECT_TRUE(driver.is_answered(id));
}

TEST_F(MovingRounds, WaitThemselvesForWhatClientsHaveUnderWay) {
  driver.submit(transfer({101, 102}));
  const auto local = driver.sent_one<messages::LocalRound>();
  driver.submit(move_user(101));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.apply_all(local);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2U);
}

// ---- pauses

TEST_F(MovingRounds, CountThePauseOfEachAccountFromReserveToSettle) {
  const auto round = driver.start_cross({move_user(101), move_user(102)});
  driver.pass(milliseconds(10));
  driver.vote(round.round, kSource, {2, Leaving{head_at(5)}});
  driver.vote(round.round, kTarget, {2, Yes{}});
  prepare_all(round, 2);
  driver.pass(milliseconds(20));
  driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
  driver.reply_settle(round.round, kSource, messages::SettleOutcome::Settled);
  EXPECT_EQ(driver.machine().pauses().count, 0);
  driver.pass(milliseconds(10));
  driver.reply_settle(round.round, kTarget, messages::SettleOutcome::Settled);
  const auto& pauses = driver.machine().pauses();
  EXPECT_EQ(pauses.count, 2);
  EXPECT_EQ(pauses.longest, milliseconds(40));
  EXPECT_DOUBLE_EQ(pauses.seconds, 0.08);
  for (std::size_t i = 0; i < pauses.counts.size(); ++i) {
    EXPECT_EQ(pauses.counts[i], PauseHistogram::kBounds[i] >= 50 ? 2 : 0);
  }
}

TEST_F(MovingRounds, CountPausesThatAreNotOverWhenTheRoundIsLeftToTheAgents) {
  bring_to_settling({move_user(101)});
  driver.pass(RoundLimits{}.settle_wait);
  EXPECT_EQ(driver.machine().pauses().count, 1);
  EXPECT_EQ(driver.machine().pauses().longest, RoundLimits{}.settle_wait);
}

TEST_F(MovingRounds, CountNoPauseOfWhatIsNotCutOver) {
  const auto round = bring_to_decision({move_user(101)});
  driver.give(UsersMoved{round.round, MoveUsersOutcome::NotAsBelieved});
  driver.settle_all(driver.bring_to_settling({transfer({101, 201})}));
  EXPECT_EQ(driver.machine().pauses().count, 0);
}

}  // namespace
}  // namespace koshel::coordinator
