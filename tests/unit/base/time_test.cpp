#include "base/time.hpp"

#include <gtest/gtest.h>

namespace koshel {
namespace {

Timestamp at(std::int64_t microseconds) {
  return Timestamp(std::chrono::microseconds(microseconds));
}

TEST(Timestamp, IsFormattedInUtcWithMicroseconds) {
  using namespace std::chrono_literals;
  constexpr auto kDay = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23);
  EXPECT_EQ(format_rfc3339(kDay + 8h + 12min + 20s + 123456us), "2026-11-23T08:12:20.123456Z");
  EXPECT_EQ(format_rfc3339(kDay), "2026-11-23T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(kDay + 24h - 1us), "2026-11-23T23:59:59.999999Z");
}

TEST(Timestamp, KeepsTheZerosOfItsFraction) {
  EXPECT_EQ(format_rfc3339(at(0)), "1970-01-01T00:00:00.000000Z");
  EXPECT_EQ(format_rfc3339(at(1)), "1970-01-01T00:00:00.000001Z");
  EXPECT_EQ(format_rfc3339(at(1'500'000)), "1970-01-01T00:00:01.500000Z");
}

TEST(Timestamp, KnowsLeapDays) {
  constexpr std::chrono::sys_days kLeapDay(std::chrono::year(2028) / 2 / 29);
  EXPECT_EQ(format_rfc3339(kLeapDay), "2028-02-29T00:00:00.000000Z");
}

TEST(Timestamp, BeforeTheEpochCountsForwardWithinItsSecond) {
  EXPECT_EQ(format_rfc3339(at(-1)), "1969-12-31T23:59:59.999999Z");
}

TEST(Timestamp, IsReadAsItIsWritten) {
  for (const auto* text : {"2028-02-29T23:59:59.999999Z", "1970-01-01T00:00:00.000001Z"}) {
    const auto read = parse_rfc3339(text);
    ASSERT_TRUE(read.has_value()) << text;
    EXPECT_EQ(format_rfc3339(*read), text);
  }
  EXPECT_EQ(parse_rfc3339("2030-01-31T00:00:00Z"), parse_rfc3339("2030-01-31T00:00:00.000000Z"));
  EXPECT_EQ(parse_rfc3339("2030-01-31T00:00:00.5Z"), parse_rfc3339("2030-01-31T00:00:00.500000Z"));
}

TEST(Timestamp, IsReadAsOthersWriteUtc) {
  const auto expected = parse_rfc3339("2030-01-31T00:00:00.123456Z");
  for (const auto* text : {"2030-01-31T00:00:00.123456+00:00", "2030-01-31T00:00:00.123456-00:00",
                           "2030-01-31T00:00:00.123456789Z", "2030-01-31t00:00:00.1234567z"}) {
    EXPECT_EQ(parse_rfc3339(text), expected) << text;
  }
}

TEST(Timestamp, WhatIsNoTimeIsRefused) {
  for (const auto* text :
       {"", "Z", "2030-01-31", "2030-01-31T00:00:00", "2030-01-31T00:00:00+01:00",
        "2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z", "2030-01-31T24:00:00Z",
        "2030-01-31T00:60:00Z", "2030-01-31T00:00:60Z", "2030-01-31 00:00:00Z",
        "2030-01-31T00:00:00.Z", "2030-01-31T00:00:00.1234567890Z", "2030-01-31T00:00:00.xZ",
        "-030-01-31T00:00:00Z", "2030-01-31T00:00:00ZZ"}) {
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace koshel
