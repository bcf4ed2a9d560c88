#include "coordinator/logic/planner.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>

namespace koshel::coordinator {
namespace {

using directory::PlannedMove;

constexpr auto kMany = std::numeric_limits<std::int64_t>::max();

ShardLoad shard(std::int32_t id, std::int64_t users, int weight = 100) {
  return {ShardId(id), weight, false, users};
}

ShardLoad draining(std::int32_t id, std::int64_t users) {
  return {ShardId(id), 100, true, users};
}

PlannedMove move(std::int32_t source, std::int32_t target, std::int64_t users) {
  return {ShardId(source), ShardId(target), users};
}

std::vector<ShardLoad> carried_out(std::vector<ShardLoad> shards,
                                   const std::vector<PlannedMove>& moves) {
  for (const auto& [source, target, users] : moves) {
    std::ranges::find(shards, source, &ShardLoad::shard)->users -= users;
    std::ranges::find(shards, target, &ShardLoad::shard)->users += users;
  }
  return shards;
}

std::int64_t moved(const std::vector<PlannedMove>& moves) {
  return std::accumulate(moves.begin(), moves.end(), std::int64_t{0},
                         [](std::int64_t sum, const PlannedMove& m) { return sum + m.users; });
}

std::vector<std::vector<ShardLoad>> many_clusters() {
  std::mt19937 random(20261128);
  const auto up_to = [&](int most) { return static_cast<int>(random() % (most + 1u)); };
  std::vector<std::vector<ShardLoad>> clusters;
  for (int i = 0; i < 5000; ++i) {
    std::vector<ShardLoad> shards;
    const int users_max = i % 2 == 0 ? 5 : 1'000'000;
    for (int id = 1 + up_to(7); id > 0; --id) {
      shards.push_back({ShardId(id), 1 + up_to(300), up_to(3) == 0, up_to(users_max)});
    }
    clusters.push_back(shards);
  }
  return clusters;
}

// The fewest users that can move: as many as are above the shares, for the best choice of who gets
// one of those that are left over.
std::int64_t fewest(const std::vector<ShardLoad>& shards) {
  std::int64_t users = 0, weights = 0, floors = 0, excess = 0, with_excess = 0;
  for (const auto& load : shards) {
    users += load.users;
    weights += load.is_draining ? 0 : load.weight;
  }
  for (const auto& load : shards) {
    const auto share = load.is_draining ? 0 : users * load.weight / weights;
    floors += share;
    excess += std::max<std::int64_t>(0, load.users - share);
    if (!load.is_draining && load.users > share) ++with_excess;
  }
  return excess - std::min(users - floors, with_excess);
}

TEST(Planner, MovesNobodyInABalancedCluster) {
  EXPECT_EQ(plan_rebalance({shard(1, 50), shard(2, 50)}), std::vector<PlannedMove>());
  EXPECT_EQ(plan_rebalance({shard(1, 10, 100), shard(2, 20, 200)}), std::vector<PlannedMove>());
  EXPECT_EQ(plan_rebalance({shard(1, 0), shard(2, 0)}), std::vector<PlannedMove>());
}

TEST(Planner, LeavesWhoIsLeftOverWhereHeIs) {
  EXPECT_EQ(plan_rebalance({shard(1, 33), shard(2, 34), shard(3, 33)}), std::vector<PlannedMove>());
  EXPECT_EQ(plan_rebalance({shard(1, 33), shard(2, 33), shard(3, 34)}), std::vector<PlannedMove>());
  EXPECT_EQ(plan_rebalance({shard(1, 0), shard(2, 1)}), std::vector<PlannedMove>());
}

TEST(Planner, FillsANewShardFromAllOthers) {
  EXPECT_EQ(plan_rebalance({shard(1, 600), shard(2, 600), shard(3, 0)}),
            (std::vector{move(1, 3, 200), move(2, 3, 200)}));
}

TEST(Planner, GivesAShardItsShareByWeight) {
  EXPECT_EQ(plan_rebalance({shard(1, 400, 100), shard(2, 0, 300)}), std::vector{move(1, 2, 300)});
}

TEST(Planner, EmptiesWhatDrainsFirst) {
  EXPECT_EQ(plan_rebalance({shard(1, 100), draining(2, 50), shard(3, 0)}),
            (std::vector{move(2, 3, 50), move(1, 3, 25)}));
  EXPECT_EQ(plan_rebalance({draining(1, 7), shard(2, 0)}), std::vector{move(1, 2, 7)});
}

TEST(Planner, PlansNothingWithoutAnActiveShard) {
  EXPECT_TRUE(plan_rebalance({}).empty());
  EXPECT_TRUE(plan_rebalance({draining(1, 7), draining(2, 7)}).empty());
}

TEST(Planner, DoesNotAskForTheOrderOfTheShards) {
  for (auto shards : many_clusters()) {
    const auto plan = plan_rebalance(shards);
    std::ranges::reverse(shards);
    EXPECT_EQ(plan_rebalance(shards), plan);
  }
}

TEST(Planner, LeadsToWhatItWants) {
  for (const auto& shards : many_clusters()) {
    const auto after = carried_out(shards, plan_rebalance(shards));
    EXPECT_TRUE(plan_rebalance(after).empty());
    const bool has_active = !std::ranges::all_of(shards, &ShardLoad::is_draining);
    for (const auto& load : after) {
      EXPECT_GE(load.users, 0);
      if (has_active && load.is_draining) {
        EXPECT_EQ(load.users, 0);
      }
    }
  }
}

TEST(Planner, LetsNoShardBothGiveAndTake) {
  for (const auto& shards : many_clusters()) {
    std::set<ShardId> sources, targets;
    std::set<std::pair<ShardId, ShardId>> pairs;
    for (const auto& [source, target, users] : plan_rebalance(shards)) {
      EXPECT_GT(users, 0);
      sources.insert(source);
      targets.insert(target);
      EXPECT_TRUE(pairs.emplace(source, target).second);
    }
    for (const auto& source : sources) EXPECT_FALSE(targets.contains(source));
    for (const auto& load : shards) {
      if (load.is_draining) {
        EXPECT_FALSE(targets.contains(load.shard));
      }
    }
  }
}

TEST(Planner, MovesAsFewUsersAsCanBe) {
  for (const auto& shards : many_clusters()) {
    if (std::ranges::all_of(shards, &ShardLoad::is_draining)) continue;
    EXPECT_EQ(moved(plan_rebalance(shards)), fewest(shards));
  }
}

TEST(Planner, CountsMoreUsersThanFitIntoANumber) {
  const std::vector shards{shard(1, kMany, 10'000), shard(2, kMany, 9'999), draining(3, kMany),
                           shard(4, 0, 1)};
  std::map<ShardId, std::int64_t> left;
  for (const auto& load : shards) left[load.shard] = load.users;
  for (const auto& [source, target, users] : plan_rebalance(shards)) {
    EXPECT_GT(users, 0);
    left[source] -= users;
    EXPECT_GE(left[source], 0);
  }
  EXPECT_EQ(left[ShardId(3)], 0);
  EXPECT_EQ(plan_rebalance({shard(1, kMany), shard(2, kMany - 2)}), std::vector{move(1, 2, 1)});
}

}  // namespace
}  // namespace koshel::coordinator
