#include "directory/io/directory_store.hpp"

#include <algorithm>
#include <cstdlib>

#include "platform/durability.hpp"
#include "platform/migrations.hpp"
#include "platform/pg_array.hpp"
#include "sql/migrations.hpp"

namespace koshel::directory {

namespace asio = boost::asio;
using platform::pg_array;

namespace {

NamedRoute route_of_row(const pqxx::row& row) {
  return {row[1].as<std::string>(),
          {AccountId(row[0].as<std::int64_t>()), CurrencyId(row[2].as<std::int16_t>()),
           ShardId(row[3].as<std::int32_t>()), RouteVersion(row[4].as<std::int64_t>())}};
}

std::vector<NamedRoute> routes_of(const pqxx::result& rows) {
  std::vector<NamedRoute> routes;
  routes.reserve(static_cast<std::size_t>(rows.size()));
  for (const auto& row : rows) routes.push_back(route_of_row(row));
  return routes;
}

ShardState state_of(const std::string& text) {
  return text == "draining" ? ShardState::Draining : ShardState::Active;
}

}  // namespace

std::string_view to_string(ShardState state) {
  switch (state) {
    case ShardState::Active:
      return "active";
    case ShardState::Draining:
      return "draining";
  }
  std::abort();
}

DirectoryStore::DirectoryStore(platform::PgPool& pool) : pool_(pool) {}

asio::awaitable<Result<void>> DirectoryStore::check(std::string cluster) {
  auto find_faults = [](pqxx::connection& connection) {
    std::vector<Error> faults;
    const auto schema = platform::check_schema(connection, sql::directory_migrations());
    if (!schema) faults.push_back(schema.error());
    const auto durability = platform::check_durability(connection);
    if (!durability) faults.push_back(durability.error());
    return faults;
  };
  auto pending = pool_.run(std::move(find_faults));
  const auto faults = co_await std::move(pending);
  if (!faults) co_return faults.error();
  if (!faults.value().empty()) co_return faults.value().front();

  auto read_name = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto rows = session.exec("select name from cluster");
    return rows.empty() ? std::string() : rows[0][0].as<std::string>();
  };
  auto pending_name = pool_.run(std::move(read_name));
  const auto name = co_await std::move(pending_name);
  if (!name) co_return name.error();
  if (name.value() != cluster) {
    co_return Error{Fault::Internal, "the directory is that of cluster \"" + name.value() +
                                         "\", the config says \"" + cluster + "\""};
  }
  co_return success();
}

namespace {
// A counter in a row, not a sequence: a sequence may give a number twice after a crash.
constexpr auto kNextIncarnation =
    "with next as (update cluster set last_incarnation = last_incarnation + 1 "
    "returning last_incarnation as number, id as cluster), "
    "made as (insert into incarnations (id) select number from next returning id) "
    "select made.id, next.cluster::text from made, next";
}  // namespace

asio::awaitable<Result<Start>> DirectoryStore::next_incarnation() {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto row = session.exec(kNextIncarnation)[0];
    return Start{Incarnation(row[0].as<std::int64_t>()), row[1].as<std::string>()};
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
std::string read_cluster_id(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  return session.exec("select id::text from cluster")[0][0].as<std::string>();
}
}  // namespace

Result<void> check_cluster_id(pqxx::connection& connection, const std::string& wanted) {
  const auto found = platform::guarded([&] { return read_cluster_id(connection); });
  if (!found) return found.error();
  if (found.value() == wanted) return success();
  return Error{Fault::Unavailable, "this directory is that of another cluster (" + found.value() +
                                       "), not the one that this shard belongs to (" + wanted +
                                       "): correct `directory:` in the config"};
}

namespace {
constexpr auto kRoutesByName =
    "select u.id, u.name, u.currency, u.shard, u.version from unnest($1::text[]) as q (name) "
    "join users u on u.name = q.name collate \"C\"";
}  // namespace

asio::awaitable<Result<std::vector<NamedRoute>>> DirectoryStore::routes_by_name(
    std::vector<std::string> names, Instant deadline) {
  auto work = [names = std::move(names)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto array =
        pg_array(names, [](const std::string& name) -> std::string_view { return name; });
    return routes_of(session.exec_params(kRoutesByName, array));
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kRoutesByAccount =
    "select u.id, u.name, u.currency, u.shard, u.version from unnest($1::bigint[]) as q (id) "
    "join users u on u.id = q.id";
}  // namespace

asio::awaitable<Result<std::vector<NamedRoute>>> DirectoryStore::routes_by_account(
    std::vector<AccountId> accounts, Instant deadline) {
  auto work = [accounts = std::move(accounts)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto array = pg_array(accounts, [](AccountId account) { return account.value(); });
    return routes_of(session.exec_params(kRoutesByAccount, array));
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kUsersAfter =
    "select id, name, currency, shard, version from users where id > $1 order by id limit $2";
}  // namespace

asio::awaitable<Result<std::vector<NamedRoute>>> DirectoryStore::users_after(AccountId after,
                                                                             int limit,
                                                                             Instant deadline) {
  auto work = [after, limit](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return routes_of(session.exec_params(kUsersAfter, after.value(), limit));
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kTakeUserIds = "update cluster set last_user = last_user + $1 returning last_user";
constexpr int kIdBlock = 1024;  // a block is one commit; what is left of it waits for the next call
}  // namespace

asio::awaitable<Result<std::vector<AccountId>>> DirectoryStore::new_user_ids(int count,
                                                                             Instant deadline) {
  const auto wanted = static_cast<std::size_t>(count);
  if (fresh_ids_.size() < wanted) {
    const int block = std::max(count, kIdBlock);
    auto work = [block](pqxx::connection& connection) {
      pqxx::nontransaction session(connection);
      return session.exec_params(kTakeUserIds, block)[0][0].as<std::int64_t>();
    };
    auto pending = pool_.run(std::move(work), deadline);
    const auto last = co_await std::move(pending);
    if (!last) co_return last.error();
    for (auto id = last.value(); id > last.value() - block; --id) fresh_ids_.emplace_back(id);
  }
  std::vector<AccountId> ids(fresh_ids_.end() - count, fresh_ids_.end());
  fresh_ids_.resize(fresh_ids_.size() - wanted);
  std::ranges::sort(ids);
  co_return ids;
}

namespace {
constexpr auto kShards =
    "select id, name, agent, weight, state from shards where state <> 'known' order by id";
}  // namespace

asio::awaitable<Result<std::vector<Shard>>> DirectoryStore::shards(Instant deadline) {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    std::vector<Shard> shards;
    for (const auto& row : session.exec(kShards)) {
      shards.push_back({ShardId(row[0].as<std::int32_t>()), row[1].as<std::string>(),
                        row[2].as<std::string>(), row[3].as<int>(),
                        state_of(row[4].as<std::string>())});
    }
    return shards;
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::vector<ShardUsers>>> DirectoryStore::users_per_shard(Instant deadline) {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    std::vector<ShardUsers> counts;
    for (const auto& row : session.exec("select shard, count(*) from users group by shard")) {
      counts.push_back({ShardId(row[0].as<std::int32_t>()), row[1].as<std::int64_t>()});
    }
    return counts;
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kAddShard =
    "update shards set agent = $2, weight = $3, state = 'active' "
    "where name = $1 and state = 'known'";
}  // namespace

asio::awaitable<Result<AddShardOutcome>> DirectoryStore::add_shard(Shard shard) {
  auto work = [shard = std::move(shard)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    if (session.exec_params(kAddShard, shard.name, shard.agent, shard.weight).affected_rows() ==
        1) {
      return AddShardOutcome::Added;
    }
    return session.exec_params("select from shards where name = $1", shard.name).empty()
               ? AddShardOutcome::Unknown
               : AddShardOutcome::AlreadyExists;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kChangeShard =
    "update shards set agent = coalesce($2, agent), weight = coalesce($3, weight) "
    "where name = $1 and state <> 'known'";
}  // namespace

asio::awaitable<Result<bool>> DirectoryStore::change_shard(std::string name,
                                                           std::optional<std::string> agent,
                                                           std::optional<int> weight,
                                                           Instant deadline) {
  auto work = [name = std::move(name), agent = std::move(agent),
               weight](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return session.exec_params(kChangeShard, name, agent, weight).affected_rows() == 1;
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

}  // namespace koshel::directory
