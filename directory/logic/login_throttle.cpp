#include "directory/logic/login_throttle.hpp"

#include <algorithm>

namespace koshel::directory {

using std::chrono::milliseconds;

namespace {

int failures_left(LoginFailures failures, const ThrottleRule& rule) {
  const auto forgiven = failures.since_last / rule.forgiven_every;
  return static_cast<int>(std::max<milliseconds::rep>(0, failures.count - forgiven));
}

milliseconds delay_after(int failures, const ThrottleRule& rule) {
  if (failures <= rule.free) return milliseconds(0);
  auto delay = rule.delay;
  for (int i = rule.free + 1; i < failures && delay < rule.delay_max; ++i) delay *= 2;
  return std::min(delay, rule.delay_max);
}

int failures_max(const ThrottleRule& rule) {
  int failures = rule.free + 1;
  while (delay_after(failures, rule) < rule.delay_max) ++failures;
  return failures;
}

}  // namespace

int failures_after(LoginFailures failures, const ThrottleRule& rule) {
  return std::min(failures_left(failures, rule) + 1, failures_max(rule));
}

milliseconds wait_of(LoginFailures failures, const ThrottleRule& rule) {
  const auto delay = delay_after(failures_left(failures, rule), rule);
  return std::max(milliseconds(0), delay - failures.since_last);
}

milliseconds forgotten_after(const ThrottleRule& rule) {
  return failures_max(rule) * rule.forgiven_every;
}

}  // namespace koshel::directory
