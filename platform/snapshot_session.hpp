#pragma once
// A session of its own with a snapshot that stays open between questions, for work that reads much
// and may take minutes: one thread, one connection, read only. Its end cancels what runs, so that
// nobody waits for it.

#include <condition_variable>
#include <mutex>

#include "platform/postgres.hpp"

namespace koshel::platform {

class SnapshotSession {
 public:
  // `time_max`: of one statement, and of one pause between two.
  SnapshotSession(boost::asio::any_io_executor loop, DatabaseConfig config,
                  std::string application_name, milliseconds time_max);
  ~SnapshotSession();

  // Ends the snapshot if one is open and runs `first` outside of any transaction. Then, if there
  // are `statements`, opens a transaction and runs them: the snapshot is taken when the first of
  // them reads.
  template <class First>
  auto open(First first, std::string statements)
      -> boost::asio::awaitable<Result<std::invoke_result_t<First&, pqxx::connection&>>>;

  // In the snapshot; Unavailable if it has gone.
  template <class Work>
  auto read(Work work)
      -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>>;

 private:
  struct State {
    explicit State(milliseconds time) : time_max(time) {}
    const milliseconds time_max;
    std::mutex mutex;
    std::condition_variable has_ended;
    pqxx::connection* running = nullptr;  // what may be cancelled
    int snapshot_of = 0;                  // the server process that has the snapshot open; 0: none
  };
  // Lets a connection be cancelled as long as it lives.
  class Running {
   public:
    Running(State& state, pqxx::connection& connection);
    ~Running();

   private:
    State& state_;
  };
  static void end_snapshot(State& state, pqxx::connection& connection);
  static void begin_snapshot(State& state, pqxx::connection& connection,
                             const std::string& statements);
  static void check_snapshot(const State& state, pqxx::connection& connection);

  std::shared_ptr<State> state_;
  PgPool pool_;
};

template <class First>
auto SnapshotSession::open(First first, std::string statements)
    -> boost::asio::awaitable<Result<std::invoke_result_t<First&, pqxx::connection&>>> {
  auto work = [state = state_, first = std::move(first),
               statements = std::move(statements)](pqxx::connection& connection) mutable {
    const Running running(*state, connection);
    end_snapshot(*state, connection);
    auto result = first(connection);
    if (!statements.empty()) begin_snapshot(*state, connection, statements);
    return result;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

template <class Work>
auto SnapshotSession::read(Work work)
    -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>> {
  auto guarded_work = [state = state_,
                       work = std::move(work)](pqxx::connection& connection) mutable {
    const Running running(*state, connection);
    check_snapshot(*state, connection);
    return work(connection);
  };
  auto pending = pool_.run(std::move(guarded_work));
  co_return co_await std::move(pending);
}

}  // namespace koshel::platform
