#include "directory/logic/login_throttle.hpp"

#include <algorithm>

namespace koshel::directory {

using std::chrono::milliseconds;

namespace {

milliseconds delay_after(milliseconds::rep failures, const ThrottleRule& rule) {
  if (failures <= rule.free) return milliseconds(0);
  auto delay = rule.delay;
  for (auto i = rule.free + 1; i < failures && delay < rule.delay_max; ++i) delay *= 2;
  return std::min(delay, rule.delay_max);
}

int failures_max(const ThrottleRule& rule) {
  int failures = rule.free + 1;
  while (delay_after(failures, rule) < rule.delay_max) ++failures;
  return failures;
}

}  // namespace

ThrottleRules throttle_rules(ThrottleRule name_at_address, int free_per_address) {
  constexpr int kAddresses = 4;  // whose free failures a name has elsewhere
  ThrottleRules rules{name_at_address, name_at_address, name_at_address};
  rules.name.free = kAddresses * name_at_address.free;
  rules.name.forgiven_every = std::min(rules.name.forgiven_every, rules.name.delay_max);
  rules.address.free = free_per_address;
  return rules;
}

LoginFailures after_failure(LoginFailures failures, const ThrottleRule& rule) {
  const auto every = rule.forgiven_every;
  const auto until_forgiven = std::min(failures.until_forgiven + every, failures_max(rule) * every);
  const auto count = (until_forgiven + every - milliseconds(1)) / every;
  return {until_forgiven, delay_after(count, rule)};
}

LoginFailures after_excuse(LoginFailures failures, const ThrottleRule& rule) {
  return {std::max(milliseconds(0), failures.until_forgiven - rule.forgiven_every),
          milliseconds(0)};
}

}  // namespace koshel::directory
