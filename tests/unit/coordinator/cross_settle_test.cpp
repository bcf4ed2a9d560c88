#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::SettleOutcome;

constexpr Duration kSettleWait = seconds(2);
constexpr RoundLimits kLimits{.settle_wait = kSettleWait};

TEST(Settling, AnswersWithBothSidesOnceEveryShardHasSettled) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_settling({transfer({101, 201}), transfer({202, 102})});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  EXPECT_EQ(driver.answered(), 0u);
  driver.reply_settle(round.round, ShardId(2), SettleOutcome::Settled);
  const auto* first = driver.answer<Committed>(round.orders[0]);
  const auto* second = driver.answer<Committed>(round.orders[1]);
  ASSERT_TRUE(first != nullptr && second != nullptr);
  EXPECT_EQ(first->from, leg_of(ShardId(1), 0));
  EXPECT_EQ(first->to, leg_of(ShardId(2), 0));
  EXPECT_EQ(first->at, kThen);
  EXPECT_EQ(second->from, leg_of(ShardId(2), 1));
  EXPECT_EQ(second->to, leg_of(ShardId(1), 1));
  EXPECT_EQ(driver.machine().rounds_cross(), 0u);
}

TEST(Settling, GivesEachSurvivorItsOwnLegs) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201}), transfer({102, 202})});
  driver.vote(round.round, ShardId(1), {messages::Refused{}, messages::Yes{}});
  driver.vote(round.round, ShardId(2), {messages::Yes{}, messages::Yes{}});
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
  driver.reply_prepare(round.round, ShardId(2), prepared_of(ShardId(2), 1));
  driver.give(Decided{round.round, Decision::Commit});
  driver.settle_all(round);
  EXPECT_TRUE(driver.answer<Refused>(round.orders[0]));
  ASSERT_TRUE(driver.answer<Committed>(round.orders[1]));
  EXPECT_EQ(driver.answer<Committed>(round.orders[1])->from, leg_of(ShardId(1), 0));
}

TEST(Settling, IsToldToTheClientWhenAShardDoesNotAnswerForAWhile) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  driver.pass(kSettleWait - milliseconds(1));
  EXPECT_FALSE(driver.is_answered(round.orders[0]));
  driver.pass(milliseconds(1));
  const auto* settling = driver.answer<Settling>(round.orders[0]);
  ASSERT_NE(settling, nullptr);
  EXPECT_EQ(settling->from, leg_of(ShardId(1), 0));
  EXPECT_EQ(settling->to, leg_of(ShardId(2), 0));
  EXPECT_EQ(settling->at, kThen);
}

TEST(Settling, IsToldAtTheDeadlineWhenThatComesFirst) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})}, milliseconds(500));
  driver.pass(milliseconds(500));
  EXPECT_TRUE(driver.answer<Settling>(round.orders[0])) << "it is decided, so never unknown";
}

TEST(Settling, IsRepeatedWhenAShardWillDoItLaterOrItsReplyIsLost) {
  const Result<messages::SettleDone> replies[] = {lost(), unreachable(),
                                                  messages::SettleDone{SettleOutcome::Later}};
  for (const auto& reply : replies) {
    CoordinatorDriver driver(kLimits);
    const auto round = driver.bring_to_settling({transfer({101, 201})});
    driver.sent<messages::Settle>();
    driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
    driver.give(SettleReplied{round.round, ShardId(2), reply});
    EXPECT_FALSE(driver.is_answered(round.orders[0]));
    driver.pass(seconds(1));
    const auto again = driver.sent_one<messages::Settle>();
    EXPECT_EQ(again.shard, ShardId(2)) << "the other one has settled";
    EXPECT_TRUE(again.message.is_commit);
    driver.reply_settle(round.round, ShardId(2), SettleOutcome::Settled);
    EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
  }
}

TEST(Settling, IsNotRepeatedWhileAShardIsBeingAsked) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.sent<messages::Settle>();
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Later);
  driver.pass(seconds(1));
  EXPECT_EQ(driver.sent_one<messages::Settle>().shard, ShardId(1));
}

TEST(Settling, ThatIsFinishedLaterAnswersNobodyTwice) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})}, milliseconds(500));
  driver.pass(milliseconds(500));
  driver.settle_all(round);
  EXPECT_TRUE(driver.answer<Settling>(round.orders[0]));
  EXPECT_EQ(driver.machine().rounds_cross(), 0u);
}

TEST(Settling, IsLeftToTheAgentsAfterItsTimeAndKeepsNoLane) {
  CoordinatorDriver driver({.cross_in_flight = 1, .settle_wait = kSettleWait});
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.submit(transfer({102, 202}));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.pass(kSettleWait);
  EXPECT_TRUE(driver.answer<Settling>(round.orders[0]));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u);
  driver.settle_all(round);
  EXPECT_EQ(driver.machine().rounds_cross(), 1u);
}

TEST(Settling, KeepsItsCommitUntilEveryParticipantHasConfirmedIt) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  driver.pass(kSettleWait);
  EXPECT_EQ(driver.machine().rounds_unconfirmed(), 1u);
  driver.give(LogKept{directory::LogState{}});
  const auto confirm = driver.take_one<Confirm>();
  EXPECT_EQ(confirm.shard, ShardId(2));
  EXPECT_EQ(confirm.round, (RoundId{kIncarnation, round.round}));
  driver.give(ConfirmReplied{confirm.round, ShardId(2), messages::SettleDone{}});
  EXPECT_EQ(driver.machine().rounds_unconfirmed(), 0u);
}

TEST(Settling, FencesOffNoRoundThatIsUnderWay) {
  CoordinatorDriver driver(kLimits);
  const auto first = driver.bring_to_settling({transfer({101, 201})});
  driver.settle_all(first);
  const auto second = driver.bring_to_decision({transfer({102, 202})});
  const auto third = driver.bring_to_settling({transfer({103, 301})});
  driver.settle_all(third);
  driver.pass(milliseconds(1));
  const auto keep = driver.take_one<KeepLog>();
  EXPECT_GE(keep.fence, first.round);
  EXPECT_LT(keep.fence, second.round);
}

TEST(Settling, SoundsAnAlarmWhenAShardLostItsHalf) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  driver.reply_settle(round.round, ShardId(2), SettleOutcome::Lost);
  driver.pass(kSettleWait);
  driver.give(LogKept{directory::LogState{}});
  for (const auto& confirm : driver.take<Confirm>()) {
    driver.give(
        ConfirmReplied{confirm.round, confirm.shard, messages::SettleDone{SettleOutcome::Lost}});
  }
  EXPECT_EQ(driver.take<Alarm>().size(), 1u);
  EXPECT_EQ(driver.machine().rounds_unconfirmed(), 1u) << "the row stays for people to look at";
}

TEST(Settling, IsNotCalledDoneWhenAShardLostItsHalf) {
  CoordinatorDriver driver(kLimits);
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  driver.reply_settle(round.round, ShardId(2), SettleOutcome::Lost);
  driver.pass(kSettleWait);
  EXPECT_TRUE(driver.is_answered(round.orders[0]));
  EXPECT_FALSE(driver.answer<Committed>(round.orders[0])) << "an alarm, not success";
}

}  // namespace
}  // namespace koshel::coordinator
