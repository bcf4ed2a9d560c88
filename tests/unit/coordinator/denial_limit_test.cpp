#include "coordinator/logic/denial_limit.hpp"

#include <gtest/gtest.h>

namespace koshel::coordinator {
namespace {

using namespace std::chrono_literals;
const Instant kStart{1h};

TEST(DenialLimit, WhatIsBeyondItsMinuteIsCountedAndToldWithTheNextRow) {
  DenialLimit limit;
  for (int i = 0; i < DenialLimit::kPerMinute; ++i) {
    ASSERT_EQ(limit.take("anna", kStart + i * 10ms).value().untold_before, 0);
  }
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(limit.take("anna", kStart + 59s));
  EXPECT_EQ(limit.take("anna", kStart + 60s).value().untold_before, 1000);
  EXPECT_EQ(limit.take("anna", kStart + 60s).value().untold_before, 0);
}

TEST(DenialLimit, IsEachCallersOwn) {
  DenialLimit limit;
  while (limit.take("anna", kStart)) {
  }
  EXPECT_TRUE(limit.take("bob", kStart));
}

TEST(DenialLimit, ForgetsWhoIsQuietWhenThereAreMany) {
  DenialLimit limit;
  for (int i = 0; i < 20'000; ++i) limit.take("caller " + std::to_string(i), kStart);
  while (limit.take("anna", kStart + 61s)) {
  }
  EXPECT_TRUE(limit.take("caller 7", kStart + 61s));
  EXPECT_FALSE(limit.take("anna", kStart + 61s));
}

}  // namespace
}  // namespace koshel::coordinator
