// Rounds of transfers between more than two shards, and what becomes of them when a shard fails.

#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::RoundFault;
using messages::SettleOutcome;
using messages::Yes;
using Places = std::vector<std::int32_t>;

constexpr Duration kPatienceWithShards = seconds(1);

const std::vector<Order> kTriangle = {transfer({101, 201}, 1), transfer({202, 301}, 2),
                                      transfer({302, 102}, 3)};

void vote_yes(CoordinatorDriver& driver, Sequence round, std::initializer_list<int> shards) {
  for (const auto shard : shards) driver.vote(round, ShardId(shard), {Yes{}, Yes{}});
}

void prepare(CoordinatorDriver& driver, Sequence round, std::initializer_list<int> shards) {
  for (const auto shard : shards) {
    driver.reply_prepare(round, ShardId(shard), prepared_of(ShardId(shard), 2));
  }
}

// The last millisecond of it, and a tick more: what had arrived would have been read between.
void lose_patience(CoordinatorDriver& driver) {
  driver.pass(milliseconds(1));
  driver.pass(milliseconds(2));
}

// Which shards take part in the rounds that were started.
std::map<Sequence, std::vector<ShardId>> started(CoordinatorDriver& driver) {
  std::map<Sequence, std::vector<ShardId>> rounds;
  for (const auto& sent : driver.sent<messages::Reserve>()) {
    rounds[sent.round].push_back(sent.shard);
  }
  return rounds;
}

TEST(ManyShards, AreEachToldOfTheirOwnOrdersInOneOrder) {
  CoordinatorDriver driver;
  driver.submit_together(kTriangle);
  const auto sent = driver.sent<messages::Reserve>();
  ASSERT_EQ(sent.size(), 3u);
  const std::vector<std::vector<int>> told = {{0, 2}, {0, 1}, {1, 2}};
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(sent[i].round, sent[0].round);
    ASSERT_EQ(sent[i].message.orders.size(), 2u);
    for (std::size_t place = 0; place < 2; ++place) {
      const auto& leg = std::get<messages::Leg>(sent[i].message.orders[place].what);
      EXPECT_EQ(leg.transfer, asked(kTriangle[static_cast<std::size_t>(told[i][place])]));
      EXPECT_EQ(leg.side == messages::Side::Payer, home_of(leg.transfer.from) == sent[i].shard);
    }
  }
}

TEST(ManyShards, PrepareTheirOwnSurvivorsAndGiveEachOrderItsOwnLegs) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross(kTriangle);
  driver.vote(round.round, ShardId(1), {messages::Refused{}, Yes{}});
  driver.vote(round.round, ShardId(2), {Yes{}, Yes{}});
  driver.vote(round.round, ShardId(3), {Yes{}, Yes{}});
  EXPECT_TRUE(driver.answer<Refused>(round.orders[0]));
  const auto prepares = driver.sent<messages::Prepare>();
  ASSERT_EQ(prepares.size(), 3u);
  EXPECT_EQ(prepares[0].message.survivors, (Places{1}));
  EXPECT_EQ(prepares[1].message.survivors, (Places{1}));
  EXPECT_EQ(prepares[2].message.survivors, (Places{0, 1}));
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
  driver.reply_prepare(round.round, ShardId(2), prepared_of(ShardId(2), 1));
  driver.reply_prepare(round.round, ShardId(3), prepared_of(ShardId(3), 2));
  driver.give(Decided{round.round, Decision::Commit});
  driver.settle_all(round);
  const auto* second = driver.answer<Committed>(round.orders[1]);
  const auto* third = driver.answer<Committed>(round.orders[2]);
  ASSERT_TRUE(second != nullptr && third != nullptr);
  EXPECT_EQ(second->from, leg_of(ShardId(2), 0));
  EXPECT_EQ(second->to, leg_of(ShardId(3), 0));
  EXPECT_EQ(third->from, leg_of(ShardId(3), 1));
  EXPECT_EQ(third->to, leg_of(ShardId(1), 0));
}

TEST(ManyShards, TakeNoPartAnyMoreWithoutASurvivor) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201}), transfer({102, 301})});
  driver.vote(round.round, ShardId(1), {Yes{}, Yes{}});
  driver.vote(round.round, ShardId(2), {messages::Refused{}});
  driver.vote(round.round, ShardId(3), {Yes{}});
  EXPECT_EQ(driver.sent_one<messages::Release>().shard, ShardId(2));
  EXPECT_EQ(driver.sent<messages::Prepare>().size(), 2u);
  driver.reply_prepare(round.round, ShardId(1), prepared_of(ShardId(1), 1));
  driver.reply_prepare(round.round, ShardId(3), prepared_of(ShardId(3), 1));
  EXPECT_EQ(driver.take_one<Decide>().participants, (std::vector{ShardId(1), ShardId(3)}));
  driver.give(Decided{round.round, Decision::Commit});
  driver.settle_all(round);
  EXPECT_EQ(driver.answer<Committed>(round.orders[1])->to, leg_of(ShardId(3), 0));
}

// ---- faults

TEST(AShardThatFails, TakesOnlyItsOwnOrdersOutOfTheRound) {
  const Result<messages::ReserveReply> replies[] = {
      lost(), unreachable(), messages::ReserveReply(failed(RoundFault::Overloaded)),
      messages::ReserveReply(failed(RoundFault::Unavailable))};
  for (const auto& reply : replies) {
    CoordinatorDriver driver;
    const auto round = driver.start_cross(kTriangle);
    vote_yes(driver, round.round, {1, 2});
    driver.give(ReserveReplied{round.round, ShardId(3), reply});
    EXPECT_EQ(driver.sent_one<messages::Release>().shard, ShardId(3));
    const auto prepares = driver.sent<messages::Prepare>();
    ASSERT_EQ(prepares.size(), 2u);
    for (const auto& prepare : prepares) EXPECT_EQ(prepare.message.survivors, Places{0});
  }
}

TEST(AShardThatFails, IsLeftOutOfTheOthersRoundsUntilOneCommitsWithIt) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 301})});
  driver.vote(round.round, ShardId(1), {Yes{}});
  driver.give(ReserveReplied{round.round, ShardId(3), lost()});
  driver.discard();
  driver.submit_together({transfer({102, 302}), transfer({103, 201}), transfer({202, 401})});
  const auto apart = started(driver);
  ASSERT_EQ(apart.size(), 2u);
  EXPECT_EQ(apart.begin()->second, (std::vector{ShardId(1), ShardId(2), ShardId(4)}));
  const auto with_it = apart.rbegin()->first;
  EXPECT_EQ(apart.rbegin()->second, (std::vector{ShardId(1), ShardId(3)}));
  for (const auto shard : {ShardId(1), ShardId(3)}) driver.vote(with_it, shard, {Yes{}});
  for (const auto shard : {ShardId(1), ShardId(3)}) {
    driver.reply_prepare(with_it, shard, prepared_of(shard, 1));
  }
  driver.give(Decided{with_it, Decision::Commit});
  driver.settle_all({with_it, {ShardId(1), ShardId(3)}, {}});
  driver.discard();
  driver.submit_together({transfer({105, 305}), transfer({203, 402})});
  const auto together = started(driver);
  ASSERT_EQ(together.size(), 1u);
  EXPECT_EQ(together.begin()->second.size(), 4u);
}

TEST(AShardThatFails, ToPrepareSendsTheOthersIntoTheNextRoundAtOnce) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross(kTriangle);
  vote_yes(driver, round.round, {1, 2, 3});
  prepare(driver, round.round, {1, 2});
  driver.give(PrepareReplied{round.round, ShardId(3), lost()});
  for (const auto& settle : driver.sent<messages::Settle>()) {
    EXPECT_FALSE(settle.message.is_commit);
  }
  const auto again = started(driver);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again.begin()->second, (std::vector{ShardId(1), ShardId(2)}));
  EXPECT_EQ(driver.answered(), 0u);
}

TEST(AShardThatFails, BecauseOfTheOneOrderThatItWasToWriteFailsThisOrderAlone) {
  CoordinatorDriver driver;
  auto round = driver.start_cross({transfer({101, 201}), transfer({301, 401})});
  for (int shard = 1; shard <= 4; ++shard) driver.vote(round.round, ShardId(shard), {Yes{}});
  for (int shard = 1; shard <= 3; ++shard) {
    driver.reply_prepare(round.round, ShardId(shard), prepared_of(ShardId(shard), 1));
  }
  driver.reply_prepare(round.round, ShardId(4), failed(RoundFault::Rejected));
  EXPECT_EQ(driver.fail_code(round.orders[1]), FailCode::Internal) << "nobody else can be meant";
  EXPECT_FALSE(driver.is_answered(round.orders[0]));
  EXPECT_EQ(driver.take<Alarm>().size(), 1u);
}

TEST(AShardThatFails, EveryTimeItPreparesIsLeftOut) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross(kTriangle);
  vote_yes(driver, round.round, {1, 2, 3});
  prepare(driver, round.round, {1, 2});
  driver.reply_prepare(round.round, ShardId(3), failed(RoundFault::Rejected));
  const auto again = started(driver);
  ASSERT_EQ(again.size(), 3u);  // it goes with each of the others by itself
  for (const auto& [number, shards] : again) EXPECT_EQ(shards.size(), 2u);
  EXPECT_EQ(driver.machine().shards_suspect(), 1u);
}

// ---- silence

TEST(AShardThatIsSilent, IsWaitedForSoLongAndThenTheOthersPrepareWithoutIt) {
  CoordinatorDriver driver({.shard_patience = kPatienceWithShards});
  const auto round = driver.start_cross(kTriangle);
  vote_yes(driver, round.round, {1, 2});
  driver.pass(kPatienceWithShards - milliseconds(1));
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
  lose_patience(driver);
  EXPECT_EQ(driver.sent<messages::Prepare>().size(), 2u);
  driver.submit_together({transfer({103, 203}), transfer({204, 303})});
  const auto next = started(driver);
  ASSERT_EQ(next.size(), 2u);
  EXPECT_EQ(next.begin()->second, (std::vector{ShardId(1), ShardId(2)}));
}

TEST(AShardThatIsSilent, WhenAskedToPrepareEndsTheRoundAndTheOthersGoOn) {
  CoordinatorDriver driver({.shard_patience = kPatienceWithShards});
  const auto round = driver.start_cross(kTriangle);
  driver.pass(kPatienceWithShards - milliseconds(1));
  vote_yes(driver, round.round, {1, 2, 3});  // the next question has its own time
  prepare(driver, round.round, {1, 2});
  driver.pass(kPatienceWithShards - milliseconds(1));
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  lose_patience(driver);
  EXPECT_EQ(driver.sent<messages::Settle>().size(), 3u);
  EXPECT_TRUE(driver.take<Decide>().empty());
  const auto again = started(driver);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again.begin()->second, (std::vector{ShardId(1), ShardId(2)}));
  driver.reply_prepare(round.round, ShardId(3), prepared_of(ShardId(3), 2));
  EXPECT_TRUE(driver.take<Decide>().empty()) << "the round is over";
}

TEST(AShardThatIsSilent, IsWaitedForWithoutEndByWhatTouchesItAlone) {
  CoordinatorDriver driver({.shard_patience = kPatienceWithShards});
  const auto first = driver.start_cross({transfer({101, 301})});
  driver.give(ReserveReplied{first.round, ShardId(3), lost()});
  driver.vote(first.round, ShardId(1), {Yes{}});
  driver.pass(seconds(1));
  ASSERT_EQ(started(driver).size(), 1u);
  driver.discard();
  driver.pass(kPatienceWithShards * 3);
  EXPECT_TRUE(driver.sent<messages::Release>().empty());
}

TEST(AShardThatIsSilent, IsWaitedForByARoundThatNobodyElseIsIn) {
  CoordinatorDriver driver({.cross_in_flight = 1, .shard_patience = kPatienceWithShards});
  const auto round = driver.start_cross({transfer({101, 301}), transfer({302, 201})});
  for (const auto shard : {ShardId(1), ShardId(2)}) driver.vote(round.round, shard, {Yes{}});
  driver.vote(round.round, ShardId(3), {Yes{}, Yes{}});
  driver.submit(transfer({102, 202}));
  for (const auto shard : {ShardId(1), ShardId(2)}) {
    driver.reply_prepare(round.round, shard, prepared_of(shard, 1));
  }
  driver.pass(kPatienceWithShards - milliseconds(1));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  lose_patience(driver);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u) << "the lane is free";
  EXPECT_TRUE(driver.sent<messages::Settle>().empty());
  driver.pass(kPatienceWithShards);
  driver.reply_prepare(round.round, ShardId(3), prepared_of(ShardId(3), 2));
  EXPECT_EQ(driver.take<Decide>().size(), 1u);
  driver.give(Decided{round.round, Decision::Commit});
  driver.settle_all(round);
  EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
  EXPECT_TRUE(driver.answer<Committed>(round.orders[1]));
}

TEST(AShardThatIsSilent, AboutItsCommitHasTheLaneFreeForOthers) {
  CoordinatorDriver driver(
      {.cross_in_flight = 1, .settle_wait = seconds(9), .shard_patience = kPatienceWithShards});
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.discard();
  driver.submit(transfer({301, 401}));
  driver.pass(kPatienceWithShards);
  EXPECT_TRUE(started(driver).empty());
  driver.pass(milliseconds(2));
  EXPECT_EQ(started(driver).size(), 1u);
  driver.settle_all(round);
  EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
}

TEST(AShardThatIsSilent, WhileTheCoordinatorItselfStoodStillHasItsAnswerRead) {
  CoordinatorDriver driver({.shard_patience = kPatienceWithShards});
  const auto round = driver.start_cross(kTriangle);
  vote_yes(driver, round.round, {1, 2});
  driver.pass(kPatienceWithShards * 5);
  vote_yes(driver, round.round, {3});
  EXPECT_EQ(driver.sent<messages::Prepare>().size(), 3u);
  EXPECT_EQ(driver.machine().shards_suspect(), 0u);
}

TEST(AShardThatIsSilent, IsNotTrustedForWhatItDidBefore) {
  CoordinatorDriver driver;
  const auto before = driver.bring_to_settling({transfer({101, 301})});
  driver.pass(milliseconds(1));
  const auto later = driver.start_cross({transfer({201, 302})});
  driver.give(ReserveReplied{later.round, ShardId(3), lost()});
  driver.settle_all(before);
  EXPECT_EQ(driver.machine().shards_suspect(), 1u);
}

TEST(AShardThatIsSilent, AboutItsCommitKeepsNobodyElseWaiting) {
  CoordinatorDriver driver({.settle_wait = seconds(2)});
  const auto round = driver.start_cross(kTriangle);
  vote_yes(driver, round.round, {1, 2, 3});
  prepare(driver, round.round, {1, 2, 3});
  driver.give(Decided{round.round, Decision::Commit});
  driver.reply_settle(round.round, ShardId(1), SettleOutcome::Settled);
  EXPECT_EQ(driver.answered(), 0u);
  driver.reply_settle(round.round, ShardId(2), SettleOutcome::Settled);
  EXPECT_TRUE(driver.answer<Committed>(round.orders[0]));
  EXPECT_EQ(driver.answered(), 1u);
  driver.discard();
  driver.pass(seconds(2));
  EXPECT_TRUE(driver.answer<Settling>(round.orders[1]));
  EXPECT_TRUE(driver.answer<Settling>(round.orders[2]));
  driver.submit_together({transfer({103, 203}), transfer({204, 303})});
  EXPECT_EQ(started(driver).size(), 2u) << "it is suspect";
}

TEST(AShardThatIsSilent, AboutItsCommitIsToldOnlyToWhoseDeadlineHasCome) {
  CoordinatorDriver driver({.cross_in_flight = 1, .settle_wait = seconds(2)});
  const auto first = driver.bring_to_settling({transfer({101, 201})});
  driver.discard();
  const auto soon = driver.submit(transfer({102, 202}), milliseconds(500));
  const auto late = driver.submit(transfer({103, 203}), milliseconds(600));
  driver.settle_all(first);
  const auto round = started(driver).begin()->first;
  vote_yes(driver, round, {1, 2});
  prepare(driver, round, {1, 2});
  driver.give(Decided{round, Decision::Commit});
  driver.pass(milliseconds(500));
  EXPECT_TRUE(driver.answer<Settling>(soon));
  EXPECT_FALSE(driver.is_answered(late));
  driver.pass(milliseconds(100));
  EXPECT_TRUE(driver.answer<Settling>(late));
}

}  // namespace
}  // namespace koshel::coordinator
