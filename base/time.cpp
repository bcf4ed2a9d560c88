#include "base/time.hpp"

#include <algorithm>
#include <cstdio>

namespace koshel {

std::string format_rfc3339(Timestamp at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
                static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                static_cast<int>(time.subseconds().count()));
  return text;
}

std::optional<Timestamp> parse_rfc3339(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  std::string_view zone;
  for (const std::string_view utc : {"Z", "z", "+00:00", "-00:00"}) {
    if (text.ends_with(utc)) zone = utc;
  }
  if (zone.empty() || text.size() < kShape.size() + zone.size()) return std::nullopt;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool is_as_shown = text[i] == kShape[i] || (kShape[i] == 'T' && text[i] == 't');
    if (kShape[i] == '0' ? !is_digit(text[i]) : !is_as_shown) return std::nullopt;
  }
  const auto number = [text](std::size_t at, std::size_t size) {
    int value = 0;
    for (const char c : text.substr(at, size)) value = value * 10 + (c - '0');
    return value;
  };
  auto decimals = text.substr(kShape.size(), text.size() - kShape.size() - zone.size());
  int micros = 0;
  if (!decimals.empty()) {
    if (decimals.size() < 2 || decimals.size() > 10 || decimals.front() != '.') return std::nullopt;
    decimals.remove_prefix(1);
    if (!std::ranges::all_of(decimals, is_digit)) return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i) {
      micros = micros * 10 + (i < decimals.size() ? decimals[i] - '0' : 0);
    }
  }
  using namespace std::chrono;
  const year_month_day date(year(number(0, 4)), month(static_cast<unsigned>(number(5, 2))),
                            day(static_cast<unsigned>(number(8, 2))));
  const int hour = number(11, 2);
  const int minute = number(14, 2);
  const int second = number(17, 2);
  if (!date.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return Timestamp(sys_days(date)) + hours(hour) + minutes(minute) + seconds(second) +
         microseconds(micros);
}

}  // namespace koshel
