#include "shard-agent/io/ledger_store.hpp"

#include <chrono>
#include <thread>

#include "platform/crash_points.hpp"
#include "platform/durability.hpp"
#include "platform/migrations.hpp"
#include "platform/pg_array.hpp"
#include "shard-agent/io/append_sql.hpp"
#include "shard-agent/io/stored_rows.hpp"
#include "sql/migrations.hpp"

namespace koshel::agent {

using platform::pg_array;

namespace {

std::string gid_of(const Identity& identity, RoundId round) {
  return Gid{identity.cluster, round, identity.shard}.to_string();
}

std::vector<std::string> gids_of(const Identity& identity, const std::vector<RoundId>& rounds) {
  std::vector<std::string> gids;
  for (const auto round : rounds) gids.push_back(gid_of(identity, round));
  return gids;
}

constexpr auto kSettings = R"(
  select current_setting('max_prepared_transactions')::int,
         has_table_privilege('entries', 'insert') and has_table_privilege('identity', 'update'))";

}  // namespace

Result<ServerLimits> check_server(pqxx::connection& connection) {
  KOSHEL_TRY(platform::check_schema(connection, sql::shard_migrations()));
  KOSHEL_TRY(platform::check_durability(connection));
  pqxx::nontransaction session(connection);
  const auto row = session.exec(kSettings)[0];
  const auto fail = [](std::string what) { return Error{Fault::Internal, std::move(what)}; };
  if (row[0].as<int>() == 0) {
    return fail(
        "max_prepared_transactions is 0 on this server: set it to 64 or more in postgresql.conf "
        "and restart PostgreSQL");
  }
  if (!row[1].as<bool>()) {
    return fail("this role may not write the ledger: use the role that ran `koshel init`");
  }
  return ServerLimits{row[0].as<int>()};
}

Result<Identity> read_identity(pqxx::connection& connection, const std::string& cluster,
                               const std::string& shard_name) {
  pqxx::nontransaction session(connection);
  const auto rows = session.exec(
      "select cluster, coalesce(cluster_id::text, ''), shard_name, shard_id from identity");
  if (rows.empty()) {
    return Error{Fault::Internal,
                 "this database is no shard yet: run `koshel init --config FILE` with a config "
                 "that names the directory and the shard"};
  }
  Identity identity{rows[0][0].as<std::string>(), rows[0][1].as<std::string>(),
                    rows[0][2].as<std::string>(), ShardId(rows[0][3].as<std::int32_t>())};
  if (identity.cluster != cluster || identity.shard_name != shard_name) {
    return Error{Fault::Internal, "this database belongs to shard " + identity.shard_name +
                                      " of cluster " + identity.cluster + ", the config says " +
                                      shard_name + " of " + cluster};
  }
  if (identity.cluster_id.empty()) {
    return Error{Fault::Internal,
                 "this database does not know its directory yet: run `koshel init --config FILE` "
                 "with a config that names the directory and the shard"};
  }
  return identity;
}

std::string session_name(Epoch epoch) {
  return "koshel-agent/" + std::to_string(epoch.value());
}

namespace {

constexpr auto kTakeEpoch =
    "update identity set epoch = epoch + 1, taken_by = $2 "
    "where epoch >= $1 and ($1 = 0 or taken_by = $2) returning epoch";
constexpr auto kEpoch = "select epoch from identity";
// By name: whoever is not ours is left alone, and a name of another form is never read as a number.
constexpr auto kTerminateOlder = R"(
  select count(pg_terminate_backend(pid)) from pg_stat_activity
   where datname = current_database() and pid <> pg_backend_pid()
     and case when application_name ~ '^koshel-agent/[0-9]{1,18}$'
              then split_part(application_name, '/', 2)::bigint < $1 else false end)";
// Once more a commit: with synchronous replication it returns only when what was seen is durable.
// No row: a newer agent has taken over meanwhile.
constexpr auto kBarrier = "update identity set epoch = epoch where epoch = $1";
constexpr auto kHeldAccounts =
    "select a, a = any(leaving) from holds, unnest(accounts) as a where gid = $1";
constexpr auto kForgetOthers =
    "delete from holds where gid <> all($1) and exists (select from identity where epoch = $2)";

// The session's name says its epoch from the moment that the epoch is there.
std::optional<Epoch> take_epoch(pqxx::connection& connection, const TakeOverWish& wish) {
  pqxx::work transaction(connection);
  const auto rows = transaction.exec_params(kTakeEpoch, wish.known.value(), wish.agent);
  if (rows.empty()) {
    const Epoch found(transaction.exec(kEpoch)[0][0].as<std::int64_t>());
    if (found >= wish.known) return std::nullopt;
    throw std::runtime_error("this database is at epoch " + std::to_string(found.value()) +
                             ", its shard has reached " + std::to_string(wish.known.value()) +
                             ": it is an old primary or an old copy and is not served");
  }
  const Epoch epoch(rows[0][0].as<std::int64_t>());
  transaction.exec("set application_name = " + transaction.quote(session_name(epoch)));
  transaction.commit();
  return epoch;
}

void end_older_sessions(pqxx::nontransaction& session, Epoch epoch) {
  constexpr int kTries = 500;
  for (int i = 0; i < kTries; ++i) {
    if (session.exec_params(kTerminateOlder, epoch.value())[0][0].as<int>() == 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  throw std::runtime_error("sessions of an older agent do not end; will try again");
}

}  // namespace

TakeOverDone take_over(pqxx::connection& connection, const Identity& identity,
                       const TakeOverWish& wish) {
  TakeOverDone done;
  done.epoch = take_epoch(connection, wish);
  if (!done.epoch) return done;
  const auto epoch = *done.epoch;
  platform::crash_point<"agent.take_over.epoch_taken">();
  {
    pqxx::nontransaction session(connection);
    end_older_sessions(session, epoch);
    platform::crash_point<"agent.take_over.sessions_ended">();
    if (session.exec_params(kBarrier, epoch.value()).affected_rows() != 1) {
      return {};  // another agent was faster
    }
  }
  platform::crash_point<"agent.take_over.barrier">();
  std::vector<std::string> gids;
  for (const auto& prepared : prepared_rounds(connection, identity)) gids.push_back(prepared.gid);
  pqxx::nontransaction session(connection);
  for (const auto& gid : gids) {
    InDoubtRound round{Gid::parse(gid)->round, {}, {}};
    for (const auto& row : session.exec_params(kHeldAccounts, gid)) {
      round.accounts.emplace_back(row[0].as<std::int64_t>());
      if (row[1].as<bool>()) round.leaving.push_back(round.accounts.back());
    }
    done.in_doubt.push_back(std::move(round));
  }
  session.exec_params(kForgetOthers, array_of(gids), epoch.value());
  return done;
}

namespace {

constexpr auto kReadHeads =
    "select account, currency, version, balance, min_balance, max_balance, status "
    "from read_heads($1, $2)";
constexpr auto kStoredColumns =
    "account, counterparty, amount, balance, version, kind, "
    "(extract(epoch from at) * 1000000)::bigint, transfer, metadata, refusal, asked_by";
const std::string kFindByKeys = std::string("select ") + kStoredColumns +
                                " from entries where is_anchor and transfer = any($1)";

}  // namespace

ShardState read_state(pqxx::connection& connection, const ReadState& wanted) {
  pqxx::nontransaction session(connection);
  ShardState state;
  // Keys first: with an account that is owned here afterwards its history was whole.
  if (!wanted.keys.empty()) {
    for (const auto& row : session.exec_params(kFindByKeys, array_of(wanted.keys))) {
      state.stored.push_back(stored_of_row(row));
    }
  }
  if (!wanted.accounts.empty()) {
    const auto rows =
        session.exec_params(kReadHeads, wanted.epoch.value(), array_of(wanted.accounts));
    state.heads.reserve(static_cast<std::size_t>(rows.size()));
    for (const auto& row : rows) state.heads.push_back(head_of_row(row));
  }
  return state;
}

void append(pqxx::connection& connection, const AppendBatch& batch) {
  pqxx::nontransaction session(connection);
  session.exec(append_statement(connection, batch));
}

void prepare(pqxx::connection& connection, const Identity& identity, const PrepareRound& round) {
  const auto gid = gid_of(identity, round.batch.round);
  const auto forgotten = gids_of(identity, round.forgotten);
  pqxx::nontransaction session(connection);
  try {
    session.exec(prepare_statement(
        connection, {gid, round.batch, round.held, forgotten, round.departing, round.arriving}));
  } catch (const pqxx::broken_connection&) {
    throw;
  } catch (const pqxx::failure&) {
    // The string stopped inside one of its transactions: nothing is prepared, the session goes on.
    session.exec("rollback");
    throw;
  }
}

namespace {
// Written, not only read: a row may be visible and yet be undone by a failover.
constexpr auto kProve =
    "update applied_rounds set is_void = false "
    "where incarnation = $1 and sequence = $2 and not is_void";
constexpr auto kIsOver = "select is_over($1, $2)";
}  // namespace

messages::SettleOutcome settle(pqxx::connection& connection, const Identity& identity,
                               const SettlePrepared& settle) {
  const auto gid = gid_of(identity, settle.round);
  pqxx::nontransaction session(connection);
  try {
    session.exec((settle.is_commit ? "commit prepared " : "rollback prepared ") +
                 session.quote(gid));
    return messages::SettleOutcome::Settled;
  } catch (const pqxx::sql_error& error) {
    if (error.sqlstate() == "55000") return messages::SettleOutcome::Later;  // just being settled
    if (error.sqlstate() != "42704") throw;
  }
  // Not prepared. For a commit that is success only if the branch's own row proves it.
  if (!settle.is_commit) return messages::SettleOutcome::Settled;
  const auto incarnation = settle.round.incarnation.value();
  const auto sequence = settle.round.sequence.value();
  if (session.exec_params(kProve, incarnation, sequence).affected_rows() > 0) {
    return messages::SettleOutcome::Settled;
  }
  // No commit is over before every participant has confirmed it.
  return session.exec_params(kIsOver, incarnation, sequence)[0][0].as<bool>()
             ? messages::SettleOutcome::Settled
             : messages::SettleOutcome::Lost;
}

messages::AskRoundOutcome ask_round(pqxx::connection& connection, RoundId round) {
  pqxx::nontransaction session(connection);
  const auto is_applied = session.exec_params("select ask_round($1, $2)", round.incarnation.value(),
                                              round.sequence.value())[0][0];
  if (is_applied.is_null()) return messages::AskRoundOutcome::Over;
  return is_applied.as<bool>() ? messages::AskRoundOutcome::Applied
                               : messages::AskRoundOutcome::NotApplied;
}

bool forget_rounds(pqxx::connection& connection, const ForgetRounds& forget) {
  constexpr int kRowsMax = 10'000;  // of one transaction
  pqxx::nontransaction session(connection);
  const auto number = [](Incarnation incarnation) { return incarnation.value(); };
  const bool is_forgotten =
      session
          .exec_params(
              "select forget_rounds($1, $2, $3, $4, $5, $6, $7)", forget.epoch.value(),
              forget.floor.value(), forget.last.value(), pg_array(forget.unfinished, number),
              pg_array(forget.fences, [](RoundId f) { return f.incarnation.value(); }),
              pg_array(forget.fences, [](RoundId f) { return f.sequence.value(); }), kRowsMax)[0][0]
          .as<bool>();
  const bool is_swept =
      session
          .exec_params(
              "select sweep_moves($1, $2, $3, $4)", forget.epoch.value(), forget.last_move.value(),
              pg_array(forget.open_moves, [](MoveId move) { return move.value(); }), kRowsMax)[0][0]
          .as<bool>();
  return is_forgotten && is_swept;
}

void forget_holds(pqxx::connection& connection, const Identity& identity,
                  const std::vector<RoundId>& rounds) {
  pqxx::nontransaction session(connection);
  session.exec_params("delete from holds where gid = any($1)", array_of(gids_of(identity, rounds)));
}

std::vector<messages::PreparedRound> prepared_rounds(pqxx::connection& connection,
                                                     const Identity& identity) {
  pqxx::nontransaction session(connection);
  const auto rows = session.exec(
      "select gid, extract(epoch from clock_timestamp() - prepared)::float8 "
      "from pg_prepared_xacts where database = current_database()");
  std::vector<messages::PreparedRound> prepared;
  for (const auto& row : rows) {
    const auto gid = Gid::parse(row[0].c_str());
    if (!gid || gid->cluster != identity.cluster || gid->shard != identity.shard) continue;
    prepared.push_back({row[0].as<std::string>(), row[1].as<double>()});
  }
  return prepared;
}

namespace {

// Not every role may read data_directory, and on another host the same path is another disk.
constexpr auto kRoom = R"(
  select current_setting('max_prepared_transactions')::int
           - (select count(*) from pg_prepared_xacts)::int,
         pg_total_relation_size('entries'),
         coalesce((select setting from pg_settings where name = 'data_directory'
                      and inet_server_addr() is not distinct from inet_client_addr()), ''))";
constexpr auto kWorlds = "select id from accounts where id >= $1";

}  // namespace

ShardRoom read_room(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  const auto row = session.exec(kRoom)[0];
  ShardRoom room{row[0].as<int>(), row[1].as<std::int64_t>(), row[2].as<std::string>(), {}};
  for (const auto& world : session.exec_params(kWorlds, AccountId::kWorldBit)) {
    room.worlds.emplace_back(world[0].as<std::int64_t>());
  }
  return room;
}

namespace {

// In one statement, and so of one moment, with whether the account is owned here: history that is
// just being deleted, since its account has left, must not be told in part. One row at least, with
// nulls where there is none.
std::string owned_entries_query(const std::string& columns, const std::string& which) {
  return "select " + columns +
         ", a.id is not null from check_epoch($1) cross join (select $2::bigint as id) as q "
         "left join accounts a on a.id = q.id left join lateral (select * from entries where " +
         which + ") as e on a.id is not null";
}

std::string entries_query(bool is_newest_first) {
  const std::string order = is_newest_first ? "desc" : "asc";
  const std::string bound = is_newest_first ? "<=" : ">=";
  return owned_entries_query(
      std::string(kStoredColumns) + ", min_balance, max_balance, status",
      "account = q.id and version " + bound + " $3 order by version " + order + " limit $4");
}

}  // namespace

messages::FindTransferDone find_transfer(pqxx::connection& connection, Epoch epoch,
                                         const messages::FindTransfer& wanted) {
  static const auto query = owned_entries_query(kStoredColumns, "is_anchor and transfer = any($3)");
  pqxx::nontransaction session(connection);
  messages::FindTransferDone done;
  for (const auto& row :
       session.exec_params(query, epoch.value(), wanted.account.value(), array_of(wanted.ids))) {
    done.is_owned = row[11].as<bool>();
    if (row[0].is_null()) break;
    auto stored = stored_of_row(row);
    // Of several ids the first one asked for wins.
    if (!done.stored || stored.transfer.id == wanted.ids.front()) done.stored = std::move(stored);
  }
  return done;
}

messages::EntriesRead read_entries(pqxx::connection& connection, Epoch epoch,
                                   const messages::ReadEntries& wanted) {
  const auto from =
      wanted.from.value() == 0 && wanted.is_newest_first ? INT64_MAX : wanted.from.value();
  pqxx::nontransaction session(connection);
  messages::EntriesRead read;
  for (const auto& row : session.exec_params(entries_query(wanted.is_newest_first), epoch.value(),
                                             wanted.account.value(), from, wanted.limit)) {
    read.is_owned = row[14].as<bool>();
    if (!row[0].is_null()) read.entries.push_back(entry_of_row(row));
  }
  return read;
}

}  // namespace koshel::agent
