#pragma once
// The directory's database in the model: the tables of sql/directory and, as programs, what
// directory/io runs on it. Statement by statement the same; tests/honesty runs both on the same
// scripts.

#include <set>

#include "coordinator/logic/events.hpp"
#include "directory/logic/rebalance.hpp"
#include "directory/logic/route_cache.hpp"
#include "tests/simulation/postgres/table.hpp"

namespace koshel::simulation {

using directory::CreateUsersOutcome;
using directory::Decision;
using directory::NamedRoute;

// Of the table shards: those that are known only are in service nowhere yet.
enum class ShardService : std::int8_t { Known, Active, Draining };
struct ShardRow {
  int weight = 100;
  ShardService state = ShardService::Active;
};
using ShardRows = std::map<ShardId, ShardRow>;

class DirectoryDatabase {
 public:
  explicit DirectoryDatabase(Server& server);

  // ---- programs

  Task<Decision> decide(Backend& backend, RoundId round, Decision wish,
                        std::vector<ShardId> participants);
  // Throws KO010, KO011, KO013 as the SQL function does.
  Task<void> create_users(Backend& backend, RoundId round, std::vector<ShardId> participants,
                          std::vector<coordinator::CreateUsers::User> users);
  Task<directory::LogState> keep(Backend& backend, Incarnation own, Sequence fence);
  Task<std::vector<directory::CommittedRound>> close(Backend& backend, Incarnation silent,
                                                     std::size_t limit);
  Task<void> forget(Backend& backend, Incarnation closed, std::vector<Sequence> rounds);
  Task<directory::Fences> fences(Backend& backend);
  Task<Incarnation> next_incarnation(Backend& backend);
  Task<std::vector<AccountId>> new_user_ids(Backend& backend, int count);
  Task<std::vector<NamedRoute>> routes_by_name(Backend& backend, std::vector<std::string> names);
  Task<std::vector<NamedRoute>> routes_by_account(Backend& backend,
                                                  std::vector<AccountId> accounts);
  Task<ShardRows> shards_in_service(Backend& backend);
  Task<std::map<ShardId, std::int64_t>> users_per_shard(Backend& backend);

  // Of directory/io/rebalance_store.cpp and of DecisionLog::move_users: throw KO010, KO012, KO013
  // as the SQL functions do.
  Task<void> move_users(Backend& backend, RoundId round, std::vector<ShardId> participants,
                        coordinator::MoveUsers moving);
  Task<directory::RebalanceHold> beat_rebalance(Backend& backend, Incarnation own,
                                                coordinator::BeatRebalance beat);
  Task<std::vector<directory::OpenMove>> open_moves(Backend& backend);
  Task<std::optional<directory::OpenMove>> take_move(Backend& backend, Incarnation own,
                                                     int users_max);
  Task<std::optional<directory::OpenMove>> take_accounts(Backend& backend, Incarnation own,
                                                         ShardId source, ShardId target,
                                                         std::vector<AccountId> accounts);
  Task<void> end_move(Backend& backend, Incarnation own, coordinator::EndMove end);
  // False: something is left.
  Task<bool> end_rebalance(Backend& backend, Incarnation own, std::string error);
  // False: there is one.
  Task<bool> start_rebalance(Backend& backend, std::vector<directory::PlannedMove> plan,
                             std::optional<int> users_per_second);
  // False: it is in none of the states that it is to be led from.
  Task<bool> act_on_rebalance(Backend& backend, directory::RebalanceState to,
                              std::vector<directory::RebalanceState> from);
  Task<std::string> drain_shard(Backend& backend, ShardId shard);
  Task<void> set_weight(Backend& backend, ShardId shard, int weight);  // and takes it in service
  Task<directory::RebalanceState> rebalance_state(Backend& backend);

  // ---- tables

  struct Verdict {
    bool is_commit = false;
    std::vector<ShardId> participants;
    int asked = 0;
  };
  struct Start {
    Sequence fence;
    bool is_closed = false;
  };
  struct Counters {
    std::int64_t last_user = 0;
    std::int64_t last_incarnation = 0;
  };
  Table<int, Counters> cluster;
  Table<std::string, NamedRoute> users;
  Table<AccountId, std::string> names;  // the primary key of users
  Table<RoundId, Verdict> decisions;
  Table<Incarnation, Start> incarnations;
  Table<Incarnation, std::int64_t> beats;
  Table<ShardId, ShardRow> shards;
  struct Rebalance {
    directory::RebalanceState state = directory::RebalanceState::Idle;
    std::optional<int> users_per_second;
    std::int64_t users_total = 0;
    std::int64_t users_moved = 0;
    std::int64_t entries_copied = 0;
    std::string error;  // empty: null
    std::optional<Incarnation> holder;
    std::int64_t beat = 0;
    std::int64_t last_move = 0;
  };
  Table<int, Rebalance> rebalance;
  Table<std::pair<ShardId, ShardId>, std::int64_t> planned_moves;
  struct MovingUser {
    MoveId move;
    ShardId source;
    ShardId target;
    bool is_cut_over = false;
  };
  Table<AccountId, MovingUser> moves;

  Server& server() { return server_; }
  // Told once the decision can no longer be lost.
  std::function<void(RoundId round, bool is_commit)> on_decision;

 private:
  Task<std::optional<Sequence>> fence_of(Backend& backend, Incarnation incarnation);
  Task<Verdict> ask(Backend& backend, RoundId round, Verdict wish);
  Task<void> share_active_shards(Backend& backend, std::vector<ShardId> wanted);
  Task<Rebalance*> check_mover(Backend& backend, Incarnation own);
  Task<std::int64_t> cut_over(Backend& backend, const coordinator::MoveUsers& moving);
  Task<std::int64_t> reroute(Backend& backend, const coordinator::MoveUsers& moving);
  Task<std::optional<directory::OpenMove>> insert_moves(Backend& backend, MovingUser moving,
                                                        std::vector<AccountId> accounts);
  std::vector<AccountId> users_to_move(const Backend& backend, ShardId source,
                                       std::int64_t limit) const;
  std::optional<std::pair<ShardId, ShardId>> next_planned(const Backend& backend) const;
  void tell_when_durable(Backend& backend, RoundId round, bool is_commit);
  Task<bool> beat(Backend& backend, Incarnation own);
  Task<void> forget_rounds(Backend& backend, Incarnation own, Sequence fence);

  Server& server_;
};

}  // namespace koshel::simulation
