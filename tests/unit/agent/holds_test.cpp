#include "shard-agent/logic/holds.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

constexpr auto kKeepFor = std::chrono::milliseconds(100);
constexpr Instant kStart{std::chrono::hours(1)};

Holds::Request request_of(std::int64_t sequence, int times_busy = 0) {
  const auto number = static_cast<std::uint64_t>(sequence);
  return {round_of(sequence), TransferId(kAnna, {0, number}), times_busy};
}

class HoldsOfPatienceThree : public testing::Test {
 protected:
  Holds holds{Holds::Options{3, kKeepFor}};
};

TEST_F(HoldsOfPatienceThree, AreFreeUntilTaken) {
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(1), kStart));
  EXPECT_EQ(holds.find(kAnna), nullptr);
  holds.take(kAnna, round_of(1));
  ASSERT_NE(holds.find(kAnna), nullptr);
  EXPECT_EQ(holds.find(kAnna)->round, round_of(1));
  EXPECT_EQ(holds.size(), 1U);
}

TEST_F(HoldsOfPatienceThree, AreFreeForTheRoundThatHasThem) {
  holds.take(kAnna, round_of(1));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(1), kStart));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2), kStart));
  EXPECT_TRUE(holds.is_free_for(kBert, request_of(2), kStart));
}

TEST_F(HoldsOfPatienceThree, AreReleasedByTheirOwnRoundAlone) {
  holds.take(kAnna, round_of(1));
  holds.release(kAnna, round_of(2));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2), kStart));
  holds.release(kAnna, round_of(1));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(2), kStart));
}

TEST_F(HoldsOfPatienceThree, StayWithWhoTookThemFirst) {
  holds.take(kAnna, round_of(1), HoldReason::InDoubt);
  holds.take(kAnna, round_of(2));
  EXPECT_EQ(holds.find(kAnna)->round, round_of(1));
  EXPECT_EQ(holds.find(kAnna)->reason, HoldReason::InDoubt);
}

TEST_F(HoldsOfPatienceThree, AreNotKeptForWhoWasTurnedAwayTooFewTimes) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 2), kStart));
  holds.release(kAnna, round_of(1));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3), kStart));
}

TEST_F(HoldsOfPatienceThree, AreKeptForThePatientWhenTheyComeFree) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  holds.release(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(3), kStart));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(2, 4), kStart));
}

TEST_F(HoldsOfPatienceThree, AreKeptForTheOrderWhateverRoundItComesIn) {
  holds.take(kAnna, round_of(1));
  auto patient = request_of(2, 3);
  EXPECT_FALSE(holds.is_free_for(kAnna, patient, kStart));
  holds.release(kAnna, round_of(1));
  patient.round = round_of(9);
  EXPECT_TRUE(holds.is_free_for(kAnna, patient, kStart));
}

TEST_F(HoldsOfPatienceThree, AreKeptForABoundedMoment) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  holds.release(kAnna, round_of(1));
  const auto one = Duration(1);
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(3), kStart + kKeepFor - one));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3), kStart + kKeepFor));
}

TEST_F(HoldsOfPatienceThree, AreKeptForWhoHasWaitedLongest) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(3, 4), kStart));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(4, 4), kStart));
  holds.release(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(4, 4), kStart));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3, 5), kStart));
}

TEST_F(HoldsOfPatienceThree, AreNoLongerKeptOnceTheyWereTaken) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  holds.release(kAnna, round_of(1));
  holds.take(kAnna, round_of(2));
  holds.release(kAnna, round_of(2));
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3), kStart));
}

TEST_F(HoldsOfPatienceThree, ForgetWhoDidNotComeBack) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  holds.release(kAnna, round_of(1));
  holds.expire(kStart + kKeepFor);
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3), kStart));
}

TEST_F(HoldsOfPatienceThree, AreGoneWhenCleared) {
  holds.take(kAnna, round_of(1));
  EXPECT_FALSE(holds.is_free_for(kAnna, request_of(2, 3), kStart));
  holds.clear();
  EXPECT_EQ(holds.size(), 0U);
  EXPECT_TRUE(holds.is_free_for(kAnna, request_of(3), kStart));
}

}  // namespace
}  // namespace koshel::agent
