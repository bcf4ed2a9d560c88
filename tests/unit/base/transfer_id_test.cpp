#include "base/transfer_id.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

namespace koshel {
namespace {

constexpr std::uint64_t kLowMax = (std::uint64_t{1} << 62) - 1;

TEST(TransferId, OpensWithItsAnchor) {
  const TransferId id(AccountId(0x123456789abc), {0xdef, 0x0123456789abcdef});
  EXPECT_EQ(id.to_string(), "12345678-9abc-8def-8123-456789abcdef");
  EXPECT_EQ(id.anchor(), AccountId(0x123456789abc));
}

TEST(TransferId, GivesItsAnchorBackAfterBeingWrittenAndParsed) {
  for (const auto anchor : {AccountId(0), AccountId(1), AccountId(AccountId::kWorldBit),
                            AccountId(AccountId::kMax), AccountId::any_world(CurrencyId(978))}) {
    for (const auto suffix : {TransferSuffix{0, 0}, TransferSuffix{0xfff, kLowMax}}) {
      const TransferId id(anchor, suffix);
      EXPECT_EQ(id.anchor(), anchor);
      ASSERT_EQ(TransferId::parse(id.to_string()), id) << id.to_string();
      EXPECT_EQ(TransferId::parse(id.to_string())->anchor(), anchor);
    }
  }
}

TEST(TransferId, TakesOnly74BitsOfItsSuffix) {
  const TransferId narrow(AccountId(5), {0x0fff, kLowMax});
  const TransferId wide(AccountId(5), {0xffff, ~std::uint64_t{0}});
  EXPECT_EQ(wide, narrow);
  EXPECT_EQ(wide.to_string(), "00000000-0005-8fff-bfff-ffffffffffff");
}

TEST(TransferId, IsAppendedBehindWhatIsThere) {
  std::string text = "id=";
  TransferId(AccountId(1), {2, 3}).append_to(text);
  EXPECT_EQ(text, "id=00000000-0001-8002-8000-000000000003");
}

TEST(TransferId, IsParsedFromUpperCaseToo) {
  const TransferId id(AccountId(0xabcdef), {0xabc, 0xdef});
  auto upper = id.to_string();
  std::ranges::transform(upper, upper.begin(), [](unsigned char c) { return std::toupper(c); });
  EXPECT_EQ(TransferId::parse(upper), id);
}

TEST(TransferId, IsNotParsedFromUuidsOfOtherVersions) {
  std::string text = "12345678-9abc-8def-8123-456789abcdef";
  for (const char version : std::string("012345679abcdef")) {
    text[14] = version;
    EXPECT_FALSE(TransferId::parse(text)) << text;
  }
}

TEST(TransferId, IsNotParsedFromUuidsOfOtherVariants) {
  std::string text = "12345678-9abc-8def-8123-456789abcdef";
  for (const char variant : std::string("01234567cdef")) {
    text[19] = variant;
    EXPECT_FALSE(TransferId::parse(text)) << text;
  }
  for (const char variant : std::string("89abAB")) {
    text[19] = variant;
    EXPECT_TRUE(TransferId::parse(text)) << text;
  }
}

TEST(TransferId, IsNotParsedFromOtherText) {
  for (const auto* text :
       {"", "12345678", "12345678-9abc-8def-8123-456789abcde",
        "12345678-9abc-8def-8123-456789abcdef0", "123456789abc8def8123456789abcdef",
        "{12345678-9abc-8def-8123-456789abcdef}", "1234567-89abc-8def-8123-456789abcdef",
        "12345678-9abc-8def-8123-456789abcdeg", "12345678_9abc-8def-8123-456789abcdef",
        "12345678-9abc-8def-8123-45678-abcdef", "00000000-0000-0000-0000-000000000000",
        " 2345678-9abc-8def-8123-456789abcdef"}) {
    EXPECT_FALSE(TransferId::parse(text)) << text;
  }
}

TEST(TransferId, SortsByAnchorAndAsItsText) {
  const std::vector<TransferId> sorted = {
      {AccountId(1), {0, 5}},           {AccountId(1), {0, kLowMax}}, {AccountId(1), {1, 0}},
      {AccountId(1), {0xfff, kLowMax}}, {AccountId(2), {0, 0}},       {AccountId(0x10000), {0, 0}},
      {AccountId(AccountId::kMax), {}}};
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    EXPECT_LT(sorted[i - 1], sorted[i]);
    EXPECT_LT(sorted[i - 1].to_string(), sorted[i].to_string());
  }
}

}  // namespace
}  // namespace koshel
