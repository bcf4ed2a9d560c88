#include "directory/io/rebalance_store.hpp"

#include "base/invariant.hpp"
#include "platform/pg_array.hpp"

namespace koshel::directory {

namespace asio = boost::asio;
using platform::pg_array;

namespace {

RebalanceState rebalance_state_of(std::string_view text) {
  using enum RebalanceState;
  for (const auto state : {Idle, Running, Paused, Cancelling, Failed}) {
    if (to_string(state) == text) return state;
  }
  INVARIANT(!"the table's own check knows no other state");
}

template <class T>
std::optional<T> optional_of(const pqxx::field& field) {
  return field.is_null() ? std::nullopt : std::optional(field.as<T>());
}

std::string array_of(const std::vector<AccountId>& accounts) {
  return pg_array(accounts, [](AccountId account) { return account.value(); });
}

// Rows of account, move, source, target and, where accounts may be cut over, that; a move's rows
// stand together.
std::vector<OpenMove> moves_of(const pqxx::result& rows) {
  std::vector<OpenMove> moves;
  for (const auto& row : rows) {
    const MoveId move(row[1].as<std::int64_t>());
    if (moves.empty() || moves.back().move != move) {
      moves.push_back(
          {move, ShardId(row[2].as<std::int32_t>()), ShardId(row[3].as<std::int32_t>()), {}});
    }
    moves.back().accounts.push_back(
        {AccountId(row[0].as<std::int64_t>()), row.size() > 4 && row[4].as<bool>()});
  }
  return moves;
}

std::optional<OpenMove> only_move_of(const pqxx::result& rows) {
  auto moves = moves_of(rows);
  INVARIANT(moves.size() <= 1);
  return moves.empty() ? std::nullopt : std::optional(std::move(moves.front()));
}

}  // namespace

// ---- for the mover

namespace {
constexpr auto kBeat =
    "select state, users_per_second, holder, beat from beat_rebalance($1, $2, $3, nullif($4, ''))";
}  // namespace

asio::awaitable<Result<RebalanceHold>> RebalanceStore::beat(Incarnation own, std::int64_t seen_beat,
                                                            std::int64_t entries,
                                                            std::string error) {
  auto work = [own, seen_beat, entries, error = std::move(error)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto row = session.exec_params(kBeat, own.value(), seen_beat, entries, error)[0];
    RebalanceHold hold;
    hold.state = rebalance_state_of(row[0].c_str());
    hold.users_per_second = optional_of<int>(row[1]);
    if (!row[2].is_null()) hold.holder = Incarnation(row[2].as<std::int64_t>());
    hold.beat = row[3].as<std::int64_t>();
    return hold;
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kOpenMoves =
    "select account, move, source, target, is_cut_over from moves order by move, account";
constexpr auto kTakeMove =
    "select account, move, source, target from take_move($1, $2) order by account";
constexpr auto kTakeAccounts =
    "select account, move, source, target from take_accounts($1, $2, $3, $4) order by account";
}  // namespace

asio::awaitable<Result<std::vector<OpenMove>>> RebalanceStore::open_moves() {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return moves_of(session.exec(kOpenMoves));
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::optional<OpenMove>>> RebalanceStore::take_move(Incarnation own,
                                                                           int users_max) {
  auto work = [own, users_max](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return only_move_of(session.exec_params(kTakeMove, own.value(), users_max));
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::optional<OpenMove>>> RebalanceStore::take_accounts(
    Incarnation own, ShardId source, ShardId target, std::vector<AccountId> accounts) {
  auto work = [own, source, target, accounts = std::move(accounts)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return only_move_of(session.exec_params(kTakeAccounts, own.value(), source.value(),
                                            target.value(), array_of(accounts)));
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

namespace {
constexpr auto kEndMove = "select end_move($1, $2, $3, $4)";
constexpr auto kEnd = "select end_rebalance($1, nullif($2, ''))";
}  // namespace

asio::awaitable<Result<void>> RebalanceStore::end_move(Incarnation own, MoveId move,
                                                       std::vector<AccountId> accounts,
                                                       bool is_cut_over) {
  auto work = [own, move, accounts = std::move(accounts),
               is_cut_over](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    session.exec_params(kEndMove, own.value(), move.value(), array_of(accounts), is_cut_over);
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<bool>> RebalanceStore::end(Incarnation own, std::string error) {
  auto work = [own, error = std::move(error)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return session.exec_params(kEnd, own.value(), error)[0][0].as<bool>();
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

// ---- for people

namespace {
constexpr auto kStatus =
    "select state, users_total, users_moved, entries_copied, users_per_second, "
    "coalesce(extract(epoch from coalesce(ended_at, now()) - started_at), 0)::float8, "
    "coalesce(error, '') from rebalance";
constexpr auto kStart = "select start_rebalance($1, $2, $3, nullif($4, 0))";
}  // namespace

asio::awaitable<Result<RebalanceStatus>> RebalanceStore::status(Instant deadline) {
  auto work = [](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto row = session.exec(kStatus)[0];
    return RebalanceStatus{rebalance_state_of(row[0].c_str()),
                           row[1].as<std::int64_t>(),
                           row[2].as<std::int64_t>(),
                           row[3].as<std::int64_t>(),
                           optional_of<int>(row[4]),
                           row[5].as<double>(),
                           row[6].as<std::string>()};
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<StartOutcome>> RebalanceStore::start(std::vector<PlannedMove> plan,
                                                            std::optional<int> users_per_second,
                                                            Instant deadline) {
  auto work = [plan = std::move(plan), users_per_second](pqxx::connection& connection) {
    const auto of = [&plan](auto member) { return pg_array(plan, member); };
    pqxx::nontransaction session(connection);
    const bool is_started =
        session
            .exec_params(kStart,
                         of([](const PlannedMove& m) { return std::int64_t{m.source.value()}; }),
                         of([](const PlannedMove& m) { return std::int64_t{m.target.value()}; }),
                         of([](const PlannedMove& m) { return m.users; }),
                         users_per_second.value_or(0))[0][0]
            .as<bool>();
    return is_started ? StartOutcome::Started : StartOutcome::InProgress;
  };
  auto pending = pool_.run(std::move(work), deadline);
  auto started = co_await std::move(pending);
  if (!started && started.error().sqlstate == "KO013") co_return StartOutcome::TargetDrained;
  co_return started;
}

namespace {
// What stood still does not count as running: it begins later by so much.
constexpr auto kAct =
    "update rebalance set state = $1, error = case when state = 'failed' then null else error end, "
    "started_at = started_at + coalesce(now() - ended_at, '0'), "
    "ended_at = case when $1 = 'paused' then now() end where state = any($2)";

struct Step {
  RebalanceState state;  // the one it leads to
  const char* from;      // an array of those it begins at
};

Step step_of(RebalanceAction action) {
  switch (action) {
    case RebalanceAction::Pause:
      return {RebalanceState::Paused, "{running}"};
    case RebalanceAction::Resume:
      return {RebalanceState::Running, "{paused,failed}"};
    case RebalanceAction::Cancel:
      return {RebalanceState::Cancelling, "{running,paused,failed}"};
  }
  std::abort();
}
}  // namespace

asio::awaitable<Result<bool>> RebalanceStore::act(RebalanceAction action, Instant deadline) {
  auto work = [step = step_of(action)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const std::string state(to_string(step.state));
    return session.exec_params(kAct, state, step.from).affected_rows() == 1;
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

namespace {
DrainShardOutcome drain_outcome_of(std::string_view text) {
  using enum DrainShardOutcome;
  if (text == "draining") return Draining;
  if (text == "last") return LastActive;
  if (text == "filling") return IsBeingFilled;
  INVARIANT(text == "unknown");
  return Unknown;
}

RemoveShardOutcome remove_outcome_of(std::string_view text) {
  using enum RemoveShardOutcome;
  if (text == "removed") return Removed;
  if (text == "active") return Active;
  if (text == "users") return HasUsers;
  if (text == "moves") return HasMoves;
  if (text == "rounds") return HasRounds;
  INVARIANT(text == "unknown");
  return Unknown;
}
}  // namespace

asio::awaitable<Result<DrainShardOutcome>> RebalanceStore::drain_shard(std::string name,
                                                                       Instant deadline) {
  auto work = [name = std::move(name)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return drain_outcome_of(session.exec_params("select drain_shard($1)", name)[0][0].c_str());
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Result<RemoveShardOutcome>> RebalanceStore::remove_shard(std::string name,
                                                                         Instant deadline) {
  auto work = [name = std::move(name)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    return remove_outcome_of(session.exec_params("select remove_shard($1)", name)[0][0].c_str());
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

}  // namespace koshel::directory
