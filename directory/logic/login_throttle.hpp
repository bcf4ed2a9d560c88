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

// Failures are counted for all three, and the longest wait holds.
struct ThrottleRules {
  ThrottleRule name_at_address;
  ThrottleRule name;  // from addresses where it has not logged in yet
  ThrottleRule address;
};

// One address that fails as often as it may is forgiven as fast under the rule for a name: alone it
// slows nobody down elsewhere.
ThrottleRules throttle_rules(ThrottleRule name_at_address, int free_per_address);

// Times from now on; none is negative.
struct LoginFailures {
  std::chrono::milliseconds until_forgiven{0};  // the last of them
  std::chrono::milliseconds until_next{0};      // attempt may be made
  bool operator==(const LoginFailures&) const = default;
};

// With one more; never more than the longest wait needs.
LoginFailures after_failure(LoginFailures failures, const ThrottleRule& rule);
// Without the one that was none, and the wait for it.
LoginFailures after_excuse(LoginFailures failures, const ThrottleRule& rule);

}  // namespace koshel::directory
