#pragma once
// What a PostgreSQL server must do so that a commit it has acknowledged outlives a crash. Of shards
// and of the directory alike, whose commit is the decision upon a round.

#include <pqxx/pqxx>
#include <string_view>

#include "base/result.hpp"

namespace koshel::platform {

// Of fsync, full_page_writes and synchronous_commit. `local` does not wait for the standby that an
// operator asked for.
bool is_durable(std::string_view setting);

// Internal: one of the three is not durable. Unavailable: the server is a standby, which may change.
Result<void> check_durability(pqxx::connection& connection);

}  // namespace koshel::platform
