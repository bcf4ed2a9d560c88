#pragma once
// The SQL text of a round: compare and append as one statement, and the one string that prepares
// it. Text, because PREPARE TRANSACTION has to follow in the same round trip and takes no
// parameters.

#include <pqxx/pqxx>
#include <string>
#include <vector>

#include "shard-agent/logic/draft.hpp"

namespace koshel::agent {

// "select append_round(...)" of sql/shard/0003_asked_by.sql.
std::string append_statement(pqxx::connection& connection, const AppendBatch& batch);

struct PrepareStatement {
  std::string gid;
  const AppendBatch& batch;
  const std::vector<AccountId>& held;
  const std::vector<std::string>& forgotten_gids;
  const std::vector<MovingAccount>& departing;
  const std::vector<MovingAccount>& arriving;
};
// The holds row in a transaction of its own, then the append, prepared under `gid`; accounts that
// arrive are owned before it, those that depart after it no longer.
std::string prepare_statement(pqxx::connection& connection, const PrepareStatement& statement);

// "{1,2,3}" and "{a,b}" as PostgreSQL reads arrays; texts are quoted as its syntax wants.
std::string array_of(const std::vector<AccountId>& accounts);
std::string array_of(const std::vector<std::string>& texts);
std::string array_of(const std::vector<TransferId>& ids);

}  // namespace koshel::agent
