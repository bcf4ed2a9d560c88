#include "base/ids.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace koshel {
namespace {

Gid gid_of(std::string cluster, std::int64_t incarnation, std::int64_t sequence,
           std::int32_t shard) {
  return {std::move(cluster), {Incarnation(incarnation), Sequence(sequence)}, ShardId(shard)};
}

TEST(Gid, IsWrittenAsItsPartsInOrder) {
  EXPECT_EQ(gid_of("prod-eu", 7, 123, 4).to_string(), "koshel:prod-eu:7:123:4");
}

TEST(Gid, IsParsedBackAsItWasWritten) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  constexpr auto kShardMax = std::numeric_limits<std::int32_t>::max();
  for (const auto& gid : {gid_of("a", 0, 0, 0), gid_of("a_b-9", 1, 20, 300),
                          gid_of(std::string(63, 'z'), kMax, kMax, kShardMax)}) {
    EXPECT_EQ(Gid::parse(gid.to_string()), gid) << gid.to_string();
  }
}

TEST(Gid, FitsIntoPostgresEvenWhenEveryPartIsLongest) {
  constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
  const auto gid = gid_of(std::string(63, 'z'), kMax, kMax, std::numeric_limits<int>::max());
  EXPECT_LT(gid.to_string().size(), 200u);
}

TEST(Gid, OfAClusterWhoseNameBeginsLikeAnotherKeepsItsOwnName) {
  EXPECT_EQ(Gid::parse("koshel:a:1:2:3")->cluster, "a");
  EXPECT_EQ(Gid::parse("koshel:a1:1:2:3")->cluster, "a1");
  EXPECT_NE(Gid::parse("koshel:a:1:2:3"), Gid::parse("koshel:a1:1:2:3"));
}

TEST(Gid, IsNotParsedWithLeadingZeros) {
  for (const auto* text : {"koshel:a:01:2:3", "koshel:a:1:02:3", "koshel:a:1:2:03",
                           "koshel:a:00:2:3", "koshel:a:1:2:000"}) {
    EXPECT_FALSE(Gid::parse(text)) << text;
  }
}

TEST(Gid, IsNotParsedWithSignsSpacesOrOtherText) {
  for (const auto* text :
       {"koshel:a:+1:2:3", "koshel:a:-1:2:3", "koshel:a:-0:2:3", "koshel:a: 1:2:3",
        "koshel:a:1:2:3 ", "koshel:a:1:2:3\n", "koshel:a:0x1:2:3", "koshel:a:1:2:x",
        "koshel:a:1.0:2:3", "koshel:a:1e1:2:3", "koshel:a::2:3", "koshel:a:1:2:"}) {
    EXPECT_FALSE(Gid::parse(text)) << text;
  }
  EXPECT_FALSE(Gid::parse(std::string("koshel:a:1:2:3\0", 15)));
}

TEST(Gid, IsNotParsedWithAForeignPrefix) {
  for (const auto* text :
       {"", "koshel", "koshel:", "Koshel:a:1:2:3", "koshel2:a:1:2:3", "xkoshel:a:1:2:3",
        " koshel:a:1:2:3", "koshel.a:1:2:3", "_MTM-1-2-3", "a:1:2:3", "131077_Z2lk_Z2lk"}) {
    EXPECT_FALSE(Gid::parse(text)) << text;
  }
}

TEST(Gid, IsNotParsedWithTooManyOrTooFewParts) {
  for (const auto* text : {"koshel:a", "koshel:a:1", "koshel:a:1:2", "koshel:a:1:2:3:4",
                           "koshel:a:1:2:3:", "koshel::a:1:2:3", "koshel:a:b:1:2:3"}) {
    EXPECT_FALSE(Gid::parse(text)) << text;
  }
}

TEST(Gid, IsNotParsedWithNumbersThatDoNotFit) {
  EXPECT_TRUE(Gid::parse("koshel:a:9223372036854775807:1:2147483647"));
  for (const auto* text : {"koshel:a:9223372036854775808:1:1", "koshel:a:1:9223372036854775808:1",
                           "koshel:a:1:1:2147483648", "koshel:a:1:1:99999999999999999999"}) {
    EXPECT_FALSE(Gid::parse(text)) << text;
  }
}

TEST(Gid, IsNotParsedWithAClusterNameThatCannotBe) {
  for (const auto& cluster : {std::string(), std::string("A"), std::string("a b"),
                              std::string("a.b"), std::string("й"), std::string(64, 'a')}) {
    EXPECT_FALSE(Gid::parse("koshel:" + cluster + ":1:2:3")) << cluster;
  }
}

TEST(ClusterName, HasOneTo63LowerCaseCharacters) {
  EXPECT_TRUE(is_valid_cluster_name("a"));
  EXPECT_TRUE(is_valid_cluster_name("prod-eu_2"));
  EXPECT_TRUE(is_valid_cluster_name(std::string(63, 'a')));
  EXPECT_FALSE(is_valid_cluster_name(""));
  EXPECT_FALSE(is_valid_cluster_name(std::string(64, 'a')));
  EXPECT_FALSE(is_valid_cluster_name("Prod"));
  EXPECT_FALSE(is_valid_cluster_name("a:b"));
}

TEST(AccountId, OfWorldTellsItsCurrencyWhateverItsShardAndSlot) {
  constexpr CurrencyId kEuro(978);
  const auto any = AccountId::any_world(kEuro);
  EXPECT_TRUE(any.is_world());
  EXPECT_EQ(any.world_currency(), kEuro);
  for (const auto shard : {1, 77, (1 << 30)}) {
    for (const auto slot : {0, AccountId::kWorldSlotsMax - 1}) {
      const auto world = AccountId::world(ShardId(shard), kEuro, slot);
      EXPECT_TRUE(world.is_world());
      EXPECT_EQ(world.world_currency(), kEuro);
      EXPECT_LE(world.value(), AccountId::kMax);
      EXPECT_NE(world, any);
    }
  }
}

TEST(AccountId, OfWorldIsDifferentForEveryShardCurrencyAndSlot) {
  const auto world = AccountId::world(ShardId(3), CurrencyId(978), 5);
  EXPECT_NE(world, AccountId::world(ShardId(4), CurrencyId(978), 5));
  EXPECT_NE(world, AccountId::world(ShardId(3), CurrencyId(999), 5));
  EXPECT_NE(world, AccountId::world(ShardId(3), CurrencyId(978), 6));
  EXPECT_FALSE(AccountId(AccountId::kWorldBit - 1).is_world());
}

}  // namespace
}  // namespace koshel
