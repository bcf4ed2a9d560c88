#include "coordinator/logic/order_book.hpp"

#include <gtest/gtest.h>

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {
namespace {

using Ids = std::vector<OrderId>;

constexpr LaneId kLocal{LaneKind::Local, ShardId(1), ShardId()};
constexpr Instant kStart{std::chrono::hours(1)};
constexpr Instant kLate = kStart + kPatience;
constexpr Sequence kRound(1);

TEST(OrderBook, SendsEachKindOfOrderToItsLane) {
  EXPECT_EQ(lane_of(transfer({101, 102})), kLocal);
  EXPECT_EQ(lane_of(limits(101)), kLocal);
  EXPECT_EQ(lane_of(transfer({0, 101})), kLocal);
  EXPECT_EQ(lane_of(RefusalOrder{{}, ShardId(1)}), kLocal);
  EXPECT_EQ(lane_of(transfer({101, 201})), kCrossLane);
  EXPECT_EQ(lane_of(transfer({301, 101})), kCrossLane);
  EXPECT_EQ(lane_of(open_user("ann", 101)), (LaneId{LaneKind::Opening, ShardId(1), ShardId()}));
}

TEST(OrderBook, HasOneLaneForBothDirectionsBetweenTwoShardsOneOfWhichIsSuspect) {
  EXPECT_EQ(own_lane_of(transfer({201, 101})), (LaneId{LaneKind::Cross, ShardId(1), ShardId(2)}));
  EXPECT_EQ(own_lane_of(transfer({201, 101})), own_lane_of(transfer({101, 201})));
  EXPECT_EQ(own_lane_of(transfer({101, 102})), kLocal);
}

TEST(OrderBook, KeepsWhatTouchesASuspectShardApartFromTheOthers) {
  const LaneId with_third{LaneKind::Cross, ShardId(1), ShardId(3)};
  OrderBook book({});
  book.submit(1, transfer({101, 301}), kLate, kStart);
  book.submit(2, transfer({101, 201}), kLate, kStart);
  book.suspect(ShardId(3), kStart);
  book.submit(3, transfer({302, 102}), kLate, kStart);
  book.submit(4, transfer({102, 202}), kLate, kStart);
  EXPECT_EQ(book.take(kCrossLane, kRound, 9, kStart), (Ids{2, 4}));
  EXPECT_EQ(book.take(with_third, Sequence(2), 9, kStart), Ids{}) << "101 and 102 are taken";
  book.release(kRound, {AccountId(101), AccountId(102)});
  EXPECT_EQ(book.lanes_waiting(), std::vector{with_third});
  book.trust(ShardId(3), kStart - seconds(1));
  EXPECT_TRUE(book.is_suspect(ShardId(3))) << "it was begun before";
  book.trust(ShardId(3), kStart);
  book.submit(5, transfer({103, 303}), kLate, kStart);
  EXPECT_EQ(book.take(kCrossLane, Sequence(3), 9, kStart), Ids{5});
  EXPECT_EQ(book.take(with_third, Sequence(3), 9, kStart), (Ids{1, 3}));
}

TEST(OrderBook, BoundsTheBytesOfARound) {
  OrderBook book({});
  for (OrderId id = 1; id <= 2000; ++id) {
    auto order = transfer({101, 102});
    std::get<TransferOrder>(order).transfer.metadata = std::string(4096, '\\');
    book.submit(id, order, kLate, kStart);
  }
  const auto first = book.take(kLocal, kRound, 2000, kStart).size();
  EXPECT_GT(first, 500U);
  EXPECT_LT(first * 2 * 4096, std::size_t{16} << 20) << "an agent reads no more";
}

TEST(OrderBook, HoldsEveryAccountOfAnOrderButWorld) {
  using Accounts = std::vector<AccountId>;
  EXPECT_EQ(accounts_of(transfer({101, 201})), (Accounts{AccountId(101), AccountId(201)}));
  EXPECT_EQ(accounts_of(transfer({0, 101})), Accounts{AccountId(101)});
  EXPECT_EQ(accounts_of(transfer({101, 0})), Accounts{AccountId(101)});
  EXPECT_EQ(accounts_of(limits(101)), Accounts{AccountId(101)});
  EXPECT_EQ(accounts_of(open_user("ann", 101)), Accounts{AccountId(101)});
}

TEST(OrderBook, RefusesWhatIsBeyondItsBoundUntilSomethingIsAnswered) {
  OrderBook book({.orders_max = 4});  // of which one lane may have half
  EXPECT_TRUE(book.submit(1, transfer({101, 102}), kLate, kStart));
  EXPECT_TRUE(book.submit(2, transfer({101, 102}), kLate, kStart));
  EXPECT_FALSE(book.submit(3, transfer({101, 102}), kLate, kStart));
  Effects out;
  book.finish(1, NameTaken{}, out);
  EXPECT_TRUE(book.submit(4, transfer({101, 102}), kLate, kStart));
  EXPECT_EQ(book.size(), 2u);
}

TEST(OrderBook, LeavesRoomForOtherLanesWhenOneIsFull) {
  OrderBook book({.orders_max = 8});
  OrderId id = 0;
  while (book.submit(++id, transfer({101, 102}), kLate, kStart)) continue;
  EXPECT_EQ(book.size(), 4u);
  EXPECT_TRUE(book.submit(++id, transfer({201, 202}), kLate, kStart));
  EXPECT_TRUE(book.submit(++id, transfer({201, 202}), kLate, kStart));
  EXPECT_FALSE(book.submit(++id, transfer({201, 202}), kLate, kStart));
  EXPECT_TRUE(book.submit(++id, transfer({301, 302}), kLate, kStart));
}

TEST(OrderBook, TakesOrdersAsTheyCameAndEachOnce) {
  OrderBook book({});
  for (OrderId id = 1; id <= 5; ++id) book.submit(id, transfer({101, 102}), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, kRound, 3, kStart), (Ids{1, 2, 3}));
  EXPECT_EQ(book.take(kLocal, kRound, 3, kStart), (Ids{4, 5}));
  EXPECT_TRUE(book.take(kLocal, kRound, 3, kStart).empty());
}

TEST(OrderBook, TakesFromTheAskedLaneOnly) {
  OrderBook book({});
  book.submit(1, transfer({101, 201}), kLate, kStart);
  EXPECT_TRUE(book.take(kLocal, kRound, 3, kStart).empty());
  EXPECT_EQ(book.lanes_waiting(), std::vector{kCrossLane});
}

TEST(OrderBook, FindsAnOrderOnlyInTheRoundThatTookIt) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  EXPECT_EQ(book.find(1, kRound), nullptr);
  book.take(kLocal, kRound, 1, kStart);
  ASSERT_NE(book.find(1, kRound), nullptr);
  EXPECT_EQ(book.find(1, kRound)->stage, Stage::Reserving);
  EXPECT_EQ(book.find(1, Sequence(2)), nullptr);
}

TEST(OrderBook, LetsAnAccountTakePartManyTimesInOneRound) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.submit(2, transfer({102, 101}), kLate, kStart);
  book.submit(3, limits(101), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart), (Ids{1, 2, 3}));
}

TEST(OrderBook, ParksAnOrderWhoseAccountIsInAnotherRoundAndTakesTheOthers) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.take(kLocal, kRound, 10, kStart);
  book.submit(2, transfer({103, 102}), kLate, kStart);
  book.submit(3, transfer({103, 104}), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, Sequence(2), 10, kStart), Ids{3});
  EXPECT_EQ(book.parked(), 1u);
}

TEST(OrderBook, WakesTheParkedAtTheHeadOfTheirLaneTheOldestFirst) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.take(kLocal, kRound, 10, kStart);
  for (OrderId id = 2; id <= 4; ++id) book.submit(id, transfer({101, 103}), kLate, kStart);
  EXPECT_TRUE(book.take(kLocal, Sequence(2), 10, kStart).empty());
  book.submit(5, transfer({104, 105}), kLate, kStart);
  book.release(kRound, {AccountId(101), AccountId(102)});
  EXPECT_EQ(book.parked(), 0u);
  EXPECT_EQ(book.take(kLocal, Sequence(3), 10, kStart), (Ids{2, 3, 4, 5}));
}

TEST(OrderBook, KeepsAccountsWhenAnotherRoundLetsGoOfThem) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.take(kLocal, kRound, 10, kStart);
  book.release(Sequence(2), {AccountId(101), AccountId(102)});
  book.submit(2, transfer({101, 103}), kLate, kStart);
  EXPECT_TRUE(book.take(kLocal, Sequence(3), 10, kStart).empty());
}

TEST(OrderBook, LetsNoDepositWaitForAnother) {
  OrderBook book({});
  book.submit(1, transfer({0, 101}), kLate, kStart);
  book.take(kLocal, kRound, 10, kStart);
  book.submit(2, transfer({0, 102}), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, Sequence(2), 10, kStart), Ids{2});
}

TEST(OrderBook, PutsAKeyOnceIntoARound) {
  OrderBook book({});
  book.submit(1, keyed({101, 102}, 7), kLate, kStart);
  book.submit(2, keyed({101, 102}, 7), kLate, kStart);
  book.submit(3, keyed({101, 102}, 8), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart), (Ids{1, 3}));
  book.release(kRound, {AccountId(101), AccountId(102)});
  EXPECT_EQ(book.take(kLocal, Sequence(2), 10, kStart), Ids{2});
}

TEST(OrderBook, PutsTheKeyOfADepositOnceIntoARound) {
  OrderBook book({});
  book.submit(1, keyed({0, 101}, 7), kLate, kStart);
  book.submit(2, keyed({0, 101}, 7), kLate, kStart);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart), Ids{1});
  book.release(kRound, {AccountId(101)});
  EXPECT_EQ(book.take(kLocal, Sequence(2), 10, kStart), Ids{2});
}

TEST(OrderBook, TakesNoMoreThanTheSmallestRoundAnOrderAllows) {
  OrderBook book({});
  for (OrderId id = 1; id <= 4; ++id) book.submit(id, transfer({101, 102}), kLate, kStart);
  for (const auto id : book.take(kLocal, kRound, 10, kStart)) book.find(id, kRound)->round_max = 2;
  Effects out;
  for (OrderId id = 1; id <= 4; ++id) book.set_back(id, Setback::Retry, kStart, out);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart).size(), 2u);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart).size(), 2u);
}

TEST(OrderBook, PutsAnOrderWithASmallRoundNotBehindTooManyOthers) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.take(kLocal, kRound, 10, kStart);
  book.find(1, kRound)->round_max = 1;
  Effects out;
  book.submit(2, transfer({101, 102}), kLate, kStart);
  book.set_back(1, Setback::Busy, kStart, out);
  book.tick(kStart + seconds(1), out);
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart), Ids{2});
  EXPECT_EQ(book.take(kLocal, kRound, 10, kStart), Ids{1});
}

// ---- going back

TEST(OrderBook, PutsAnOrderThatOnlyStoodInTheWayBackAtOnce) {
  for (const auto setback : {Setback::Retry, Setback::Stale}) {
    OrderBook book({});
    book.submit(1, transfer({101, 102}), kLate, kStart);
    book.take(kLocal, kRound, 1, kStart);
    Effects out;
    book.set_back(1, setback, kStart, out);
    book.release(kRound, {AccountId(101), AccountId(102)});
    EXPECT_EQ(book.find(1, kRound), nullptr);
    EXPECT_EQ(book.take(kLocal, Sequence(2), 1, kStart), Ids{1});
    EXPECT_TRUE(out.empty());
  }
}

// How long the order stays away from its lane, in steps of a millisecond.
int pause_of(OrderBook& book, Setback setback, Instant now) {
  Effects out;
  book.set_back(1, setback, now, out);
  for (int pause = 0; pause < 1'000; ++pause) {
    book.tick(now + milliseconds(pause), out);
    if (!book.take(kLocal, kRound, 1, kStart).empty()) return pause;
  }
  return 1'000;
}

TEST(OrderBook, PausesLongerEachTimeButNeverBeyondABound) {
  for (const auto setback : {Setback::Busy, Setback::BusyInDoubt, Setback::ShardOverloaded}) {
    OrderBook book({});
    book.submit(1, transfer({101, 102}), kStart + std::chrono::hours(1), kStart);
    book.take(kLocal, kRound, 1, kStart);
    const auto first = pause_of(book, setback, kStart);
    EXPECT_GT(first, 0);
    auto longest = first;
    for (int time = 2; time <= 50; ++time) {
      const auto pause = pause_of(book, setback, kStart + seconds(time));
      EXPECT_GE(pause, longest);
      longest = pause;
    }
    EXPECT_GT(longest, first);
    EXPECT_LT(longest, 1'000);
  }
}

struct SetbackCase {
  Setback setback;
  FailCode code;
};
constexpr SetbackCase kSetbacks[] = {
    {Setback::Busy, FailCode::Contention},
    {Setback::BusyInDoubt, FailCode::Contention},
    {Setback::Retry, FailCode::Contention},
    {Setback::Stale, FailCode::Contention},
    {Setback::Moving, FailCode::Contention},
    {Setback::ShardFault, FailCode::ShardUnavailable},
    {Setback::ShardOverloaded, FailCode::Overloaded},
    {Setback::DirectoryFault, FailCode::DirectoryUnavailable},
};

const FailCode* fail_code_of(const Effects& out) {
  const auto* finish = out.size() == 1 ? std::get_if<Finish>(&out.front()) : nullptr;
  const auto* failed = finish == nullptr ? nullptr : std::get_if<Failed>(&finish->outcome);
  return failed == nullptr ? nullptr : &failed->code;
}

TEST(OrderBook, EndsAnOrderThatUsedUpItsRetriesWithTheReasonOfTheLast) {
  for (const auto& [setback, code] : kSetbacks) {
    OrderBook book({.retries_max = 2, .faults_max = 100});
    book.submit(1, transfer({101, 102}), kLate, kStart);
    Effects out;
    book.set_back(1, setback, kStart, out);
    book.set_back(1, setback, kStart, out);
    EXPECT_TRUE(out.empty());
    book.set_back(1, setback, kStart, out);
    ASSERT_NE(fail_code_of(out), nullptr);
    EXPECT_EQ(*fail_code_of(out), code);
    EXPECT_EQ(book.size(), 0u);
  }
}

TEST(OrderBook, BoundsTriesAgainstWhatDoesNotAnswer) {
  for (const auto setback : {Setback::ShardFault, Setback::DirectoryFault}) {
    OrderBook book({.retries_max = 100, .faults_max = 1});
    book.submit(1, transfer({101, 102}), kLate, kStart);
    Effects out;
    book.set_back(1, setback, kStart, out);
    EXPECT_TRUE(out.empty());
    book.set_back(1, setback, kStart, out);
    EXPECT_NE(fail_code_of(out), nullptr);
  }
}

TEST(OrderBook, SaysOfAKeyedOrderBehindADoubtThatItsKeyIsInProgress) {
  OrderBook book({.retries_max = 0});
  book.submit(1, keyed({101, 102}, 7), kLate, kStart);
  Effects out;
  book.set_back(1, Setback::BusyInDoubt, kStart, out);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<KeyInProgress>(std::get<Finish>(out.front()).outcome));
}

TEST(OrderBook, SaysSoOfAKeyThatItMetInDoubtWhateverCameAfter) {
  for (const auto after : {Setback::Retry, Setback::Stale, Setback::Moving, Setback::ShardFault,
                           Setback::ShardOverloaded, Setback::DirectoryFault}) {
    OrderBook book({.retries_max = 1});
    book.submit(1, keyed({101, 102}, 7), kLate, kStart);
    Effects out;
    book.set_back(1, Setback::BusyInDoubt, kStart, out);
    book.set_back(1, after, kStart, out);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(std::holds_alternative<KeyInProgress>(std::get<Finish>(out.front()).outcome));
  }
}

TEST(OrderBook, ForgetsThatItMetAKeyWhenItWasFoundFree) {
  OrderBook book({.retries_max = 2});
  book.submit(1, keyed({101, 102}, 7), kLate, kStart);
  Effects out;
  book.set_back(1, Setback::BusyInDoubt, kStart, out);
  book.set_back(1, Setback::Busy, kStart, out);
  book.set_back(1, Setback::ShardFault, kStart, out);
  ASSERT_NE(fail_code_of(out), nullptr);
  EXPECT_EQ(*fail_code_of(out), FailCode::ShardUnavailable);
}

// ---- deadlines

TEST(OrderBook, AnswersAnOrderThatWentBackByItsReasonAtTheDeadline) {
  for (const auto& [setback, code] : kSetbacks) {
    OrderBook book({});
    book.submit(1, transfer({101, 102}), kLate, kStart);
    Effects out;
    book.set_back(1, setback, kLate - milliseconds(1), out);
    book.tick(kLate - milliseconds(1), out);
    EXPECT_TRUE(out.empty());
    book.tick(kLate, out);
    ASSERT_NE(fail_code_of(out), nullptr);
    EXPECT_EQ(*fail_code_of(out), code);
  }
}

TEST(OrderBook, AnswersByStageAtTheDeadline) {
  const std::pair<Stage, FailCode> stages[] = {{Stage::Waiting, FailCode::Overloaded},
                                               {Stage::Reserving, FailCode::ShardUnavailable},
                                               {Stage::Sent, FailCode::OutcomeUnknown}};
  for (const auto& [stage, code] : stages) {
    OrderBook book({});
    book.submit(1, transfer({101, 102}), kLate, kStart);
    book.set_stage(1, stage);
    Effects out;
    book.tick(kLate, out);
    ASSERT_NE(fail_code_of(out), nullptr);
    EXPECT_EQ(*fail_code_of(out), code);
  }
}

TEST(OrderBook, SaysUnknownOfWhatMayHaveCommittedWhateverHappenedBefore) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  Effects out;
  book.set_back(1, Setback::Retry, kStart, out);
  book.take(kLocal, kRound, 1, kStart);
  book.set_stage(1, Stage::Sent);
  book.tick(kLate, out);
  ASSERT_NE(fail_code_of(out), nullptr);
  EXPECT_EQ(*fail_code_of(out), FailCode::OutcomeUnknown);
}

TEST(OrderBook, LeavesTheAnswerOfADecidedOrderToItsRound) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  book.set_stage(1, Stage::Decided);
  Effects out;
  book.tick(kLate + seconds(1), out);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(book.size(), 1u);
}

TEST(OrderBook, AnswersAParkedOrderWithContentionAtTheDeadline) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate + seconds(1), kStart);
  book.take(kLocal, kRound, 1, kStart);
  book.submit(2, transfer({101, 103}), kLate, kStart);
  book.take(kLocal, Sequence(2), 1, kStart);
  Effects out;
  book.tick(kLate, out);
  ASSERT_NE(fail_code_of(out), nullptr);
  EXPECT_EQ(*fail_code_of(out), FailCode::Contention);
  book.release(kRound, {AccountId(101), AccountId(102)});
  EXPECT_TRUE(book.take(kLocal, Sequence(3), 1, kStart).empty());
}

TEST(OrderBook, DoesNotBringBackWhatWasAnsweredWhileItPaused) {
  OrderBook book({});
  book.submit(1, transfer({101, 102}), kLate, kStart);
  Effects out;
  book.take(kLocal, kRound, 1, kStart);
  book.set_back(1, Setback::ShardFault, kLate - milliseconds(1), out);
  book.tick(kLate, out);
  book.tick(kLate + seconds(9), out);
  EXPECT_EQ(out.size(), 1u);
  EXPECT_TRUE(book.take(kLocal, kRound, 1, kStart).empty());
}

TEST(OrderBook, KnowsATransferThatLostInOneRoundAndWentIntoAnother) {
  OrderBook book({});
  const auto order = keyed({101, 102}, 7);
  book.submit(1, order, kLate, kStart);
  book.take(kLocal, Sequence(1), 10, kStart);
  Effects out;
  book.release(Sequence(1), accounts_of(order));
  book.set_back(1, Setback::Retry, kLate - seconds(9), out);
  book.take(kLocal, Sequence(2), 10, kStart);
  book.end(Sequence(1));
  EXPECT_TRUE(book.is_under_way(asked(order).id));
  book.end(Sequence(2));
  EXPECT_FALSE(book.is_under_way(asked(order).id));
}

}  // namespace
}  // namespace koshel::coordinator
