#include "coordinator/logic/token_cache.hpp"

#include <gtest/gtest.h>

namespace koshel::coordinator {
namespace {

using std::chrono::milliseconds;

constexpr Duration kLifetime = milliseconds(2000);
constexpr TokenHash kToken{1};
constexpr TokenHash kOther{2};
const Instant kStart{std::chrono::hours(1)};

Caller caller(std::string name) {
  return {std::move(name), {}, Caller::How::Session, kToken, std::nullopt, 0};
}

class TokenCacheTest : public testing::Test {
 protected:
  void learn(const TokenHash& token, Duration after = {}) {
    cache_.answer(cache_.question(token, kStart + after), caller("anna"));
  }
  bool knows(const TokenHash& token, Duration after) {
    return cache_.find(token, kStart + after).has_value();
  }
  TokenCache cache_{kLifetime, 3};
};

TEST_F(TokenCacheTest, KnowsATokenForItsLifetimeFromTheQuestionOn) {
  EXPECT_FALSE(knows(kToken, {}));
  learn(kToken);
  EXPECT_EQ(cache_.find(kToken, kStart)->caller.name, "anna");
  EXPECT_TRUE(knows(kToken, kLifetime - milliseconds(1)));
  EXPECT_FALSE(knows(kToken, kLifetime));
  EXPECT_FALSE(knows(kOther, {}));
}

TEST_F(TokenCacheTest, WantsToBeAskedAgainOnceInTheSecondHalfOfIt) {
  learn(kToken);
  EXPECT_FALSE(cache_.find(kToken, kStart + kLifetime / 2 - milliseconds(1))->is_to_ask);
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
  EXPECT_FALSE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
  learn(kToken, kLifetime / 2);
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime)->is_to_ask);
}

TEST_F(TokenCacheTest, WantsItAgainWhenThereWasNoAnswer) {
  learn(kToken);
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
  cache_.fail(cache_.question(kToken, kStart + kLifetime / 2));
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
}

TEST_F(TokenCacheTest, DoesNotKnowATokenAgainThatWasForgottenWhileItWasAskedFor) {
  learn(kToken);
  const auto question = cache_.question(kToken, kStart);
  cache_.forget(kToken);
  EXPECT_FALSE(knows(kToken, {}));
  cache_.answer(question, caller("anna"));
  EXPECT_FALSE(knows(kToken, {}));
  learn(kOther);
  EXPECT_TRUE(knows(kOther, {}));
}

TEST_F(TokenCacheTest, WantsATokenAgainWhoseAnswerDoesNotCountSinceAnotherWasForgotten) {
  learn(kToken);
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
  const auto question = cache_.question(kToken, kStart + kLifetime / 2);
  cache_.forget(kOther);
  cache_.answer(question, caller("anna"));
  EXPECT_TRUE(cache_.find(kToken, kStart + kLifetime / 2)->is_to_ask);
}

TEST_F(TokenCacheTest, ForgetsWhatIsNobodysAnyMore) {
  learn(kToken);
  cache_.answer(cache_.question(kToken, kStart), std::nullopt);
  EXPECT_FALSE(knows(kToken, {}));
}

TEST_F(TokenCacheTest, IsBoundedAndLetsOldOnesGoFirst) {
  for (unsigned char i = 1; i <= 3; ++i) learn(TokenHash{i}, milliseconds(i == 3 ? 1000 : 0));
  learn(TokenHash{4}, kLifetime);
  EXPECT_EQ(cache_.size(), 2u);
  EXPECT_TRUE(knows(TokenHash{3}, kLifetime));
  for (unsigned char i = 5; i <= 9; ++i) learn(TokenHash{i}, kLifetime);
  EXPECT_LE(cache_.size(), 3u);
  EXPECT_TRUE(knows(TokenHash{9}, kLifetime));
}

}  // namespace
}  // namespace koshel::coordinator
