#include "platform/postgres.hpp"

#include <poll.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "base/sqlstate.hpp"
#include "platform/log.hpp"

namespace koshel::platform {
namespace {

Error error_of_sqlstate(std::string sqlstate, std::string context) {
  const auto fault = fault_of_sqlstate(sqlstate);
  return {fault, std::move(context), std::move(sqlstate)};
}

// The server has hung up: what is sent now would be lost, and whether it was done could not be
// told.
bool is_closed(const pqxx::connection& connection) {
  if (!connection.is_open()) return true;
  pollfd socket{connection.sock(), POLLRDHUP, 0};
  return poll(&socket, 1, 0) > 0;
}

// After a refused statement the session is as good as before. After anything else it may be gone,
// hold an open transaction, or lead to a server that is the wrong one by now: the next job starts
// anew.
bool can_go_on(const Error& failure) {
  return !failure.sqlstate.empty() && failure.fault != Fault::InDoubt &&
         failure.sqlstate != "25006";
}

}  // namespace

Error error_of_current_exception() {
  try {
    throw;
  } catch (const pqxx::broken_connection& error) {
    return {Fault::InDoubt, std::string("connection to PostgreSQL lost: ") + error.what()};
  } catch (const pqxx::in_doubt_error& error) {
    return {Fault::InDoubt, error.what()};
  } catch (const pqxx::deadlock_detected& error) {
    return error_of_sqlstate("40P01", error.what());
  } catch (const pqxx::serialization_failure& error) {
    return error_of_sqlstate("40001", error.what());
  } catch (const pqxx::sql_error& error) {
    return error_of_sqlstate(error.sqlstate(), error.what());
  } catch (const pqxx::failure& error) {
    return {Fault::InDoubt, error.what()};  // of the library itself: what it had sent is not known
  } catch (const std::exception& error) {
    return {Fault::Internal, error.what()};
  }
}

Result<std::unique_ptr<pqxx::connection>> connect(const DatabaseConfig& config,
                                                  const std::string& application_name) {
  try {
    auto connection = std::make_unique<pqxx::connection>(config.dsn() + " application_name='" +
                                                         application_name + "'");
#if PQXX_VERSION_MAJOR < 7
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    // libpqxx 6 would silently open a new session in the place of a dead one.
    connection->activate();
    connection->inhibit_reactivation(true);
#pragma GCC diagnostic pop
#endif
    return connection;
  } catch (const std::exception& error) {
    return Error{Fault::Unavailable,
                 "cannot connect to " + config.describe() + ": " + error.what()};
  }
}

// Queue and threads. Jobs run on pool threads; everything else of the pool is called on the loop.
struct PgPool::State {
  boost::asio::any_io_executor loop;
  DatabaseConfig config;
  IdleLoss idle_loss = IdleLoss::Reconnect;
  SessionCheck check;

  mutable std::mutex mutex;
  std::condition_variable wake;
  std::deque<Job> queue;  // bounded by config.waiting_max
  std::string application_name;
  int generation = 0;  // sessions of an older one are closed before their next job
  bool is_stopping = false;
  std::vector<std::thread> threads;

  struct Session {
    std::unique_ptr<pqxx::connection> connection;
    int generation = 0;
  };

  Result<pqxx::connection*> ready(Session& session, int wanted, const std::string& name) {
    if (session.connection && session.generation == wanted) {
      if (!is_closed(*session.connection)) return session.connection.get();
      session.connection.reset();
      if (idle_loss == IdleLoss::Tell) {
        return Error{Fault::Unavailable, "PostgreSQL has closed an idle connection"};
      }
    }
    session.connection.reset();
    auto connected = connect(config, name);
    if (!connected) return connected.error();
    if (check) {
      const auto checked = check(*connected.value());
      if (!checked) return checked.error();
    }
    session.connection = std::move(connected.value());
    session.generation = wanted;
    return session.connection.get();
  }

  void serve() {
    Session session;
    for (;;) {
      std::unique_lock lock(mutex);
      wake.wait(lock, [this] { return is_stopping || !queue.empty(); });
      if (is_stopping) return;
      auto job = std::move(queue.front());
      queue.pop_front();
      const auto wanted = generation;
      const auto name = application_name;
      lock.unlock();
      const auto failure = job(ready(session, wanted, name));
      if (failure && !can_go_on(*failure)) session.connection.reset();
    }
  }
};

PgPool::PgPool(boost::asio::any_io_executor loop, DatabaseConfig config,
               std::string application_name, IdleLoss idle_loss, SessionCheck check)
    : state_(std::make_unique<State>()) {
  state_->loop = std::move(loop);
  state_->config = std::move(config);
  state_->application_name = std::move(application_name);
  state_->idle_loss = idle_loss;
  state_->check = std::move(check);
  for (int i = 0; i < state_->config.connections; ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->serve(); });
  }
}

PgPool::~PgPool() {
  std::deque<Job> waiting;
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_stopping = true;
    waiting.swap(state_->queue);
  }
  state_->wake.notify_all();
  for (auto& thread : state_->threads) thread.join();
  for (auto& job : waiting) job(Error{Fault::Unavailable, "the pool is closing"});
}

void PgPool::enqueue(Job job) {
  {
    const std::lock_guard lock(state_->mutex);
    if (static_cast<int>(state_->queue.size()) < state_->config.waiting_max) {
      state_->queue.push_back(std::move(job));
      state_->wake.notify_one();
      return;
    }
  }
  job(Error{Fault::Overloaded, "too many calls wait for PostgreSQL"});
}

boost::asio::any_io_executor PgPool::loop() const {
  return state_->loop;
}

void PgPool::on_loop(std::function<void()> call) {
  boost::asio::post(state_->loop, std::move(call));
}

void PgPool::reconnect_as(std::string application_name) {
  const std::lock_guard lock(state_->mutex);
  state_->application_name = std::move(application_name);
  ++state_->generation;
}

}  // namespace koshel::platform
