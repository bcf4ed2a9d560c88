#pragma once
// What is said to the rebalance in the directory and by it, as plain values: the directory's own
// I/O and the coordinator's logic share them. The rules stand in sql/directory/0002_rebalance.sql.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/ids.hpp"

namespace koshel::directory {

enum class RebalanceState : std::int8_t { Idle, Running, Paused, Cancelling, Failed };
std::string_view to_string(RebalanceState state);

// What a planner wants: so many users, whichever, are to go from one shard to another.
struct PlannedMove {
  ShardId source;
  ShardId target;
  std::int64_t users = 0;
  bool operator==(const PlannedMove&) const = default;
};

// Accounts that move together.
struct OpenMove {
  struct Account {
    AccountId account;
    bool is_cut_over = false;  // owned by the target already; its old copy is left
    bool operator==(const Account&) const = default;
  };
  MoveId move;
  ShardId source;
  ShardId target;
  std::vector<Account> accounts;
  bool operator==(const OpenMove&) const = default;
};

// Who holds the rebalance, as a coordinator learns when it beats. A `beat` that stands still is
// nobody's.
struct RebalanceHold {
  RebalanceState state = RebalanceState::Idle;
  std::optional<int> users_per_second;
  std::optional<Incarnation> holder;
  std::int64_t beat = 0;
};

enum class MoveUsersOutcome : std::int8_t {
  Moved,  // the routes are changed and the round is committed
  // nothing was written: somebody else holds the rebalance, or has gone on with the moves
  NotAsBelieved,
  Decided,  // nothing was written: the round was decided (aborted) or fenced off by others
};

}  // namespace koshel::directory
