#pragma once
// How long attempts to log in have to wait after failures: some are free, then each doubles the
// wait, up to a bound; with time they are forgiven, one by one. Nobody is locked out for good.

#include <chrono>

namespace koshel::directory {

struct ThrottleRule {
  int free = 5;                            // failures without a wait
  std::chrono::milliseconds delay{1'000};  // after the first that is not free
  std::chrono::milliseconds delay_max{30'000};
  std::chrono::milliseconds forgiven_every{60'000};  // one failure
};

// Failures of one name or from one address.
struct LoginFailures {
  int count = 0;
  std::chrono::milliseconds since_last{0};  // not negative
  bool operator==(const LoginFailures&) const = default;
};

// One more, beside those not forgiven yet; not more than the longest wait needs.
int failures_after(LoginFailures failures, const ThrottleRule& rule);
// When none of them is left, however many there were.
std::chrono::milliseconds forgotten_after(const ThrottleRule& rule);
// 0: the next attempt may be made now.
std::chrono::milliseconds wait_of(LoginFailures failures, const ThrottleRule& rule);

}  // namespace koshel::directory
