#include "directory/logic/login_throttle.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace koshel::directory {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr ThrottleRule kRule{3, 1s, 10s, 60s};

LoginFailures later(LoginFailures failures, milliseconds time) {
  return {std::max(0ms, failures.until_forgiven - time), std::max(0ms, failures.until_next - time)};
}

// The waits after so many failures one after the other, each as soon as it may be.
std::vector<milliseconds> waits(int failures, const ThrottleRule& rule) {
  std::vector<milliseconds> waits;
  LoginFailures state;
  for (int i = 0; i < failures; ++i) {
    state = after_failure(later(state, state.until_next), rule);
    waits.push_back(state.until_next);
  }
  return waits;
}

TEST(LoginThrottle, SomeFailuresAreFreeThenEachDoublesTheWaitUpToItsBound) {
  EXPECT_EQ(waits(9, kRule), (std::vector<milliseconds>{0s, 0s, 0s, 1s, 2s, 4s, 8s, 10s, 10s}));
}

TEST(LoginThrottle, NobodyIsLockedOutForGood) {
  LoginFailures failures;
  for (int i = 0; i < 1'000'000; ++i) failures = after_failure(failures, kRule);
  EXPECT_EQ(failures.until_next, 10s);
  EXPECT_LE(failures.until_forgiven, 8 * 60s);
  EXPECT_EQ(after_failure(later(failures, 8 * 60s), kRule), after_failure({}, kRule));
}

TEST(LoginThrottle, FailuresAreForgivenOneByOne) {
  LoginFailures four;
  for (int i = 0; i < 4; ++i) four = after_failure(four, kRule);
  EXPECT_EQ(after_failure(later(four, 59s), kRule).until_next, 2s);
  EXPECT_EQ(after_failure(later(four, 60s), kRule).until_next, 1s);
  EXPECT_EQ(after_failure(later(four, 120s), kRule).until_next, 0s);
}

TEST(LoginThrottle, WhoLogsInBetweenFailuresWaitsForNothing) {
  LoginFailures failures;
  for (int i = 0; i < 6; ++i) failures = after_failure(failures, kRule);
  const auto before = later(failures, failures.until_next);
  EXPECT_EQ(after_excuse(after_failure(before, kRule), kRule),
            (LoginFailures{before.until_forgiven, 0s}));
}

// An office of many: somebody logs in every few seconds, and one in twenty mistypes.
TEST(LoginThrottle, FailuresAreForgivenWhileOthersLogInAllTheTime) {
  const auto rule = throttle_rules(kRule, 20).address;
  LoginFailures failures;
  for (int i = 0; i < 10'000; ++i) {
    failures = later(failures, 5s);
    ASSERT_EQ(failures.until_next, 0s) << "after " << i << " logins";
    failures = after_failure(failures, rule);
    if (i % 20 != 0) failures = after_excuse(failures, rule);
  }
}

TEST(LoginThrottle, OneAddressAloneSlowsNobodyDownElsewhere) {
  const auto rules = throttle_rules(kRule, 20);
  LoginFailures there;
  LoginFailures elsewhere;
  for (int i = 0; i < 10'000; ++i) {
    const auto wait = there.until_next;
    there = after_failure(later(there, wait), rules.name_at_address);
    elsewhere = after_failure(later(elsewhere, wait), rules.name);
    ASSERT_EQ(elsewhere.until_next, 0s) << "after " << i << " failures";
  }
}

TEST(LoginThrottle, ManyAddressesWaitForEachOther) {
  const auto rules = throttle_rules(kRule, 20);
  LoginFailures failures;
  for (int i = 0; i < 20; ++i) failures = after_failure(failures, rules.name);
  EXPECT_EQ(failures.until_next, 10s);
}

}  // namespace
}  // namespace koshel::directory
