#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using messages::LocalRoundDone;

TEST(Lanes, TakeAnOrderTheMomentItComes) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  EXPECT_EQ(driver.sent<messages::LocalRound>().size(), 1u);
  driver.submit(transfer({103, 201}));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u);
  driver.submit(open_user("ann", 301));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 1u);
}

TEST(Lanes, GatherTheOrdersOfOneRequestIntoOneRound) {
  CoordinatorDriver driver;
  driver.submit_together({transfer({101, 102}), transfer({103, 104}), transfer({105, 106})});
  EXPECT_EQ(driver.sent_one<messages::LocalRound>().message.orders.size(), 3u);
}

TEST(Lanes, KeepABoundedNumberOfLocalRoundsInFlightAndTakeAllThatWaitsWhenOneEnds) {
  CoordinatorDriver driver({.local_in_flight = 2});
  for (std::int64_t i = 0; i < 10; ++i) driver.submit(transfer({101 + 2 * i, 102 + 2 * i}));
  const auto in_flight = driver.sent<messages::LocalRound>();
  ASSERT_EQ(in_flight.size(), 2u);
  driver.pass(seconds(1));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.apply_all(in_flight[1]);
  EXPECT_EQ(driver.sent_one<messages::LocalRound>().message.orders.size(), 8u);
}

TEST(Lanes, HaveASecondRoundOnlyForManyOrders) {
  CoordinatorDriver driver({.beside_orders_min = 3});
  driver.submit(transfer({101, 102}));
  const auto first = driver.sent_one<messages::LocalRound>();
  driver.submit_together({transfer({103, 104}), transfer({105, 106})});
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.submit(transfer({107, 108}));
  const auto second = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(second.message.orders.size(), 3u);
  driver.submit(transfer({109, 110}));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.apply_all(first);
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.apply_all(second);
  EXPECT_EQ(driver.sent_one<messages::LocalRound>().message.orders.size(), 1u);
}

TEST(Lanes, DoNotHoldFewOrdersBackBehindARoundThatIsStuck) {
  CoordinatorDriver driver({.beside_orders_min = 3, .beside_after = milliseconds(50)});
  driver.submit(transfer({101, 201}));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u);
  driver.submit(transfer({102, 202}));
  driver.pass(milliseconds(49));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.pass(milliseconds(1));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u);
}

TEST(Lanes, KeepABoundedNumberOfCrossShardRoundsInFlight) {
  CoordinatorDriver driver({.cross_in_flight = 1});
  const auto first = driver.bring_to_settling({transfer({101, 201})});
  driver.submit(transfer({102, 202}));
  driver.submit(transfer({103, 203}));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.settle_all(first);
  const auto reserves = driver.sent<messages::Reserve>();
  ASSERT_EQ(reserves.size(), 2u);
  EXPECT_EQ(reserves[0].message.orders.size(), 2u);
}

TEST(Lanes, KeepABoundedNumberOfRoundsOfNewUsersInFlight) {
  CoordinatorDriver driver({.cross_in_flight = 1});
  driver.submit(open_user("ann", 101));
  driver.submit(open_user("bob", 102));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 1u);
}

TEST(Lanes, BoundTheSizeOfARound) {
  CoordinatorDriver driver(
      {.local_in_flight = 9, .cross_in_flight = 9, .local_orders_max = 3, .cross_orders_max = 2});
  std::vector<Order> orders;
  for (std::int64_t i = 0; i < 5; ++i) {
    orders.push_back(transfer({101 + 2 * i, 102 + 2 * i}));
    orders.push_back(transfer({121 + i, 221 + i}));
  }
  driver.submit_together(orders);
  std::size_t local = 0;
  for (const auto& sent : driver.sent<messages::LocalRound>()) {
    EXPECT_LE(sent.message.orders.size(), 3u);
    local += sent.message.orders.size();
  }
  EXPECT_EQ(local, 5u);
  std::size_t cross = 0;
  for (const auto& sent : driver.sent<messages::Reserve>()) {
    EXPECT_LE(sent.message.orders.size(), 2u);
    cross += sent.message.orders.size();
  }
  EXPECT_EQ(cross, 10u);  // each at two shards
}

TEST(Lanes, DoNotWaitForEachOther) {
  CoordinatorDriver driver({.local_in_flight = 1, .cross_in_flight = 1});
  driver.submit(transfer({101, 102}));
  driver.submit(transfer({201, 202}));
  driver.submit(transfer({103, 203}));
  driver.submit(open_user("ann", 301));
  EXPECT_EQ(driver.sent<messages::LocalRound>().size(), 2u);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 3u);
}

TEST(Lanes, GatherTransfersBetweenAnyShards) {
  CoordinatorDriver driver({.cross_in_flight = 1});
  const auto first = driver.bring_to_settling({transfer({101, 201})});
  driver.submit(transfer({102, 301}));
  driver.submit(transfer({401, 202}));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
  driver.settle_all(first);
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 4u);
  EXPECT_EQ(driver.machine().rounds_cross(), 1u);
}

TEST(Lanes, GiveEachRoundANumberOfItsOwn) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  driver.submit(transfer({103, 104}));
  driver.submit(transfer({201, 202}));
  const auto local = driver.sent<messages::LocalRound>();
  driver.submit(transfer({105, 205}));
  const auto cross = driver.sent<messages::Reserve>();
  ASSERT_EQ(local.size(), 3u);
  ASSERT_EQ(cross.size(), 2u);
  EXPECT_LT(local[0].round, local[1].round);
  EXPECT_LT(local[1].round, local[2].round);
  EXPECT_LT(local[2].round, cross[0].round);
  EXPECT_EQ(cross[0].round, cross[1].round);
}

// ---- accounts in rounds of this coordinator

TEST(Parking, KeepsAnOrderUntilTheRoundLetsGoOfItsAccount) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  const auto first = driver.sent_one<messages::LocalRound>();
  driver.submit(transfer({102, 103}));
  driver.submit(transfer({102, 201}));
  EXPECT_TRUE(driver.is_idle()) << "agents are not asked for what is known to be held";
  driver.apply_all(first);
  EXPECT_EQ(
      driver.sent<messages::LocalRound>().size() + driver.sent<messages::Reserve>().size() / 2, 1u)
      << "account 102 is in one round at a time";
}

TEST(Parking, AnswersEverybodyOfAChainAcrossLanes) {
  CoordinatorDriver driver;
  driver.submit(transfer({101, 102}));
  driver.submit(transfer({102, 201}));
  driver.submit(transfer({201, 202}));
  driver.submit(transfer({202, 101}));
  for (int step = 0; step < 20 && driver.answered() < 4; ++step) {
    for (const auto& sent : driver.sent<messages::LocalRound>()) driver.apply_all(sent);
    for (const auto& sent : driver.sent<messages::Reserve>()) {
      driver.vote(sent.round, sent.shard, {sent.message.orders.size(), messages::Yes{}});
    }
    for (const auto& sent : driver.sent<messages::Prepare>()) {
      driver.reply_prepare(sent.round, sent.shard,
                           prepared_of(sent.shard, sent.message.survivors.size()));
    }
    for (const auto& decide : driver.take<Decide>()) {
      driver.give(Decided{decide.round, Decision::Commit});
    }
    for (const auto& sent : driver.sent<messages::Settle>()) {
      driver.reply_settle(sent.round, sent.shard, messages::SettleOutcome::Settled);
    }
  }
  EXPECT_EQ(driver.answered(), 4u);
}

TEST(Parking, EndsWithTheVotesForThoseThatDidNotSurvive) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201}), transfer({102, 202})});
  driver.submit(transfer({101, 103}));
  driver.submit(transfer({102, 104}));
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.vote(round.round, ShardId(1), {messages::Yes{}, messages::Refused{}});
  driver.vote(round.round, ShardId(2), {messages::Yes{}, messages::Yes{}});
  const auto woken = driver.sent_one<messages::LocalRound>();
  ASSERT_EQ(woken.message.orders.size(), 1u);
  EXPECT_EQ(std::get<Transfer>(woken.message.orders[0].what).from, AccountId(102));
}

TEST(Parking, EndsWhenTheRoundIsSettled) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_settling({transfer({101, 201})});
  driver.submit(transfer({101, 102}));
  driver.reply_settle(round.round, ShardId(1), messages::SettleOutcome::Settled);
  EXPECT_TRUE(driver.sent<messages::LocalRound>().empty());
  driver.reply_settle(round.round, ShardId(2), messages::SettleOutcome::Settled);
  EXPECT_EQ(driver.sent<messages::LocalRound>().size(), 1u);
}

// ---- bounds and faults

TEST(FullBook, AnswersOverloadedAndTakesOrdersAgainWhenThereIsRoom) {
  CoordinatorDriver driver({}, {.orders_max = 4});  // of which one lane may have half
  const auto ids = driver.submit_together(
      {transfer({101, 102}), transfer({103, 104}), transfer({105, 106}), transfer({107, 108})});
  EXPECT_FALSE(driver.is_answered(ids[0]));
  EXPECT_FALSE(driver.is_answered(ids[1]));
  EXPECT_EQ(driver.fail_code(ids[2]), FailCode::Overloaded);
  EXPECT_EQ(driver.fail_code(ids[3]), FailCode::Overloaded);
  EXPECT_EQ(driver.machine().counters().orders_overloaded, 2);
  driver.apply_all(driver.sent_one<messages::LocalRound>());
  const auto later = driver.submit(transfer({105, 106}));
  EXPECT_FALSE(driver.is_answered(later));
}

// One round at a time with four orders, every 100 ms: 40 orders a second.
TEST(SlowLane, TurnsAwayWhatWouldComeTooLateAndTakesOrdersAgainWhenItsQueueIsShort) {
  CoordinatorDriver driver({.local_in_flight = 1, .local_orders_max = 4});
  const auto go_on = [&driver](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      driver.pass(milliseconds(100));
      driver.apply_all(driver.sent_one<messages::LocalRound>());
    }
  };
  const auto submit_one = [&driver] { return driver.submit(transfer({101, 102}), seconds(10)); };
  driver.submit_together(std::vector<Order>(400, transfer({101, 102})), seconds(10));
  EXPECT_EQ(driver.machine().counters().orders_overloaded, 0);  // a burst, whatever comes of it
  go_on(5);
  EXPECT_EQ(driver.fail_code(submit_one()), FailCode::Overloaded);
  go_on(20);  // 300 are left, and 7.5 s are enough for them
  EXPECT_FALSE(driver.is_answered(submit_one()));
}

// Another attempt may commit: that nothing was committed would be said of a key that is under way.
TEST(FullBook, SaysOfAKeyThatIsUnderWayThatItIs) {
  CoordinatorDriver driver({}, {.orders_max = 2});
  const auto first = driver.submit(keyed({101, 102}, 7));
  EXPECT_FALSE(driver.is_answered(first));
  EXPECT_TRUE(driver.answer<KeyInProgress>(driver.submit(keyed({101, 102}, 7))));
  EXPECT_EQ(driver.fail_code(driver.submit(keyed({101, 102}, 8))), FailCode::Overloaded);
}

TEST(DirectoryDown, RefusesCrossShardTransfersBeforePrepareWhileLocalOnesGoOn) {
  CoordinatorDriver driver;
  driver.give(DirectoryHealth{false});
  const auto ids =
      driver.submit_together({transfer({101, 201}), transfer({102, 103}), open_user("ann", 301)});
  driver.apply_all(driver.sent_one<messages::LocalRound>());
  EXPECT_TRUE(driver.answer<Committed>(ids[1]));
  for (int tries = 0; tries < 9; ++tries) driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(ids[0]), FailCode::DirectoryUnavailable);
  EXPECT_EQ(driver.fail_code(ids[2]), FailCode::DirectoryUnavailable);
  EXPECT_TRUE(driver.is_idle());
}

TEST(DirectoryDown, LetsCrossShardTransfersGoWhenItIsBack) {
  CoordinatorDriver driver;
  driver.give(DirectoryHealth{false});
  driver.submit(transfer({101, 201}));
  driver.give(DirectoryHealth{true});
  driver.pass(seconds(1));
  EXPECT_EQ(driver.sent<messages::Reserve>().size(), 2u);
}

TEST(DirectoryDown, IsSeenWhenADecisionCannotBeAskedFor) {
  CoordinatorDriver driver;
  const auto round = driver.bring_to_decision({transfer({101, 201})});
  driver.give(Decided{round.round, unreachable()});
  EXPECT_FALSE(driver.machine().is_directory_up());
  driver.submit(transfer({102, 202}));
  EXPECT_TRUE(driver.sent<messages::Reserve>().empty());
}

TEST(DirectoryDown, AnswersByTheDeadlineWhatWaitsForIt) {
  CoordinatorDriver driver;
  driver.give(DirectoryHealth{false});
  const auto order = driver.submit(transfer({101, 201}), milliseconds(10));
  driver.pass(milliseconds(10));
  EXPECT_EQ(driver.fail_code(order), FailCode::DirectoryUnavailable);
}

TEST(DirectoryDown, PutsAKeyThatWaitsTwiceBackTwice) {
  CoordinatorDriver driver;
  driver.give(DirectoryHealth{false});
  const auto ids = driver.submit_together({keyed({101, 201}, 7), keyed({101, 201}, 7)});
  for (int tries = 0; tries < 9; ++tries) driver.pass(seconds(1));
  EXPECT_EQ(driver.fail_code(ids[0]), FailCode::DirectoryUnavailable);
  EXPECT_EQ(driver.fail_code(ids[1]), FailCode::DirectoryUnavailable);
}

TEST(DirectoryDown, StopsARoundThatHasPreparedNothing) {
  CoordinatorDriver driver;
  const auto round = driver.start_cross({transfer({101, 201})});
  driver.give(DirectoryHealth{false});
  driver.vote(round.round, ShardId(1), {messages::Yes{}});
  driver.vote(round.round, ShardId(2), {messages::Yes{}});
  EXPECT_TRUE(driver.sent<messages::Prepare>().empty());
  EXPECT_EQ(driver.sent<messages::Release>().size(), 2u);
}

TEST(Shards, ThatDoNotAnswerLeaveTheOthersAlone) {
  CoordinatorDriver driver({.local_in_flight = 1, .cross_in_flight = 1});
  driver.submit(transfer({101, 102}));
  driver.submit(transfer({103, 201}));
  driver.discard();
  for (int i = 0; i < 3; ++i) {
    const auto order = driver.submit(transfer({202, 203}));
    driver.apply_all(driver.sent_one<messages::LocalRound>());
    EXPECT_TRUE(driver.answer<Committed>(order));
  }
}

}  // namespace
}  // namespace koshel::coordinator
