#pragma once
// One thing that a session does, once as a program of the model and once as the calls of the real
// daemons, whose results come as the same texts.

#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>

#include "base/result.hpp"
#include "directory/io/decision_log.hpp"
#include "directory/io/directory_store.hpp"
#include "directory/io/rebalance_store.hpp"
#include "platform/postgres.hpp"
#include "tests/honesty/text.hpp"
#include "tests/simulation/postgres/server.hpp"

namespace koshel::honesty {

// A session of the real server: a pool of one connection, and what the daemons ask through it.
struct Session {
  Session(const boost::asio::any_io_executor& loop, const platform::DatabaseConfig& config,
          const std::string& name)
      : pool(loop, config, name), log(pool), store(pool), rebalance(pool) {}

  platform::PgPool pool;
  directory::DecisionLog log;
  directory::DirectoryStore store;
  directory::RebalanceStore rebalance;
  int pid = 0;
  bool is_impatient = false;  // its lock_timeout is short
  bool is_running = false;
  std::optional<Result<std::string>> result;  // of the last operation, until somebody takes it
};

struct Operation {
  std::string text;
  bool fits_block = true;   // may stand in a transaction that was begun
  bool ends_block = false;  // also one in which a statement has failed
  bool is_one_transaction = true;
  bool is_prepare = false;  // its first commit does not wait for the disk, its last one does
  bool is_take_over = false;
  std::function<simulation::Task<std::string>(simulation::Backend&)> on_model;
  std::function<boost::asio::awaitable<Result<std::string>>(Session&)> on_server;
};

// What DecisionLog has made values of are SQLSTATEs, and a transaction they were in has failed.
Result<std::string> as_text(directory::CreateUsersOutcome outcome);
Result<std::string> as_text(directory::MoveUsersOutcome outcome);
Result<std::string> as_text(directory::StartOutcome outcome);
template <class T>
concept Outcome = requires(T value) {
  { as_text(value) } -> std::same_as<Result<std::string>>;
};
template <class T>
simulation::Task<std::string> as_text(simulation::Task<T> program) {
  if constexpr (std::is_void_v<T>) {
    co_await std::move(program);
    co_return "";
  } else {
    const auto value = co_await std::move(program);
    co_return text_of(value);
  }
}
template <class T>
boost::asio::awaitable<Result<std::string>> as_text(boost::asio::awaitable<Result<T>> pending) {
  const auto result = co_await std::move(pending);
  if (!result) co_return result.error();
  if constexpr (std::is_void_v<T>) {
    co_return std::string();
  } else if constexpr (Outcome<T>) {
    co_return as_text(result.value());
  } else {
    co_return text_of(result.value());
  }
}

// Without a model's side yet.
Operation statement(const std::string& sql);
// What `begin` opens and who ends it.
Operation begin_block(simulation::Server& server);
Operation commit_block(simulation::Server& server);
Operation rollback_block(simulation::Server& server);
Operation prepare_block(simulation::Server& server, const std::string& gid);

}  // namespace koshel::honesty
