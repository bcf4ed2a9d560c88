#pragma once
// Routes by name or account, from the cache or, for those missing, from the directory in one
// statement.

#include <boost/asio/awaitable.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <string>
#include <vector>

#include "coordinator/io/shard_view.hpp"
#include "directory/io/directory_store.hpp"
#include "directory/logic/route_cache.hpp"

namespace koshel::coordinator {

using RoutesByName = boost::unordered_flat_map<std::string, directory::Route>;
using NamesByAccount = boost::unordered_flat_map<AccountId, std::string, std::hash<AccountId>>;

class RouteReader {
 public:
  RouteReader(directory::DirectoryStore& store, const ShardView& shards, std::size_t routes_max)
      : store_(store), shards_(shards), cache_(routes_max) {}

  // Each reads the directory for what is not cached: Unavailable at the deadline.

  // Those of the names that are users'; others are absent from the answer.
  boost::asio::awaitable<Result<RoutesByName>> by_name(std::vector<std::string> names,
                                                       Instant deadline);
  boost::asio::awaitable<Result<std::optional<directory::NamedRoute>>> by_account(AccountId account,
                                                                                  Instant deadline);
  // Names of users; @world is known without asking.
  boost::asio::awaitable<Result<NamesByAccount>> names(std::vector<AccountId> accounts,
                                                       Instant deadline);

  void learn(const directory::NamedRoute& route) { cache_.learn(route.name, route.route); }
  void forget(AccountId account) { cache_.forget(account); }
  std::size_t cached() const { return cache_.size(); }

 private:
  // A route to a shard that is no longer in service is none.
  template <class Key>
  auto find(const Key& key) -> decltype(std::declval<directory::RouteCache>().find(key));

  directory::DirectoryStore& store_;
  const ShardView& shards_;
  directory::RouteCache cache_;
};

}  // namespace koshel::coordinator
