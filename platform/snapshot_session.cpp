#include "platform/snapshot_session.hpp"

namespace koshel::platform {
namespace {

DatabaseConfig session_config(DatabaseConfig config, milliseconds time_max) {
  config.connections = 1;
  config.statement_timeout = time_max;
  return config;
}

// Here whole tables are read: what DatabaseConfig::dsn turns off for look-ups by key is on again,
// and plans are made for all rows of a cursor. Sorting and hashing keep to work_mem and go on in
// files.
constexpr auto kBegin =
    "begin isolation level repeatable read read only;"
    "set local enable_seqscan = on; set local enable_hashjoin = on; set local enable_mergejoin = "
    "on;"
    "set local enable_bitmapscan = on; set local plan_cache_mode = auto;"
    "set local cursor_tuple_fraction = 1; set local work_mem = '64MB';"
    "set local idle_in_transaction_session_timeout = ";

}  // namespace

SnapshotSession::SnapshotSession(boost::asio::any_io_executor loop, DatabaseConfig config,
                                 std::string application_name, milliseconds time_max)
    : state_(std::make_shared<State>(time_max)),
      pool_(std::move(loop), session_config(std::move(config), time_max),
            std::move(application_name)) {}

// Again and again: a cancellation that comes between two statements is lost.
SnapshotSession::~SnapshotSession() {
  std::unique_lock lock(state_->mutex);
  while (state_->running != nullptr) {
    try {
      state_->running->cancel_query();
    } catch (const pqxx::failure&) {
      // The server cannot be reached, and so the statement ends, too.
    }
    state_->has_ended.wait_for(lock, std::chrono::milliseconds(50));
  }
}

SnapshotSession::Running::Running(State& state, pqxx::connection& connection) : state_(state) {
  const std::lock_guard lock(state_.mutex);
  state_.running = &connection;
}

SnapshotSession::Running::~Running() {
  const std::lock_guard lock(state_.mutex);
  state_.running = nullptr;
  state_.has_ended.notify_all();
}

void SnapshotSession::end_snapshot(State& state, pqxx::connection& connection) {
  if (state.snapshot_of == connection.backendpid()) {
    pqxx::nontransaction session(connection);
    session.exec("rollback");
  }
  state.snapshot_of = 0;
}

void SnapshotSession::begin_snapshot(State& state, pqxx::connection& connection,
                                     const std::string& statements) {
  pqxx::nontransaction session(connection);
  state.snapshot_of = connection.backendpid();  // if the statements fail, the transaction is there
  session.exec(kBegin + std::to_string(state.time_max.count()) + ";" + statements);
}

void SnapshotSession::check_snapshot(const State& state, pqxx::connection& connection) {
  if (state.snapshot_of != connection.backendpid()) {
    throw pqxx::broken_connection("the session with the snapshot has ended");
  }
}

}  // namespace koshel::platform
