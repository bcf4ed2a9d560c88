#include "coordinator/io/route_reader.hpp"

#include <algorithm>

#include "base/name.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {
ShardId shard_of(const directory::Route& route) {
  return route.shard;
}
ShardId shard_of(const directory::NamedRoute& named) {
  return named.route.shard;
}
}  // namespace

template <class Key>
auto RouteReader::find(const Key& key)
    -> decltype(std::declval<directory::RouteCache>().find(key)) {
  auto route = cache_.find(key);
  if (route && !shards_.has(shard_of(*route))) return std::nullopt;
  return route;
}

asio::awaitable<Result<RoutesByName>> RouteReader::by_name(std::vector<std::string> names,
                                                           Instant deadline) {
  RoutesByName routes;
  std::vector<std::string> missing;
  for (auto& name : names) {
    if (routes.contains(name)) continue;
    if (const auto route = find(std::string_view(name))) {
      routes.emplace(std::move(name), *route);
    } else {
      missing.push_back(std::move(name));
    }
  }
  if (missing.empty()) co_return routes;
  std::ranges::sort(missing);
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  auto pending = store_.routes_by_name(std::move(missing), deadline);
  auto read = co_await std::move(pending);
  if (!read) co_return read.error();
  for (auto& named : read.value()) {
    learn(named);
    routes.emplace(std::move(named.name), named.route);
  }
  co_return routes;
}

asio::awaitable<Result<std::optional<directory::NamedRoute>>> RouteReader::by_account(
    AccountId account, Instant deadline) {
  if (auto cached = find(account)) co_return std::optional(std::move(*cached));
  std::vector<AccountId> asked{account};
  auto pending = store_.routes_by_account(std::move(asked), deadline);
  auto read = co_await std::move(pending);
  if (!read) co_return read.error();
  if (read.value().empty()) co_return std::optional<directory::NamedRoute>();
  learn(read.value().front());
  co_return std::optional(std::move(read.value().front()));
}

asio::awaitable<Result<NamesByAccount>> RouteReader::names(std::vector<AccountId> accounts,
                                                           Instant deadline) {
  NamesByAccount names;
  std::vector<AccountId> missing;
  for (const auto account : accounts) {
    if (names.contains(account) || account == AccountId()) continue;
    if (account.is_world()) {
      names.emplace(account, std::string(kWorldName));
    } else if (auto cached = cache_.find(account)) {
      names.emplace(account, std::move(cached->name));
    } else {
      missing.push_back(account);
    }
  }
  if (missing.empty()) co_return names;
  std::ranges::sort(missing);
  missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
  auto pending = store_.routes_by_account(std::move(missing), deadline);
  auto read = co_await std::move(pending);
  if (!read) co_return read.error();
  for (auto& named : read.value()) {
    learn(named);
    names.emplace(named.route.account, std::move(named.name));
  }
  co_return names;
}

}  // namespace koshel::coordinator
