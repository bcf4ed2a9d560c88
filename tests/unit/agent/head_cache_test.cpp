#include "shard-agent/logic/head_cache.hpp"

#include <gtest/gtest.h>

#include "tests/unit/agent/agent_driver.hpp"

namespace koshel::agent {
namespace {

AccountId account_of(std::int64_t number) {
  return AccountId(1000 + number);
}

TEST(HeadCache, FindsWhatWasPut) {
  HeadCache cache(4);
  EXPECT_EQ(cache.find(kAnna), std::nullopt);
  cache.put(kAnna, make_head({.balance = 1}));
  EXPECT_EQ(cache.find(kAnna), make_head({.balance = 1}));
  cache.put(kAnna, make_head({.balance = 2, .version = 2}));
  EXPECT_EQ(cache.find(kAnna), make_head({.balance = 2, .version = 2}));
  EXPECT_EQ(cache.size(), 1U);
}

TEST(HeadCache, NeverHoldsMoreThanItsBound) {
  for (const std::size_t bound : {2U, 3U, 10U, 11U}) {
    HeadCache cache(bound);
    for (std::int64_t i = 0; i < 100; ++i) {
      cache.put(account_of(i), make_head({.balance = i}));
      cache.find(account_of(i / 2));
      ASSERT_LE(cache.size(), bound);
    }
    EXPECT_EQ(cache.find(account_of(99)), make_head({.balance = 99}));
  }
}

TEST(HeadCache, DropsWhatWasNotUsedForLongest) {
  HeadCache cache(4);
  cache.put(account_of(0), make_head({}));
  for (std::int64_t i = 1; i < 5; ++i) cache.put(account_of(i), make_head({}));
  EXPECT_EQ(cache.find(account_of(0)), std::nullopt);
  EXPECT_NE(cache.find(account_of(4)), std::nullopt);
}

TEST(HeadCache, KeepsWhatIsUsedAgainAndAgain) {
  HeadCache cache(4);
  cache.put(kAnna, make_head({.balance = 8}));
  for (std::int64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(cache.find(kAnna), make_head({.balance = 8})) << i;
    cache.put(account_of(i), make_head({}));
  }
}

TEST(HeadCache, NeverBringsAnOlderHeadBack) {
  HeadCache cache(4);
  cache.put(kAnna, make_head({.version = 1}));
  cache.put(account_of(1), make_head({}));
  cache.put(account_of(2), make_head({}));  // Anna's head belongs to the older generation now
  cache.put(kAnna, make_head({.version = 2}));
  EXPECT_EQ(cache.find(kAnna)->version, Version(2));
  for (std::int64_t i = 3; i < 9; ++i) {
    cache.put(account_of(i), make_head({}));
    EXPECT_EQ(cache.find(kAnna).value_or(make_head({.version = 2})).version, Version(2));
  }
}

TEST(HeadCache, ForgetsAnAccountWholly) {
  HeadCache cache(4);
  cache.put(kAnna, make_head({.version = 1}));
  cache.put(account_of(1), make_head({}));
  cache.put(account_of(2), make_head({}));
  cache.put(kAnna, make_head({.version = 2}));  // now in both generations
  cache.forget(kAnna);
  EXPECT_EQ(cache.find(kAnna), std::nullopt);
  EXPECT_NE(cache.find(account_of(1)), std::nullopt);
}

TEST(HeadCache, IsEmptyWhenCleared) {
  HeadCache cache(4);
  for (std::int64_t i = 0; i < 4; ++i) cache.put(account_of(i), make_head({}));
  cache.clear();
  EXPECT_EQ(cache.size(), 0U);
  EXPECT_EQ(cache.find(account_of(3)), std::nullopt);
}

}  // namespace
}  // namespace koshel::agent
