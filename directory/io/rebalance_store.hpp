#pragma once
// The rebalance in the directory database: what is planned, who carries it out, which users are on
// their way. For the mover, whose every step says as which incarnation it acts and is refused
// (KO012) unless that one holds the rebalance; and for people, who start, pause and look at it.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "directory/logic/rebalance.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {

// As people see it.
struct RebalanceStatus {
  RebalanceState state = RebalanceState::Idle;
  std::int64_t users_total = 0;
  std::int64_t users_moved = 0;
  std::int64_t entries_copied = 0;
  std::optional<int> users_per_second;  // the throttle
  double running_seconds = 0;           // by the database's clock, without those it stood still
  std::string error;                    // what stands in the way, or empty
};

enum class RebalanceAction : std::int8_t { Pause, Resume, Cancel };

enum class StartOutcome : std::int8_t {
  Started,
  InProgress,     // there is one already, or a failed one that has begun to move users
  TargetDrained,  // since the plan was made a target takes no more users
};

enum class DrainShardOutcome : std::int8_t {
  Draining,  // or was so already
  Unknown,
  LastActive,    // its users would have nowhere to go
  IsBeingFilled  // by the rebalance under way
};

enum class RemoveShardOutcome : std::int8_t {
  Removed,
  Unknown,
  Active,  // it must drain first
  HasUsers,
  HasMoves,
  HasRounds,  // commits that it has not confirmed yet
};

class RebalanceStore {
 public:
  explicit RebalanceStore(platform::PgPool& pool) : pool_(pool) {}

  // ---- for the mover

  // Beats if `own` holds the rebalance, or takes it if nobody does or it stood still since
  // `seen_beat`. `entries` were copied since the last beat; `error` is what stands in the way now,
  // or empty.
  boost::asio::awaitable<Result<RebalanceHold>> beat(Incarnation own, std::int64_t seen_beat,
                                                     std::int64_t entries, std::string error);
  boost::asio::awaitable<Result<std::vector<OpenMove>>> open_moves();
  // The next move of the plan, of at most `users_max`; nullopt: none is planned.
  boost::asio::awaitable<Result<std::optional<OpenMove>>> take_move(Incarnation own, int users_max);
  // A move of just these accounts; nullopt: all of them are on their way already.
  boost::asio::awaitable<Result<std::optional<OpenMove>>> take_accounts(
      Incarnation own, ShardId source, ShardId target, std::vector<AccountId> accounts);
  boost::asio::awaitable<Result<void>> end_move(Incarnation own, MoveId move,
                                                std::vector<AccountId> accounts, bool is_cut_over);
  // True: the rebalance is over, failed if there is an `error`; false: something is left to do.
  boost::asio::awaitable<Result<bool>> end(Incarnation own, std::string error);

  // ---- for people; Unavailable at the deadline

  boost::asio::awaitable<Result<RebalanceStatus>> status(Instant deadline);
  boost::asio::awaitable<Result<StartOutcome>> start(std::vector<PlannedMove> plan,
                                                     std::optional<int> users_per_second,
                                                     Instant deadline);
  // False: there is nothing that could be paused, resumed or cancelled. A failed one can be resumed
  // or cancelled.
  boost::asio::awaitable<Result<bool>> act(RebalanceAction action, Instant deadline);
  boost::asio::awaitable<Result<DrainShardOutcome>> drain_shard(std::string name, Instant deadline);
  boost::asio::awaitable<Result<RemoveShardOutcome>> remove_shard(std::string name,
                                                                  Instant deadline);

 private:
  platform::PgPool& pool_;
};

}  // namespace koshel::directory
