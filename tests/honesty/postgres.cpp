#include "tests/honesty/postgres.hpp"

#include <signal.h>

#include <boost/asio/co_spawn.hpp>
#include <set>
#include <sstream>

#include "platform/migrations.hpp"
#include "platform/pg_array.hpp"
#include "sql/migrations.hpp"

namespace koshel::honesty {

namespace asio = boost::asio;

namespace {

constexpr auto kShardRows = R"(
  select concat_ws(' ', 'identity', epoch, taken_by, incarnation_floor) from identity
  union all select concat_ws(' ', 'account', id, currency) from accounts
  union all
  select concat_ws(' ', 'entry', account, version, counterparty, amount, balance, min_balance,
           max_balance, (extract(epoch from at) * 1000000)::bigint,
           coalesce(transfer::text, '-'), kind, status, is_anchor, coalesce(metadata::text, '-'),
           case when refusal is null then '-'
                else concat_ws(',', refusal->>'code', refusal->>'account', refusal->>'bound',
                       refusal->>'balance', refusal->>'headroom', refusal->>'asked') end,
           coalesce(asked_by, '-'))
    from entries
  union all
  select concat_ws(' ', 'anchor', transfer, account, version) from entries
   where is_anchor and transfer is not null
  union all select concat_ws(' ', 'applied', incarnation, sequence, is_void) from applied_rounds
  union all select concat_ws(' ', 'fence', incarnation, sequence) from round_fences
  union all select concat_ws(' ', 'hold', gid, array_to_string(accounts, ','), array_to_string(leaving, ',')) from holds
  union all select concat_ws(' ', 'move', account, move, is_leaving, copied) from moves
  union all
  select concat_ws(' ', 'prepared', gid) from pg_prepared_xacts
   where database = current_database())";
constexpr auto kDirectoryRows = R"(
  select concat_ws(' ', 'cluster', last_user, last_incarnation) from cluster
  union all select concat_ws(' ', 'user', name, id, currency, shard, version) from users
  union all select concat_ws(' ', 'id', id, name) from users
  union all
  select concat_ws(' ', 'decision', incarnation, sequence, is_commit,
           array_to_string(participants, ','), asked) from decisions
  union all select concat_ws(' ', 'incarnation', id, fence, is_closed) from incarnations
  union all select concat_ws(' ', 'beats', incarnation, count) from beats
  union all select concat_ws(' ', 'shard', id, state) from shards
  union all
  select concat_ws(' ', 'rebalance', state, coalesce(users_per_second, 0), users_total, users_moved,
           entries_copied, coalesce(error, '-'), coalesce(holder, 0), beat, last_move) from rebalance
  union all select concat_ws(' ', 'planned', source, target, users) from planned_moves
  union all
  select concat_ws(' ', 'move', account, move, source, target, is_cut_over) from moves)";
constexpr auto kEmptyShard = R"(
  delete from accounts; delete from entries; delete from applied_rounds; delete from round_fences;
  delete from holds; delete from moves;
  update identity set epoch = 0, taken_by = '', incarnation_floor = 0)";
constexpr auto kEmptyDirectory = R"(
  delete from users; delete from decisions; delete from incarnations; delete from moves;
  delete from planned_moves; delete from rebalance; insert into rebalance default values;
  update shards set state = 'active';
  update cluster set last_user = 0, last_incarnation = 0)";
constexpr auto kPrepared = "select gid from pg_prepared_xacts where database = current_database()";

std::string text_of_state(const std::string& state) {
  if (state == "active") return "waits";
  if (state == "idle in transaction") return "in a transaction";
  if (state == "idle in transaction (aborted)") return "in a failed transaction";
  return state;
}

std::string array_of(const std::vector<int>& pids) {
  return "'" + platform::pg_array(pids, [](int pid) { return std::int64_t{pid}; }) + "'::int[]";
}

using Blockers = std::map<int, std::vector<int>>;

// Some of them wait for each other: soon the server ends that.
bool has_circle(const Blockers& blockers) {
  for (const auto& [start, unused] : blockers) {
    std::vector<int> next{start};
    std::set<int> seen;
    while (!next.empty()) {
      const int pid = next.back();
      next.pop_back();
      const auto found = blockers.find(pid);
      if (found == blockers.end()) continue;
      for (const int blocker : found->second) {
        if (blocker == start) return true;
        if (seen.insert(blocker).second) next.push_back(blocker);
      }
    }
  }
  return false;
}

template <class T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().context);
  return std::move(result.value());
}

asio::awaitable<void> carry_out(asio::awaitable<Result<std::string>> pending, Session& session) {
  auto result = co_await std::move(pending);
  session.result.emplace(std::move(result));
  session.is_running = false;
}

void rethrow(const std::exception_ptr& failure) {
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

Postgres::Postgres(platform::DatabaseConfig config, Side side)
    : config_(std::move(config)), side_(side), work_(loop_.get_executor()) {
  config_.connections = 1;
  config_.statement_timeout = config_.lock_timeout = std::chrono::milliseconds(0);
  watch();
  create_schema();
  empty_tables();
}

void Postgres::create_schema() {
  const bool is_shard = side_ == Side::Shard;
  must(platform::migrate(*watcher_,
                         is_shard ? sql::shard_migrations() : sql::directory_migrations()));
  ask(is_shard
          ? std::string("insert into identity (cluster, shard_id, shard_name) "
                        "values ('honesty', 1, 'shard-1') on conflict do nothing")
          : std::string("insert into cluster (name) values ('honesty') on conflict do nothing; "
                        "insert into shards (name) values ('shard-1'), ('shard-2') "
                        "on conflict do nothing"));
}

void Postgres::watch() {
  watcher_ = must(platform::connect(config_, "honesty"));
}

// Scripts on the server's other database make it crash as well.
pqxx::result Postgres::ask(const std::string& sql) {
  try {
    return pqxx::nontransaction(*watcher_).exec(sql);
  } catch (const pqxx::broken_connection&) {
    watch();
    return pqxx::nontransaction(*watcher_).exec(sql);
  }
}

// ---- sessions

std::unique_ptr<Session> Postgres::open(const std::string& name, bool is_impatient) {
  auto config = config_;
  if (is_impatient) config.lock_timeout = std::chrono::milliseconds(50);
  auto session = std::make_unique<Session>(loop_.get_executor(), config, name);
  session->is_impatient = is_impatient;
  start(*session, statement("select pg_backend_pid()"));
  while (session->is_running) run_loop();
  session->pid = std::stoi(must(*std::exchange(session->result, std::nullopt)));
  return session;
}

void Postgres::close(std::unique_ptr<Session> session) {
  terminate(session->pid);
  while (session->is_running) run_loop();
}

void Postgres::start(Session& session, const Operation& operation) {
  session.is_running = true;
  asio::co_spawn(loop_, carry_out(operation.on_server(session), session), rethrow);
}

void Postgres::run_loop() {
  loop_.run_one_for(std::chrono::milliseconds(1));
}

// Asked twice: while one statement was looked at, another one might have moved.
void Postgres::settle(const std::vector<Session*>& sessions) {
  for (int agreed = 0; agreed < 2;) {
    run_loop();
    std::vector<Session*> running;
    for (auto* session : sessions) {
      if (session->is_running) running.push_back(session);
    }
    if (running.empty()) return;
    agreed = do_all_wait(running) ? agreed + 1 : 0;
  }
}

bool Postgres::do_all_wait(const std::vector<Session*>& running) {
  std::vector<int> pids;
  for (const auto* session : running) {
    if (session->is_impatient) return false;
    pids.push_back(session->pid);
  }
  Blockers blockers;
  for (const auto& row :
       ask("select pid, array_to_string(pg_blocking_pids(pid), ' ') from unnest(" + array_of(pids) +
           ") as p (pid)")) {
    std::istringstream numbers(row[1].c_str());
    auto& own = blockers[row[0].as<int>()];
    for (int pid = 0; numbers >> pid;) own.push_back(pid);
    if (own.empty()) return false;
  }
  return !has_circle(blockers);
}

void Postgres::terminate(int pid) {
  ask("select pg_terminate_backend(" + std::to_string(pid) + ")");
  wait_until_gone({pid});
}

void Postgres::cancel(Session& session) {
  ask("select pg_cancel_backend(" + std::to_string(session.pid) + ")");
  while (session.is_running) run_loop();
}

bool Postgres::is_any_left(const std::vector<int>& pids) {
  return !ask("select from pg_stat_activity where pid = any(" + array_of(pids) + ")").empty();
}

void Postgres::wait_until_gone(const std::vector<int>& pids) {
  while (is_any_left(pids)) run_loop();
}

// PostgreSQL takes the death of one of its processes for a crash: it ends all others at once,
// throws its memory away and starts from the log.
void Postgres::crash(const std::vector<int>& pids) {
  auto old = pids;
  old.push_back(watcher_->backendpid());
  kill(old.back(), SIGKILL);
  for (;;) {
    run_loop();
    try {
      watch();
      if (!is_any_left(old)) return;
    } catch (const std::exception&) {  // not up yet, or not down yet
    }
  }
}

void Postgres::flush() {
  ask("select pg_logical_emit_message(true, '', '')");
}

// ---- looking

int Postgres::prepared_max() {
  return ask("select current_setting('max_prepared_transactions')::int")[0][0].as<int>();
}

std::map<int, std::string> Postgres::states() {
  std::map<int, std::string> states;
  for (const auto& row : ask("select pid, state from pg_stat_activity "
                             "where datname = current_database() and state is not null")) {
    states[row[0].as<int>()] = text_of_state(row[1].c_str());
  }
  return states;
}

std::vector<std::string> Postgres::rows() {
  std::vector<std::string> rows;
  for (const auto& row : ask(side_ == Side::Shard ? kShardRows : kDirectoryRows)) {
    rows.emplace_back(row[0].c_str());
  }
  std::ranges::sort(rows);
  return rows;
}

void Postgres::empty_tables() {
  for (const auto& row : ask(kPrepared)) {
    ask("rollback prepared " + watcher_->quote(row[0].c_str()));
  }
  ask(side_ == Side::Shard ? kEmptyShard : kEmptyDirectory);
}

}  // namespace koshel::honesty
