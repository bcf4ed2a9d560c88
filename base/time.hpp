#pragma once
// Two clocks, never mixed: Instant is steady and measures waits; Timestamp is the calendar's, for
// history. Logic is handed both as values and asks no clock itself.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace koshel {

using Instant = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;
using Timestamp = std::chrono::sys_time<std::chrono::microseconds>;

std::string format_rfc3339(Timestamp at);  // "2026-11-23T08:12:20.123456Z"
// In UTC with `Z`, with up to six decimals of a second; nullopt for anything else.
std::optional<Timestamp> parse_rfc3339(std::string_view text);

}  // namespace koshel
