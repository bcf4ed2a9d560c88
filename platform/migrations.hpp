#pragma once
// Numbered migrations of a database, embedded at build time from sql/<role>. Applying takes an
// advisory lock and one transaction per migration, so running it twice, or twice at once, does no
// harm.

#include <pqxx/pqxx>
#include <span>
#include <string_view>

#include "base/result.hpp"

namespace koshel::platform {

struct Migration {
  int number;             // 1, 2, 3 without a gap
  std::string_view name;  // "0001_accounts"
  std::string_view sql;
};

// Returns how many migrations were applied (0: the schema was up to date). A database that is newer
// than `migrations` is an Error (Internal) that says so, and nothing is changed.
Result<int> migrate(pqxx::connection& connection, std::span<const Migration> migrations);

// Error unless the database stands exactly at the newest of `migrations`; the sentence says what to
// do.
Result<void> check_schema(pqxx::connection& connection, std::span<const Migration> migrations);

}  // namespace koshel::platform
