#pragma once
// What an audit does in the directory's database, on a session of its own: it holds decisions for
// the moment in which snapshots are opened everywhere, and reads what the directory says in its
// own. Throws what libpqxx throws.

#include <chrono>
#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "directory/io/directory_store.hpp"

namespace koshel::directory {

// Until the session ends it, or itself, no other one can begin an audit. False: another one has.
bool begin_audit(pqxx::connection& connection);
bool end_audit(pqxx::connection& connection);
std::vector<Shard> shards_in_service(pqxx::connection& connection);

// Statements to begin the snapshot with, so that decisions wait and are all in it; 55P03 after
// `wait_max`.
std::string hold_decisions(std::chrono::milliseconds wait_max);
// The snapshot stays.
void let_decisions_go(pqxx::connection& connection);

// ---- in the snapshot

struct AuditedCommit {
  RoundId round;
  std::vector<ShardId> participants;
};
std::vector<AuditedCommit> commits(pqxx::connection& connection);
// Those of the rounds that are decided to commit.
std::vector<RoundId> commits_among(pqxx::connection& connection,
                                   const std::vector<RoundId>& rounds);

struct UserBucket {  // as messages::AuditBucket has them
  ShardId shard;
  std::size_t bucket = 0;
  std::int64_t users = 0;
  std::int64_t hash = 0;
};
std::vector<UserBucket> user_buckets(pqxx::connection& connection, std::int64_t seed);

struct AuditedUser {
  std::string id;
  std::string name;
  ShardId shard;
};
std::vector<AuditedUser> users_of_buckets(pqxx::connection& connection, std::int64_t seed,
                                          const std::vector<std::int32_t>& buckets);
// Those of the accounts that are users'.
std::vector<AuditedUser> users_of_accounts(pqxx::connection& connection,
                                           const std::vector<std::string>& accounts);

}  // namespace koshel::directory
