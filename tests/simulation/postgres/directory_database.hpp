#pragma once
// The directory's database in the model: the tables of sql/directory and, as programs, what
// directory/io runs on it. Statement by statement the same; tests/honesty runs both on the same
// scripts.

#include <set>

#include "coordinator/logic/events.hpp"
#include "directory/logic/route_cache.hpp"
#include "tests/simulation/postgres/table.hpp"

namespace koshel::simulation {

using directory::CreateUsersOutcome;
using directory::Decision;
using directory::NamedRoute;

class DirectoryDatabase {
 public:
  explicit DirectoryDatabase(Server& server);

  // ---- programs

  Task<Decision> decide(Backend& backend, RoundId round, Decision wish,
                        std::vector<ShardId> participants);
  // Throws KO010, KO011 as the SQL function does.
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
  Task<int> ping(Backend& backend);  // stands for any reading

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

  Server& server() { return server_; }
  // Told once the decision can no longer be lost.
  std::function<void(RoundId round, bool is_commit)> on_decision;

 private:
  Task<std::optional<Sequence>> fence_of(Backend& backend, Incarnation incarnation);
  Task<Verdict> ask(Backend& backend, RoundId round, Verdict wish);
  void tell_when_durable(Backend& backend, RoundId round, bool is_commit);
  Task<bool> beat(Backend& backend, Incarnation own);
  Task<void> forget_rounds(Backend& backend, Incarnation own, Sequence fence);

  Server& server_;
};

}  // namespace koshel::simulation
