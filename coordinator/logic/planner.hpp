#pragma once
// Which users should live where: each active shard gets its share by weight, a draining one gets
// none. Pure: shards in, moves out. A shard only gives or only takes, so nobody is moved twice in
// one plan; and what the plan leads to is what it wants, so that the next one is empty.

#include <vector>

#include "directory/logic/rebalance.hpp"

namespace koshel::coordinator {

struct ShardLoad {
  ShardId shard;
  int weight = 100;  // above 0
  bool is_draining = false;
  std::int64_t users = 0;
};

// Moves as few users as can be; what drains goes first. Empty if no shard is active.
std::vector<directory::PlannedMove> plan_rebalance(std::vector<ShardLoad> shards);

}  // namespace koshel::coordinator
