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
// Of RFC 3339 what is in UTC ("Z", "+00:00"), with up to nine decimals of a second, of which six are
// kept; nullopt for anything else.
std::optional<Timestamp> parse_rfc3339(std::string_view text);

}  // namespace koshel
