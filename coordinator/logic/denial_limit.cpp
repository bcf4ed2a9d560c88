#include "coordinator/logic/denial_limit.hpp"

#include <utility>

namespace koshel::coordinator {

namespace {
constexpr std::chrono::minutes kMinute{1};
constexpr std::size_t kCallersMax = 10'000;
}  // namespace

std::optional<DenialLimit::Row> DenialLimit::take(const std::string& caller, Instant now) {
  if (minutes_.size() >= kCallersMax) forget_old(now);
  auto& minute = minutes_.try_emplace(caller, Minute{now}).first->second;
  if (now - minute.begin >= kMinute) minute = {now, 0, minute.untold};
  if (minute.rows == kPerMinute) {
    ++minute.untold;
    return std::nullopt;
  }
  ++minute.rows;
  return Row{std::exchange(minute.untold, 0)};
}

void DenialLimit::forget_old(Instant now) {
  std::erase_if(minutes_, [now](const auto& of) { return now - of.second.begin >= kMinute; });
}

}  // namespace koshel::coordinator
