#pragma once
// Users, shards and incarnations in the directory database. Batched: each call is one statement (or
// one transaction) however many names it carries. Keeps nothing in memory but a block of fresh user
// ids.

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "directory/logic/route_cache.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {

enum class ShardState { Active, Draining };
std::string_view to_string(ShardState state);

struct Shard {
  ShardId id;
  std::string name;
  std::string agent;  // URL
  int weight = 100;
  ShardState state = ShardState::Active;
};

struct ShardUsers {
  ShardId shard;
  std::int64_t users = 0;
};

enum class AddShardOutcome {
  Added,
  AlreadyExists,  // a shard of that name is in service
  Unknown,        // `koshel init` has not registered a shard of that name
};

// What a round that creates users wants of the directory.
struct NewUser {
  std::string name;
  Route route;
};

// Of a coordinator.
struct Start {
  Incarnation incarnation;
  std::string cluster_id;  // the same for ever, and no other directory's
};

// Unavailable unless it is the directory of the cluster with this id: another one, or none yet.
Result<void> check_cluster_id(pqxx::connection& connection, const std::string& wanted);

class DirectoryStore {
 public:
  explicit DirectoryStore(platform::PgPool& pool);

  // Error (Internal) with a sentence unless the database is a directory of this cluster at our
  // schema, on a server whose commits outlive a crash.
  boost::asio::awaitable<Result<void>> check(std::string cluster);
  boost::asio::awaitable<Result<Start>> next_incarnation();

  // Below, what has a deadline is Unavailable when it passes.

  // Those that exist, in no particular order.
  boost::asio::awaitable<Result<std::vector<NamedRoute>>> routes_by_name(
      std::vector<std::string> names, Instant deadline);
  boost::asio::awaitable<Result<std::vector<NamedRoute>>> routes_by_account(
      std::vector<AccountId> accounts, Instant deadline);
  // A page of users in the order of their ids, those above `after`.
  boost::asio::awaitable<Result<std::vector<NamedRoute>>> users_after(AccountId after, int limit,
                                                                      Instant deadline);

  // `count` ids nobody had before or will have again.
  boost::asio::awaitable<Result<std::vector<AccountId>>> new_user_ids(int count, Instant deadline);

  boost::asio::awaitable<Result<std::vector<Shard>>> shards(
      Instant deadline);  // those in service, by id
  boost::asio::awaitable<Result<std::vector<ShardUsers>>> users_per_shard(Instant deadline);
  boost::asio::awaitable<Result<AddShardOutcome>> add_shard(Shard shard);  // by name; id is ignored
  // What is absent stays. False: no shard of this name is in service.
  boost::asio::awaitable<Result<bool>> change_shard(std::string name,
                                                    std::optional<std::string> agent,
                                                    std::optional<int> weight, Instant deadline);

 private:
  platform::PgPool& pool_;
  std::vector<AccountId> fresh_ids_;
};

}  // namespace koshel::directory
