#pragma once
// PostgreSQL for a daemon with one event-loop thread: a bounded pool of threads, each the owner of
// one blocking libpqxx connection. Work is a function of the connection; its result comes back on
// the loop. Library exceptions end here: they become an Error that says whether anything can have
// happened. A broken connection is thrown away, never silently revived; the next work opens a new
// one.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <string>
#include <type_traits>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "platform/config.hpp"

namespace koshel::platform {

// Runs `work` and turns what libpqxx throws into an Error:
//   connection broken before or while it ran  InDoubt (the caller knows if it had begun to write)
//   an SQLSTATE                               as base/sqlstate.hpp says, with `sqlstate` set
// Work that returns a Result itself is not wrapped twice.
template <class T>
struct GuardedResult {
  using type = Result<T>;
};
template <class T>
struct GuardedResult<Result<T>> {
  using type = Result<T>;
};
template <class Work>
using Guarded = typename GuardedResult<std::invoke_result_t<Work>>::type;
template <class Work>
Guarded<Work> guarded(Work&& work);
Error error_of_current_exception();

// Opens a connection with the session settings every Koshel session has (jit off, READ COMMITTED,
// time-outs of the config, UTF8, application_name). Unavailable when it cannot be had.
Result<std::unique_ptr<pqxx::connection>> connect(const DatabaseConfig& config,
                                                  const std::string& application_name);

// What becomes of a session that the server has closed while it was idle.
enum class IdleLoss {
  Reconnect,  // nothing was lost: the next work runs on a new one
  Tell,       // the next work does not run, it is Unavailable: its owner has to look anew
};

// Of a new session, before it is used: an error, and no work runs on it. On a thread of the pool.
using SessionCheck = std::function<Result<void>(pqxx::connection&)>;

class PgPool {
 public:
  PgPool(boost::asio::any_io_executor loop, DatabaseConfig config, std::string application_name,
         IdleLoss idle_loss = IdleLoss::Reconnect, SessionCheck check = {});
  ~PgPool();  // waits for running work; work that still waits gets Unavailable

  // Runs `work` on a pool thread; `done` on the loop, exactly once. Refused at once with Overloaded
  // (through `done`) when `waiting_max` works wait. Connecting failed: Unavailable, work did not
  // run.
  template <class Work, class Done>
  void post(Work work, Done done, Instant deadline = Instant::max());

  // The same for coroutines. At the deadline it returns Unavailable, though the work may be done
  // later: only what may be done or not (reading) is given a deadline.
  template <class Work>
  auto run(Work work, Instant deadline = Instant::max())
      -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>>;

  // Every connection is closed after its current work and opened anew with this name: an agent's
  // new epoch must not run on sessions of the old one.
  void reconnect_as(std::string application_name);

 private:
  struct State;
  using Job = std::function<std::optional<Error>(Result<pqxx::connection*>)>;  // what went wrong
  void enqueue(Job job);
  boost::asio::any_io_executor loop() const;
  void on_loop(std::function<void()> call);
  std::unique_ptr<State> state_;
};

}  // namespace koshel::platform

#include "platform/postgres_inline.hpp"
