#include "directory/logic/login_throttle.hpp"

#include <gtest/gtest.h>

namespace koshel::directory {
namespace {

using namespace std::chrono_literals;

constexpr ThrottleRule kRule{3, 1s, 10s, 60s};

TEST(LoginThrottle, SomeFailuresAreFree) {
  EXPECT_EQ(wait_of({0, 0s}, kRule), 0s);
  EXPECT_EQ(wait_of({3, 0s}, kRule), 0s);
}

TEST(LoginThrottle, EachFurtherOneDoublesTheWaitUpToItsBound) {
  EXPECT_EQ(wait_of({4, 0s}, kRule), 1s);
  EXPECT_EQ(wait_of({5, 0s}, kRule), 2s);
  EXPECT_EQ(wait_of({6, 0s}, kRule), 4s);
  EXPECT_EQ(wait_of({7, 0s}, kRule), 8s);
  EXPECT_EQ(wait_of({8, 0s}, kRule), 10s);
  EXPECT_EQ(wait_of({1'000'000, 0s}, kRule), 10s);
}

TEST(LoginThrottle, TheWaitCountsFromTheLastFailure) {
  EXPECT_EQ(wait_of({6, 3s}, kRule), 1s);
  EXPECT_EQ(wait_of({6, 4s}, kRule), 0s);
}

TEST(LoginThrottle, NobodyIsLockedOutForGood) {
  LoginFailures failures{0, 0s};
  for (int i = 0; i < 1000; ++i) failures.count = failures_after(failures, kRule);
  EXPECT_EQ(wait_of(failures, kRule), 10s);
  failures.since_last = forgotten_after(kRule);
  EXPECT_EQ(wait_of(failures, kRule), 0s);
  EXPECT_EQ(failures_after(failures, kRule), 1);
  EXPECT_LE(forgotten_after(kRule), 8 * 60s);
}

TEST(LoginThrottle, FailuresAreForgivenOneByOne) {
  EXPECT_EQ(failures_after({5, 59s}, kRule), 6);
  EXPECT_EQ(failures_after({5, 60s}, kRule), 5);
  EXPECT_EQ(failures_after({5, 180s}, kRule), 3);
}

}  // namespace
}  // namespace koshel::directory
