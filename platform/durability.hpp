#pragma once
// What a PostgreSQL server must do so that a commit it has acknowledged outlives a crash. Of shards
// and of the directory alike, whose commit is the decision upon a round.

#include <pqxx/pqxx>

#include "base/result.hpp"

namespace koshel::platform {

// Internal: fsync or full_page_writes is off. (synchronous_commit is each session's own: see
// DatabaseConfig::dsn.) Unavailable: the server is a standby, which may change.
Result<void> check_durability(pqxx::connection& connection);

}  // namespace koshel::platform
