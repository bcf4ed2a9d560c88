#pragma once
// Where users live, as far as this process has learned it. A bounded memory of the directory: a
// missing or old route costs one more read, never a wrong result, because shards check ownership
// themselves. Evicts what was not used since the clock hand last passed. Never asks the directory
// itself.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.hpp"

namespace koshel::directory {

struct Route {
  AccountId account;
  CurrencyId currency;
  ShardId shard;
  RouteVersion version;
  bool operator==(const Route&) const = default;
};

struct NamedRoute {
  std::string name;
  Route route;
  bool operator==(const NamedRoute&) const = default;
};

class RouteCache {
 public:
  explicit RouteCache(std::size_t routes_max);
  ~RouteCache();

  std::optional<Route> find(std::string_view name);
  std::optional<NamedRoute> find(AccountId account);
  // Keeps the higher version when the user is known already.
  void learn(std::string_view name, const Route& route);
  void forget(AccountId account);
  std::size_t size() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace koshel::directory
