// How fast users move beside clients' orders, and without them.

#include "coordinator/logic/rebalancer.hpp"

#include "tests/unit/coordinator/rebalance_driver.hpp"

namespace koshel::coordinator {
namespace {

class MovesBesideOrders : public Rebalancing {
 protected:
  void a_transfer_comes() {
    driver.submit(transfer({301, 302}));
    driver.sent<messages::LocalRound>();
  }
  void give_begun(MoveId move) {
    driver.give(ArrivalBegun{move, messages::ArrivalBegun{true, {{AccountId(101), kCopied}}}});
  }
};

TEST_F(MovesBesideOrders, TakeOneStepAtATime) {
  a_transfer_comes();
  hold({open_move(kMove, {101}), open_move(kOtherMove, {102})});
  driver.pass(milliseconds(100));
  EXPECT_EQ(driver.take<BeginArrival>().size(), 1U);
}

TEST_F(MovesBesideOrders, AreAsManyAsThereMayBeWhenNoOrdersCome) {
  a_transfer_comes();
  driver.pass(seconds(1));
  hold({open_move(kMove, {101}), open_move(kOtherMove, {102})});
  EXPECT_EQ(driver.take<BeginArrival>().size(), 2U);
}

TEST_F(MovesBesideOrders, RestAfterAStepSoThatStepsTakeTheirShareOfTheTime) {
  a_transfer_comes();
  hold_the_last({open_move(kMove, {101})});
  driver.take_one<BeginArrival>();
  driver.pass(milliseconds(100));
  a_transfer_comes();
  give_begun(kMove);
  driver.pass(milliseconds(299));
  EXPECT_TRUE(driver.take<CopyChunk>().empty());
  driver.pass(milliseconds(1));
  EXPECT_EQ(driver.take_one<CopyChunk>().read.limit, kRebalanceLimits.beside_orders_entries);
}

TEST_F(MovesBesideOrders, RestNoLongerThanASecond) {
  a_transfer_comes();
  hold_the_last({open_move(kMove, {101})});
  driver.take_one<BeginArrival>();
  driver.pass(seconds(60));
  a_transfer_comes();
  give_begun(kMove);
  driver.pass(milliseconds(500));
  a_transfer_comes();
  EXPECT_TRUE(driver.take<CopyChunk>().empty());
  driver.pass(milliseconds(500));
  driver.take_one<CopyChunk>();
}

TEST_F(MovesBesideOrders, DoNotRestWhenTheOrdersHaveStopped) {
  a_transfer_comes();
  hold_the_last({open_move(kMove, {101})});
  driver.take_one<BeginArrival>();
  driver.pass(seconds(1));
  give_begun(kMove);
  EXPECT_EQ(driver.take_one<CopyChunk>().read.limit, kRebalanceLimits.entries_per_chunk);
}

TEST_F(MovesBesideOrders, CutAFewUsersOverAtATime) {
  a_transfer_comes();
  hold_the_last({open_move(kMove, {101, 102})});
  begin_and_copy();
  cut_over();  // within no time, so that there is nothing to rest from
  EXPECT_TRUE(cleans_nothing()) << "one is still to be cut over";
  cut_over();
  const auto cleaning = clean();
  EXPECT_EQ(cleaning.clean.accounts, accounts({101, 102}));
  EXPECT_EQ(cleaning.clean.limit, kRebalanceLimits.beside_orders_entries);
}

}  // namespace
}  // namespace koshel::coordinator
