#include "platform/migrations.hpp"

#include <string>

#include "platform/postgres.hpp"

namespace koshel::platform {
namespace {

// "koshel" in ASCII, so that no other program takes the same advisory lock by chance.
constexpr auto kLock = "select pg_advisory_xact_lock(118374923725164)";
constexpr auto kCreateTable =
    "create table if not exists schema_migrations (number integer primary key, name text not null, "
    "applied_at timestamptz not null default now())";
constexpr auto kNewest = "select coalesce(max(number), 0) from schema_migrations";
constexpr auto kTableExists = "select to_regclass('schema_migrations') is not null";

int newest_of(std::span<const Migration> migrations) {
  return migrations.empty() ? 0 : migrations.back().number;
}

Error newer_schema(int found, int known) {
  return {Fault::Internal, "the database's schema is at migration " + std::to_string(found) +
                               ", this binary knows only " + std::to_string(known) +
                               ": install the newer Koshel that made it"};
}

struct Step {
  int newest = 0;  // in the database, before this step
  bool has_applied = false;
};

// Applies the next migration, if there is one, in a transaction of its own.
Step apply_next(pqxx::connection& connection, std::span<const Migration> migrations) {
  pqxx::work transaction(connection);
  transaction.exec(kLock);
  transaction.exec(kCreateTable);
  Step step{transaction.exec(kNewest)[0][0].as<int>(), false};
  for (const auto& migration : migrations) {
    if (migration.number <= step.newest) continue;
    transaction.exec(std::string(migration.sql));
    transaction.exec_params("insert into schema_migrations (number, name) values ($1, $2)",
                            migration.number, std::string(migration.name));
    step.has_applied = true;
    break;
  }
  transaction.commit();
  return step;
}

}  // namespace

Result<int> migrate(pqxx::connection& connection, std::span<const Migration> migrations) {
  for (int applied = 0;; ++applied) {
    const auto step = guarded([&] { return apply_next(connection, migrations); });
    if (!step) return step.error();
    const int known = newest_of(migrations);
    if (step.value().newest > known) return newer_schema(step.value().newest, known);
    if (!step.value().has_applied) return applied;
  }
}

Result<void> check_schema(pqxx::connection& connection, std::span<const Migration> migrations) {
  auto found = guarded([&] {
    pqxx::nontransaction session(connection);
    if (!session.exec(kTableExists)[0][0].as<bool>()) return 0;
    return session.exec(kNewest)[0][0].as<int>();
  });
  if (!found) return found.error();
  const int known = newest_of(migrations);
  if (found.value() > known) return newer_schema(found.value(), known);
  if (found.value() < known) {
    return Error{Fault::Internal, "the database's schema is at migration " +
                                      std::to_string(found.value()) + ", this binary needs " +
                                      std::to_string(known) + ": run `koshel init --config FILE`"};
  }
  return success();
}

}  // namespace koshel::platform
