#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using Ids = std::vector<OrderId>;

constexpr Instant kStart{std::chrono::hours(1)};
constexpr Instant kLate = kStart + kPatience;
constexpr Sequence kRound(1);

LaneId local_lane(std::int32_t shard) {
  return {LaneKind::Local, ShardId(shard), ShardId()};
}

RoutesRead moved_to(std::int64_t account, std::int32_t shard) {
  return {{AccountId(account)}, std::map<AccountId, ShardId>{{AccountId(account), ShardId(shard)}}};
}

// Submits the order as 1, takes it, and lets it wait for the route of `account`.
void await(OrderBook& book, Order order, std::int64_t account, Effects& out) {
  const auto lane = lane_of(order);
  book.submit(1, std::move(order), kLate, kStart);
  book.take(lane, kRound, 1, kStart);
  book.release(kRound, {AccountId(101), AccountId(102), AccountId(201)});
  book.await_route(1, AccountId(account), out);
}

TEST(Rerouting, ReadsARouteOnceForAllThatWaitForIt) {
  OrderBook book({});
  Effects out;
  for (OrderId id = 1; id <= 3; ++id) book.submit(id, transfer({101, 102}), kLate, kStart);
  book.take(local_lane(1), kRound, 3, kStart);
  for (OrderId id = 1; id <= 3; ++id) book.await_route(id, AccountId(101), out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(std::get<ReadRoutes>(out.front()).accounts, std::vector{AccountId(101)});
}

TEST(Rerouting, ReadsEachAccountsOwnRoute) {
  OrderBook book({});
  Effects out;
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.submit(2, transfer({103, 104}), kLate, kStart);
  book.await_route(1, AccountId(101), out);
  book.await_route(2, AccountId(103), out);
  EXPECT_EQ(out.size(), 2u);
}

TEST(Rerouting, SendsATransferToTheLaneOfItsNewShards) {
  OrderBook book({});
  Effects out;
  await(book, transfer({101, 102}), 102, out);
  book.reroute(moved_to(102, 3), kStart, out);
  book.tick(kStart + seconds(1), out);
  EXPECT_EQ(book.lanes_waiting(), std::vector{kCrossLane});
  ASSERT_EQ(book.take(kCrossLane, Sequence(2), 1, kStart), Ids{1});
  const auto& order = std::get<TransferOrder>(book.find(1, Sequence(2))->order);
  EXPECT_EQ(order.from_shard, ShardId(1));
  EXPECT_EQ(order.to_shard, ShardId(3));
}

TEST(Rerouting, MakesACrossShardTransferLocalWhenItsSidesMet) {
  OrderBook book({});
  Effects out;
  await(book, transfer({101, 201}), 201, out);
  book.reroute(moved_to(201, 1), kStart, out);
  book.tick(kStart + seconds(1), out);
  EXPECT_EQ(book.take(local_lane(1), Sequence(2), 1, kStart), Ids{1});
}

TEST(Rerouting, TakesWorldAlongWithTheUser) {
  for (const auto sides : {Sides{0, 101}, Sides{101, 0}}) {
    OrderBook book({});
    Effects out;
    await(book, transfer(sides), 101, out);
    book.reroute(moved_to(101, 4), kStart, out);
    book.tick(kStart + seconds(1), out);
    EXPECT_EQ(book.take(local_lane(4), Sequence(2), 1, kStart), Ids{1});
  }
}

TEST(Rerouting, TakesLimitsAndRefusalsToTheNewShard) {
  RefusalOrder refusal{{asked(keyed({101, 201}, 7)), {}}, ShardId(1)};
  for (const auto& order : {limits(101), Order(refusal)}) {
    OrderBook book({});
    Effects out;
    await(book, order, 101, out);
    book.reroute(moved_to(101, 4), kStart, out);
    book.tick(kStart + seconds(1), out);
    EXPECT_EQ(book.take(local_lane(4), Sequence(2), 1, kStart), Ids{1});
  }
}

TEST(Rerouting, BlamesTheDirectoryWhenTheRouteCannotBeRead) {
  OrderBook book({.faults_max = 0});
  Effects out;
  await(book, transfer({101, 102}), 101, out);
  out.clear();
  book.reroute({{AccountId(101)}, unreachable()}, kStart, out);
  ASSERT_EQ(out.size(), 1u);
  const auto& outcome = std::get<Finish>(out.front()).outcome;
  EXPECT_EQ(std::get<Failed>(outcome).code, FailCode::DirectoryUnavailable);
}

TEST(Rerouting, TriesAgainAfterARouteThatCouldNotBeRead) {
  OrderBook book({});
  Effects out;
  await(book, transfer({101, 102}), 101, out);
  book.reroute({{AccountId(101)}, unreachable()}, kStart, out);
  book.tick(kStart + seconds(1), out);
  EXPECT_EQ(book.take(local_lane(1), Sequence(2), 1, kStart), Ids{1});
}

TEST(Rerouting, AnswersAnOrderThatWaitsForItsRouteAtTheDeadlineAndOnlyThen) {
  OrderBook book({});
  Effects out;
  await(book, transfer({101, 102}), 101, out);
  out.clear();
  book.tick(kLate, out);
  ASSERT_EQ(out.size(), 1u);
  const auto code = std::get<Failed>(std::get<Finish>(out.front()).outcome).code;
  EXPECT_NE(code, FailCode::OutcomeUnknown);
  EXPECT_NE(code, FailCode::Internal);
  book.reroute(moved_to(101, 3), kLate, out);
  EXPECT_EQ(out.size(), 1u);
}

TEST(Rerouting, IsBoundedLikeEveryOtherReturn) {
  CoordinatorDriver driver({}, {.retries_max = 5});
  const auto order = driver.submit(transfer({101, 102}));
  int rounds = 0;
  while (!driver.is_answered(order) && rounds < 100) {
    const auto round = driver.sent_one<messages::LocalRound>();
    ++rounds;
    driver.reply_local(round.round, messages::LocalRoundDone{{messages::Moved{AccountId(101)}}});
    driver.take_one<ReadRoutes>();
    driver.give(moved_to(101, 1));
    driver.pass(seconds(1));
  }
  EXPECT_EQ(rounds, 6);
  EXPECT_EQ(driver.fail_code(order), FailCode::Contention);
}

TEST(Rerouting, OfALocalOrderRunsItOnTheShardThatOwnsItNow) {
  CoordinatorDriver driver;
  const auto order = driver.submit(limits(101));
  const auto first = driver.sent_one<messages::LocalRound>();
  driver.reply_local(first.round, messages::LocalRoundDone{{messages::Moved{AccountId(101)}}});
  driver.give(moved_to(101, 5));
  driver.pass(seconds(1));
  const auto second = driver.sent_one<messages::LocalRound>();
  EXPECT_EQ(second.shard, ShardId(5));
  EXPECT_NE(second.round, first.round);
  driver.reply_local(second.round, messages::LocalRoundDone{{messages::Changed{}}});
  EXPECT_TRUE(driver.answer<Changed>(order));
}

}  // namespace
}  // namespace koshel::coordinator
