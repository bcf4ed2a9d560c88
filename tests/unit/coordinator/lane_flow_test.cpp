#include "coordinator/logic/lane_flow.hpp"

#include <gtest/gtest.h>

namespace koshel::coordinator {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Instant kStart{std::chrono::hours(1)};
constexpr std::size_t kMany = 1'000'000;

class Flow : public testing::Test {
 protected:
  // A round every 100 ms, whose youngest order has waited for `waited`.
  void do_rounds(int rounds, int orders, Duration waited) {
    for (int i = 0; i < rounds; ++i) {
      for (int order = 0; order < orders; ++order) flow_.on_answered();
      now_ += milliseconds(100);
      flow_.on_taken(now_ - waited, now_);
    }
  }
  void be_late(int orders, Duration waited) {
    for (int i = 0; i < orders; ++i) flow_.on_late(now_ - waited, now_);
  }
  bool can_serve(std::size_t ahead, Duration time_left, Duration oldest_waits = seconds(0)) const {
    return flow_.can_serve(ahead, now_ - oldest_waits, now_ + time_left, now_);
  }
  void expect_pace(std::size_t per_second) const {
    EXPECT_TRUE(can_serve(3 * per_second - 1, seconds(4)));
    EXPECT_FALSE(can_serve(3 * per_second + 1, seconds(4)));
  }

  LaneFlow flow_;
  Instant now_ = kStart;
};

TEST_F(Flow, TakesABurstOfAnySizeWhereNobodyHasWaited) {
  EXPECT_TRUE(can_serve(kMany, seconds(1)));
}

TEST_F(Flow, TakesAllWhileRoundsTakeOrdersThatHaveNotWaitedLong) {
  do_rounds(50, 1, milliseconds(499));
  EXPECT_TRUE(can_serve(kMany, seconds(2), seconds(9)));
}

TEST_F(Flow, TakesOnlyWhatItsPaceLetsItDoInThreeQuartersOfTheTimeLeft) {
  do_rounds(21, 100, milliseconds(500));  // 1000 a second
  EXPECT_TRUE(can_serve(1500, seconds(2)));
  EXPECT_FALSE(can_serve(1501, seconds(2)));
  EXPECT_TRUE(can_serve(3750, seconds(5)));
  EXPECT_FALSE(can_serve(3751, seconds(5)));
}

TEST_F(Flow, TurnsAwayUntilARoundHasTakenAYoungOrder) {
  do_rounds(20, 100, milliseconds(500));
  do_rounds(20, 100, milliseconds(200));
  EXPECT_FALSE(can_serve(kMany, seconds(2)));
  do_rounds(1, 100, milliseconds(199));
  EXPECT_TRUE(can_serve(kMany, seconds(2)));
}

TEST_F(Flow, ReckonsWithItsBestPaceOfLateWhileNobodyIsLate) {
  do_rounds(21, 100, seconds(1));
  do_rounds(10, 20, seconds(1));
  expect_pace(900);
  do_rounds(10, 20, seconds(1));
  expect_pace(810);
  do_rounds(200, 20, seconds(1));
  expect_pace(200);
}

TEST_F(Flow, SeesAtOnceThatItHasBecomeQuicker) {
  do_rounds(21, 100, seconds(1));
  do_rounds(5, 200, seconds(1));
  expect_pace(2000);
}

TEST_F(Flow, ReckonsWithItsPresentPaceWhileOrdersAreLate) {
  do_rounds(21, 100, seconds(1));
  be_late(5, seconds(1));
  do_rounds(10, 20, seconds(0));
  expect_pace(200);
  do_rounds(10, 20, seconds(0));  // nobody is any more
  EXPECT_TRUE(can_serve(kMany, seconds(4)));
}

TEST_F(Flow, LetsTwoOfAHundredBeLate) {
  do_rounds(11, 10, seconds(0));
  be_late(2, seconds(1));
  do_rounds(10, 10, seconds(0));
  EXPECT_TRUE(can_serve(kMany, seconds(4)));
  be_late(3, seconds(1));
  do_rounds(10, 10, seconds(0));
  EXPECT_FALSE(can_serve(kMany, seconds(4)));
}

TEST_F(Flow, HoldsItAgainstNobodyThatADeadlineWasShort) {
  do_rounds(11, 1, seconds(0));
  be_late(50, milliseconds(499));
  do_rounds(10, 1, seconds(0));
  EXPECT_TRUE(can_serve(kMany, seconds(2)));
}

TEST_F(Flow, TurnsAwayWhereNobodyWasTakenForMostOfTheTimeLeftThoughSomebodyWaited) {
  do_rounds(5, 10, seconds(0));
  now_ += seconds(3);
  EXPECT_FALSE(can_serve(kMany, seconds(4), seconds(3)));
  EXPECT_TRUE(can_serve(kMany, milliseconds(4'002), seconds(3)));
  EXPECT_TRUE(can_serve(kMany, seconds(4), milliseconds(2'999)));
}

TEST_F(Flow, TakesAllWhereTheOldestHasWaitedButRoundsTakeOthers) {
  do_rounds(5, 10, seconds(0));
  EXPECT_TRUE(can_serve(kMany, seconds(2), seconds(3)));
}

TEST_F(Flow, NeverTurnsAwayTheFirstFew) {
  do_rounds(5, 1, seconds(1));
  now_ += seconds(60);
  EXPECT_TRUE(can_serve(99, milliseconds(1), seconds(60)));
  EXPECT_FALSE(can_serve(100, milliseconds(1), seconds(60)));
}

}  // namespace
}  // namespace koshel::coordinator
