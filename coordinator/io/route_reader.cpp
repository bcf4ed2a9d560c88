#include "coordinator/io/route_reader.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/name.hpp"
#include "platform/spawn.hpp"

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

// One statement's names, and who waits for its answer.
struct RouteReader::Question {
  std::vector<std::string> names;
  std::vector<std::shared_ptr<asio::steady_timer>> waiting;  // each until its own deadline
  std::optional<Result<RoutesByName>> answer;
};

RouteReader::RouteReader(asio::any_io_executor loop, directory::DirectoryStore& store,
                         const ShardView& shards, std::size_t routes_max,
                         Duration statement_timeout)
    : loop_(std::move(loop)),
      store_(store),
      shards_(shards),
      cache_(routes_max),
      statement_timeout_(statement_timeout),
      next_question_(std::make_shared<Question>()) {}

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
  const auto question = next_question_;
  question->names.insert(question->names.end(), missing.begin(), missing.end());
  const auto patience = std::make_shared<asio::steady_timer>(loop_, deadline);
  question->waiting.push_back(patience);
  if (!std::exchange(is_asking_, true)) {
    asio::co_spawn(loop_, ask_directory(), platform::end_on_failure);
  }
  boost::system::error_code ignored;  // the answer tells which of the two came first
  co_await patience->async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  if (!question->answer) {
    co_return Error{Fault::Unavailable, "the directory did not answer in time"};
  }
  const auto& answer = *question->answer;
  if (!answer) co_return answer.error();
  for (auto& name : missing) {
    const auto found = answer.value().find(name);
    if (found != answer.value().end()) routes.emplace(std::move(name), found->second);
  }
  co_return routes;
}

// One statement at a time, until nobody waits.
asio::awaitable<void> RouteReader::ask_directory() {
  while (!next_question_->names.empty()) {
    const auto question = std::exchange(next_question_, std::make_shared<Question>());
    auto& names = question->names;
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    auto pending = store_.routes_by_name(std::move(names),
                                         std::chrono::steady_clock::now() + statement_timeout_);
    auto read = co_await std::move(pending);
    if (read) {
      RoutesByName routes;
      for (auto& named : read.value()) {
        learn(named);
        routes.emplace(std::move(named.name), named.route);
      }
      question->answer.emplace(std::move(routes));
    } else {
      question->answer.emplace(read.error());
    }
    for (const auto& patience : question->waiting) patience->cancel();
  }
  is_asking_ = false;
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
