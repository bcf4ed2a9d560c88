#include "coordinator/logic/planner.hpp"

#include <algorithm>

namespace koshel::coordinator {
namespace {

using directory::PlannedMove;

__extension__ using Wide = __int128;  // all users times a weight

struct Balance {
  ShardLoad load;
  Wide share = 0;  // the users it should have
  Wide excess() const { return load.users - share; }
};

// The whole part of each active shard's share; users that are left over stay where they are: with
// those who have most above that.
void set_shares(std::vector<Balance>& shards) {
  Wide users = 0;
  Wide weights = 0;
  for (const auto& [load, share] : shards) {
    users += load.users;
    if (!load.is_draining) weights += load.weight;
  }
  Wide left_over = users;
  std::vector<Balance*> active;
  for (auto& shard : shards) {
    if (shard.load.is_draining) continue;
    shard.share = users * shard.load.weight / weights;
    left_over -= shard.share;
    active.push_back(&shard);
  }
  std::ranges::stable_sort(
      active, [](const auto* one, const auto* other) { return one->excess() > other->excess(); });
  for (auto* shard : active) {
    if (left_over-- > 0) ++shard->share;
  }
}

}  // namespace

std::vector<PlannedMove> plan_rebalance(std::vector<ShardLoad> loads) {
  if (std::ranges::all_of(loads, &ShardLoad::is_draining)) return {};
  std::ranges::sort(loads, {}, &ShardLoad::shard);
  std::vector<Balance> shards;
  for (const auto& load : loads) shards.push_back({load});
  set_shares(shards);
  std::stable_partition(shards.begin(), shards.end(),
                        [](const auto& shard) { return shard.load.is_draining; });

  std::vector<PlannedMove> moves;
  auto target = shards.begin();
  Wide room = 0;  // of the target
  for (const auto& source : shards) {
    for (Wide excess = source.excess(); excess > 0;) {
      while (room <= 0) room = -(target++)->excess();
      const auto users = std::min(excess, room);
      moves.push_back(
          {source.load.shard, std::prev(target)->load.shard, static_cast<std::int64_t>(users)});
      excess -= users;
      room -= users;
    }
  }
  return moves;
}

}  // namespace koshel::coordinator
