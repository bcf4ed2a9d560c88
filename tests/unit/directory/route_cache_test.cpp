#include "directory/logic/route_cache.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace koshel::directory {
namespace {

Route route(std::int64_t account, std::int32_t shard = 1, std::int64_t version = 1) {
  return {AccountId(account), CurrencyId(978), ShardId(shard), RouteVersion(version)};
}

std::string name_of(std::int64_t number) {
  return "user-" + std::to_string(number);
}

TEST(RouteCache, KnowsNothingAtFirst) {
  RouteCache cache(4);
  EXPECT_EQ(cache.find("ann"), std::nullopt);
  EXPECT_EQ(cache.find(AccountId(1)), std::nullopt);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(RouteCache, FindsWhatItLearnedByNameAndByAccount) {
  RouteCache cache(4);
  cache.learn("ann", route(1, 1));
  cache.learn("a name that is too long to lie in place", route(2, 2));
  EXPECT_EQ(cache.find("ann"), route(1, 1));
  EXPECT_EQ(cache.find(AccountId(1)), (NamedRoute{"ann", route(1, 1)}));
  EXPECT_EQ(cache.find("a name that is too long to lie in place"), route(2, 2));
  EXPECT_EQ(cache.find(AccountId(2))->name, "a name that is too long to lie in place");
  EXPECT_EQ(cache.find("an"), std::nullopt);
  EXPECT_EQ(cache.size(), 2u);
}

TEST(RouteCache, TakesAHigherVersion) {
  RouteCache cache(4);
  cache.learn("ann", route(1, 1, 1));
  cache.learn("ann", route(1, 2, 2));
  EXPECT_EQ(cache.find("ann"), route(1, 2, 2));
  EXPECT_EQ(cache.find(AccountId(1))->route, route(1, 2, 2));
  EXPECT_EQ(cache.size(), 1u);
}

TEST(RouteCache, KeepsAHigherVersionWhenAnOldReadComesLate) {
  RouteCache cache(4);
  cache.learn("ann", route(1, 2, 5));
  cache.learn("ann", route(1, 1, 4));
  EXPECT_EQ(cache.find("ann"), route(1, 2, 5));
}

TEST(RouteCache, ForgetsAnAccountUnderBothOfItsNames) {
  RouteCache cache(4);
  cache.learn("ann", route(1));
  cache.learn("bob", route(2));
  cache.forget(AccountId(1));
  cache.forget(AccountId(9));
  EXPECT_EQ(cache.find("ann"), std::nullopt);
  EXPECT_EQ(cache.find(AccountId(1)), std::nullopt);
  EXPECT_EQ(cache.find("bob"), route(2));
  EXPECT_EQ(cache.size(), 1u);
}

TEST(RouteCache, LearnsAnewWhatItForgotEvenAnOlderVersion) {
  RouteCache cache(4);
  cache.learn("ann", route(1, 2, 5));
  cache.forget(AccountId(1));
  cache.learn("ann", route(1, 1, 4));
  EXPECT_EQ(cache.find("ann"), route(1, 1, 4));
}

TEST(RouteCache, NeverHoldsMoreThanItsBound) {
  RouteCache cache(10);
  for (std::int64_t i = 1; i <= 1'000; ++i) {
    cache.learn(name_of(i), route(i));
    EXPECT_LE(cache.size(), 10u);
    ASSERT_EQ(cache.find(name_of(i)), route(i)) << "what was learned last is there";
  }
  EXPECT_EQ(cache.size(), 10u);
}

TEST(RouteCache, EvictsARouteUnderBothOfItsNames) {
  RouteCache cache(1);
  cache.learn("ann", route(1));
  cache.learn("bob", route(2));
  EXPECT_EQ(cache.find("ann"), std::nullopt);
  EXPECT_EQ(cache.find(AccountId(1)), std::nullopt);
  EXPECT_EQ(cache.find("bob"), route(2));
}

TEST(RouteCache, EvictsWhatWasNotUsedSinceTheHandLastPassed) {
  RouteCache cache(3);
  for (std::int64_t i = 1; i <= 3; ++i) cache.learn(name_of(i), route(i));
  cache.learn(name_of(4), route(4));  // the hand went round once: nobody is recent but this
  EXPECT_TRUE(cache.find(name_of(2)));
  cache.learn(name_of(5), route(5));
  EXPECT_TRUE(cache.find(name_of(2))) << "it was used by name";
  EXPECT_FALSE(cache.find(name_of(3)));
}

TEST(RouteCache, CountsALookUpByAccountAsUse) {
  RouteCache cache(3);
  for (std::int64_t i = 1; i <= 3; ++i) cache.learn(name_of(i), route(i));
  cache.learn(name_of(4), route(4));
  EXPECT_TRUE(cache.find(AccountId(2)));
  cache.learn(name_of(5), route(5));
  EXPECT_TRUE(cache.find(AccountId(2)));
  EXPECT_FALSE(cache.find(AccountId(3)));
}

TEST(RouteCache, UsesTheRoomOfWhatWasForgottenBeforeItEvicts) {
  RouteCache cache(3);
  for (std::int64_t i = 1; i <= 3; ++i) cache.learn(name_of(i), route(i));
  cache.forget(AccountId(2));
  cache.learn(name_of(4), route(4));
  EXPECT_EQ(cache.size(), 3u);
  for (const std::int64_t i : {1, 3, 4}) EXPECT_EQ(cache.find(name_of(i)), route(i));
}

TEST(RouteCache, KeepsItsTablesInStepWhateverItIsTold) {
  constexpr std::int64_t kUsers = 40;
  RouteCache cache(16);
  std::uint64_t state = 1;
  for (int step = 0; step < 20'000; ++step) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto user = static_cast<std::int64_t>((state >> 33) % kUsers) + 1;
    if ((state >> 60) < 3) {
      cache.forget(AccountId(user));
    } else if (!cache.find(name_of(user))) {
      cache.learn(name_of(user), route(user));
    }
    ASSERT_LE(cache.size(), 16u);
  }
  std::size_t known = 0;
  for (std::int64_t user = 1; user <= kUsers; ++user) {
    const auto by_name = cache.find(name_of(user));
    const auto by_account = cache.find(AccountId(user));
    ASSERT_EQ(by_name.has_value(), by_account.has_value());
    if (!by_name) continue;
    ++known;
    EXPECT_EQ(*by_name, route(user));
    EXPECT_EQ(*by_account, (NamedRoute{name_of(user), route(user)}));
  }
  EXPECT_EQ(known, cache.size());
}

}  // namespace
}  // namespace koshel::directory
