#include "directory/io/audit_snapshot.hpp"

#include <sstream>

#include "platform/pg_array.hpp"

namespace koshel::directory {

using platform::pg_array;

namespace {
// "audit" in ASCII, so that no other program takes the same advisory lock by chance.
constexpr auto kLock = "select pg_try_advisory_lock(418564205940)";
constexpr auto kUnlock = "select pg_advisory_unlock(418564205940)";
constexpr auto kShards =
    "select id, name, agent, weight, state from shards where state <> 'known' order by id";
}  // namespace

bool begin_audit(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  return session.exec(kLock)[0][0].as<bool>();
}

bool end_audit(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  return session.exec(kUnlock)[0][0].as<bool>();
}

std::vector<Shard> shards_in_service(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  std::vector<Shard> shards;
  for (const auto& row : session.exec(kShards)) {
    shards.push_back(
        {ShardId(row[0].as<std::int32_t>()), row[1].as<std::string>(), row[2].as<std::string>(),
         row[3].as<int>(),
         row[4].as<std::string>() == "draining" ? ShardState::Draining : ShardState::Active});
  }
  return shards;
}

// Every decision writes to `decisions`, and a lock in share mode waits for those that do and lets
// no more begin, while everybody may read. It ends with the savepoint; the snapshot, which the last
// statement takes, with the transaction.
std::string hold_decisions(std::chrono::milliseconds wait_max) {
  return "savepoint held; set local lock_timeout = " + std::to_string(wait_max.count()) +
         "; lock table decisions in share mode; select count(*) from cluster";
}

void let_decisions_go(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  session.exec("rollback to savepoint held");
}

namespace {

constexpr auto kCommits =
    "select incarnation, sequence, array_to_string(participants, ' ') from decisions "
    "where is_commit order by incarnation, sequence";
constexpr auto kCommitsAmong =
    "select incarnation, sequence from decisions join unnest($1::bigint[], $2::bigint[]) "
    "as q (incarnation, sequence) using (incarnation, sequence) where is_commit";
// The hash and the buckets are those of shard-agent/io/audit_queries.cpp.
constexpr auto kUserBuckets = R"(
  select shard, hash & 1023, count(*), mod(mod(sum(hash), m.modulus) + m.modulus, m.modulus)::bigint
    from (select shard, hashint8extended(id, $1) as hash from users) u
   cross join (select 9223372036854775808 as modulus) m
   group by shard, hash & 1023, m.modulus)";
constexpr auto kUsersOfBuckets =
    "select id, name, shard from users where hashint8extended(id, $1) & 1023 = any($2::bigint[])";
constexpr auto kUsersOfAccounts = "select id, name, shard from users where id = any($1::bigint[])";

RoundId round_of(const pqxx::row& row) {
  return {Incarnation(row[0].as<std::int64_t>()), Sequence(row[1].as<std::int64_t>())};
}

std::vector<AuditedUser> users_of(const pqxx::result& rows) {
  std::vector<AuditedUser> users;
  for (const auto& row : rows) {
    users.push_back(
        {row[0].as<std::string>(), row[1].as<std::string>(), ShardId(row[2].as<std::int32_t>())});
  }
  return users;
}

}  // namespace

std::vector<AuditedCommit> commits(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  std::vector<AuditedCommit> commits;
  for (const auto& row : session.exec(kCommits)) {
    AuditedCommit commit{round_of(row), {}};
    std::istringstream participants(row[2].c_str());
    for (std::int32_t shard = 0; participants >> shard;) commit.participants.emplace_back(shard);
    commits.push_back(std::move(commit));
  }
  return commits;
}

std::vector<RoundId> commits_among(pqxx::connection& connection,
                                   const std::vector<RoundId>& rounds) {
  pqxx::nontransaction session(connection);
  std::vector<RoundId> commits;
  const auto rows = session.exec_params(
      kCommitsAmong, pg_array(rounds, [](const RoundId& r) { return r.incarnation.value(); }),
      pg_array(rounds, [](const RoundId& r) { return r.sequence.value(); }));
  for (const auto& row : rows) commits.push_back(round_of(row));
  return commits;
}

std::vector<UserBucket> user_buckets(pqxx::connection& connection, std::int64_t seed) {
  pqxx::nontransaction session(connection);
  std::vector<UserBucket> buckets;
  for (const auto& row : session.exec_params(kUserBuckets, seed)) {
    buckets.push_back({ShardId(row[0].as<std::int32_t>()), row[1].as<std::size_t>(),
                       row[2].as<std::int64_t>(), row[3].as<std::int64_t>()});
  }
  return buckets;
}

std::vector<AuditedUser> users_of_buckets(pqxx::connection& connection, std::int64_t seed,
                                          const std::vector<std::int32_t>& buckets) {
  pqxx::nontransaction session(connection);
  return users_of(session.exec_params(
      kUsersOfBuckets, seed,
      pg_array(buckets, [](std::int32_t bucket) { return std::int64_t{bucket}; })));
}

std::vector<AuditedUser> users_of_accounts(pqxx::connection& connection,
                                           const std::vector<std::string>& accounts) {
  pqxx::nontransaction session(connection);
  return users_of(session.exec_params(
      kUsersOfAccounts,
      pg_array(accounts, [](const std::string& account) -> std::string_view { return account; })));
}

}  // namespace koshel::directory
