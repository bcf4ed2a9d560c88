#pragma once
// Routes by name or account, from the cache or, for those missing, from the directory in one
// statement. Names that requests ask for while such a statement is on its way go together in the
// next one: a coordinator that has yet to learn where users live asks the directory as rarely as it
// can, and leaves the directory's sessions to decisions.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <memory>
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
  // A statement that has no answer within `statement_timeout` has failed.
  RouteReader(boost::asio::any_io_executor loop, directory::DirectoryStore& store,
              const ShardView& shards, std::size_t routes_max, Duration statement_timeout);

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

  struct Question;
  boost::asio::awaitable<void> ask_directory();

  boost::asio::any_io_executor loop_;
  directory::DirectoryStore& store_;
  const ShardView& shards_;
  directory::RouteCache cache_;
  Duration statement_timeout_;
  std::shared_ptr<Question> next_question_;  // bounded by the requests in work
  bool is_asking_ = false;
};

}  // namespace koshel::coordinator
