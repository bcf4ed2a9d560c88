#include "cli/init.hpp"

#include <sodium.h>

#include <optional>

#include "base/name.hpp"
#include "cli/output.hpp"
#include "directory/io/first_admin.hpp"
#include "platform/migrations.hpp"
#include "platform/postgres.hpp"
#include "sql/migrations.hpp"

namespace koshel::cli {
namespace {

using Connection = std::unique_ptr<pqxx::connection>;

constexpr const char* kApplication = "koshel-init";

constexpr const char* kDatabaseExists = "select 1 from pg_database where datname = $1";
constexpr const char* kInsertCluster =
    "insert into cluster (name) values ($1) on conflict (only_row) do nothing";
constexpr const char* kReadCluster = "select name, id::text from cluster";
constexpr const char* kInsertShard =
    "insert into shards (name) values ($1) on conflict (name) do nothing";
constexpr const char* kReadShard = "select id from shards where name = $1";
constexpr const char* kInsertIdentity =
    "insert into identity as i (cluster, shard_id, shard_name, cluster_id) values ($1, $2, $3, $4) "
    "on conflict (only_row) do update set cluster_id = excluded.cluster_id where i.cluster_id is "
    "null "
    "and (i.cluster, i.shard_id, i.shard_name) = (excluded.cluster, excluded.shard_id, "
    "excluded.shard_name)";
constexpr const char* kReadIdentity =
    "select cluster, shard_id, shard_name, coalesce(cluster_id::text, '') from identity";

constexpr const char* kDuplicateDatabase = "42P04";
constexpr const char* kUniqueViolation = "23505";  // of two who create it in the same moment
constexpr const char* kInsufficientPrivilege = "42501";

Failure failure_at(const platform::DatabaseConfig& database, const Error& error) {
  Failure failure = error;
  const std::string subject = database.describe();
  if (failure.sentence.find(subject) == std::string::npos) {
    failure.sentence = subject + ": " + failure.sentence;
  }
  // Whatever was done or not, doing it again does no harm.
  if (failure.code == ExitCode::Unknown || failure.code == ExitCode::Unavailable) {
    failure.code = ExitCode::Unavailable;
    failure.sentence +=
        "; start that server or correct host, port and user in the config, then run this again";
  }
  if (error.sqlstate == kInsufficientPrivilege) {
    failure.sentence +=
        "; give user " + database.user + " that right, or name another in the config";
  }
  return failure;
}

// A database that is not there cannot be connected to: ask its server through the one that always
// is.
Result<bool> create_if_missing(const platform::DatabaseConfig& database) {
  auto maintenance = database;
  maintenance.database = "postgres";
  KOSHEL_TRY(auto connection, platform::connect(maintenance, kApplication));
  return platform::guarded([&] {
    pqxx::nontransaction session(*connection);
    if (!session.exec_params(kDatabaseExists, database.database).empty()) return false;
    session.exec("create database " + session.quote_name(database.database) +
                 " template template0 encoding 'UTF8'");
    return true;
  });
}

Outcome<Connection> connect_or_create(const platform::DatabaseConfig& database,
                                      const Report& report) {
  auto connection = platform::connect(database, kApplication);
  if (connection) return std::move(connection.value());
  auto created = create_if_missing(database);
  if (!created && (created.error().sqlstate == kDuplicateDatabase ||
                   created.error().sqlstate == kUniqueViolation)) {
    created = true;  // somebody else was a moment faster
  }
  if (!created) {
    const bool is_elsewhere = created.error().fault == Fault::Unavailable;
    return failure_at(database, is_elsewhere ? connection.error() : created.error());
  }
  if (!created.value()) return failure_at(database, connection.error());
  report("created " + database.describe());
  connection = platform::connect(database, kApplication);
  if (!connection) return failure_at(database, connection.error());
  return std::move(connection.value());
}

struct SchemaRole {
  const char* name;
  std::span<const platform::Migration> migrations;
};

Outcome<Connection> migrate_database(const platform::DatabaseConfig& database,
                                     const SchemaRole& role, const Report& report) {
  KOSHEL_TRY(auto connection, connect_or_create(database, report));
  const auto applied = platform::migrate(*connection, role.migrations);
  if (!applied) return failure_at(database, applied.error());
  std::string line = std::string(role.name) + "'s " + database.describe() + ": ";
  if (applied.value() == 0) {
    line += "schema is up to date";
  } else {
    line += std::to_string(applied.value()) + " migration(s) applied";
  }
  report(line);
  return connection;
}

// The id by which shards know their directory.
Outcome<std::string> claim_directory(pqxx::connection& connection, const platform::Config& config) {
  const auto cluster = platform::guarded([&] {
    pqxx::work work(connection);
    work.exec_params(kInsertCluster, config.cluster);
    const auto row = work.exec_params(kReadCluster)[0];
    work.commit();
    return std::pair(row[0].as<std::string>(), row[1].as<std::string>());
  });
  if (!cluster) return failure_at(config.directory, cluster.error());
  const auto& [name, id] = cluster.value();
  if (name != config.cluster) {
    return Failure(ExitCode::Usage, config.directory.describe() + " is the directory of cluster '" +
                                        name + "', but the config says cluster '" + config.cluster +
                                        "'; correct `cluster:` or `directory:` in " + config.file);
  }
  return id;
}

Outcome<int> shard_id_of(pqxx::connection& directory, const platform::Config& config) {
  const auto id = platform::guarded([&] {
    pqxx::work work(directory);
    work.exec_params(kInsertShard, config.shard_name);
    const int found = work.exec_params(kReadShard, config.shard_name)[0][0].as<int>();
    work.commit();
    return found;
  });
  if (!id) return failure_at(config.directory, id.error());
  return id.value();
}

struct Identity {
  std::string cluster;
  int shard_id = 0;
  std::string shard_name;
  std::string cluster_id;  // empty: of before there were any
  bool operator==(const Identity&) const = default;
};

Identity identity_in(const pqxx::result& rows) {
  return {rows[0][0].as<std::string>(), rows[0][1].as<int>(), rows[0][2].as<std::string>(),
          rows[0][3].as<std::string>()};
}

Failure claimed_by(const Identity& there, const platform::Config& config) {
  if (there.cluster == config.cluster && there.shard_name == config.shard_name) {
    return {ExitCode::Usage, config.shard.describe() + " is shard '" + there.shard_name + "' (id " +
                                 std::to_string(there.shard_id) +
                                 ") of another directory, or one that was removed; name an empty "
                                 "database under `shard:`, or the right one under `directory:`"};
  }
  return {ExitCode::Usage, config.shard.describe() + " belongs to shard '" + there.shard_name +
                               "' (id " + std::to_string(there.shard_id) + ") of cluster '" +
                               there.cluster + "', not to shard '" + config.shard_name +
                               "' of cluster '" + config.cluster + "' as " + config.file +
                               " has it; name this shard's own database under `shard:`"};
}

// Before the directory hears of the shard: a wrong config must leave no trace there.
Outcome<void> check_unclaimed(pqxx::connection& shard, const platform::Config& config,
                              const std::string& cluster_id) {
  const auto found = platform::guarded([&]() -> std::optional<Identity> {
    pqxx::nontransaction session(shard);
    const auto rows = session.exec(kReadIdentity);
    if (rows.empty()) return std::nullopt;
    return identity_in(rows);
  });
  if (!found) return failure_at(config.shard, found.error());
  const auto& there = found.value();
  if (!there) return success();
  const bool is_of_other = !there->cluster_id.empty() && there->cluster_id != cluster_id;
  if (is_of_other || there->cluster != config.cluster || there->shard_name != config.shard_name) {
    return claimed_by(*there, config);
  }
  return success();
}

Outcome<void> claim_shard(pqxx::connection& shard, const platform::Config& config,
                          const Identity& wanted) {
  const auto found = platform::guarded([&] {
    pqxx::work work(shard);
    work.exec_params(kInsertIdentity, wanted.cluster, wanted.shard_id, wanted.shard_name,
                     wanted.cluster_id);
    const auto identity = identity_in(work.exec(kReadIdentity));
    work.commit();
    return identity;
  });
  if (!found) return failure_at(config.shard, found.error());
  if (found.value() == wanted) return success();
  return claimed_by(found.value(), config);
}

struct InitOptions {
  std::string admin;
};

// Says the password once: it is stored nowhere.
Outcome<void> tell_admin(const platform::Config& config, const std::string& name) {
  if (!config.has_directory) {
    return Failure(ExitCode::Usage, config.file + " names no directory to make an admin in");
  }
  if (config.auth.mode == platform::AuthMode::Ldap) {
    return Failure(
        ExitCode::Usage,
        "--admin is for auth.mode password; with ldap the members of a group are admins: "
        "give it role admin in auth.ldap.groups");
  }
  KOSHEL_TRY(auto password, make_admin(config, name));
  if (password) {
    print_line("admin name: " + name);
    print_line("admin password: " + *password);
  } else {
    say(name + " can log in already; nothing was changed");
  }
  return success();
}

Finished run_init(const Console& console, const InitOptions& options) {
  if (console.configs.empty()) {
    return Failure(ExitCode::Usage,
                   "init needs --config FILE, such as --config config/production.yml");
  }
  const auto [admin, fault] = check_name(options.admin);
  if (!options.admin.empty() && !fault.empty()) {
    return Failure(ExitCode::Usage, "--admin: the name " + fault);
  }
  std::optional<platform::Config> first;
  for (const auto& file : console.configs) {
    const auto config = platform::load_config(file);
    if (!config) return Failure(ExitCode::Usage, config.error().context);
    KOSHEL_TRY(initialise(config.value(), print_line));
    if (!first) first = config.value();
  }
  if (!options.admin.empty()) {
    KOSHEL_TRY(tell_admin(*first, admin));
  }
  return ExitCode::Done;
}

}  // namespace

Outcome<void> initialise(const platform::Config& config, const Report& report) {
  if (!config.has_directory && !config.has_shard) {
    return Failure(ExitCode::Usage,
                   config.file + " names no database: give it `directory:`, `shard:` or both");
  }
  Connection directory;
  std::string cluster_id;
  if (config.has_directory) {
    KOSHEL_TRY(
        auto connection,
        migrate_database(config.directory, {"directory", sql::directory_migrations()}, report));
    directory = std::move(connection);
    KOSHEL_TRY(cluster_id, claim_directory(*directory, config));
  }
  if (!config.has_shard) return success();
  KOSHEL_TRY(auto shard,
             migrate_database(config.shard, {"shard", sql::shard_migrations()}, report));
  if (!directory) {
    report("shard's " + config.shard.describe() +
           ": not tied to a shard's name, for the config has no `directory:`");
    return success();
  }
  KOSHEL_TRY(check_unclaimed(*shard, config, cluster_id));
  KOSHEL_TRY(auto id, shard_id_of(*directory, config));
  KOSHEL_TRY(claim_shard(*shard, config, {config.cluster, id, config.shard_name, cluster_id}));
  report("shard's " + config.shard.describe() + ": is shard '" + config.shard_name +
         "' of cluster '" + config.cluster + "'");
  return success();
}

Outcome<bool> is_of_removed_shard(const platform::Config& config) {
  const auto shard = platform::connect(config.shard, kApplication);
  if (!shard) return false;  // it is not created yet
  const auto id = platform::guarded([&] {
    pqxx::nontransaction session(*shard.value());
    const bool is_there =
        session.exec("select to_regclass('identity') is not null")[0][0].as<bool>();
    const auto rows = is_there ? session.exec("select shard_id from identity") : pqxx::result();
    return rows.empty() ? std::optional<int>() : std::optional(rows[0][0].as<int>());
  });
  if (!id) return failure_at(config.shard, id.error());
  if (!id.value()) return false;
  KOSHEL_TRY(const auto directory, platform::connect(config.directory, kApplication));
  const auto is_known = platform::guarded([&] {
    pqxx::nontransaction session(*directory);
    return session
        .exec_params("select exists (select from shards where id = $1)", *id.value())[0][0]
        .as<bool>();
  });
  if (!is_known) return failure_at(config.directory, is_known.error());
  return !is_known.value();
}

Outcome<std::optional<std::string>> make_admin(const platform::Config& config,
                                               const std::string& name) {
  if (sodium_init() < 0) {
    return Failure(ExitCode::Usage, "libsodium finds no source of randomness");
  }
  const auto connection = platform::connect(config.directory, kApplication);
  if (!connection) return failure_at(config.directory, connection.error());
  auto made = directory::make_first_admin(*connection.value(), name, config.auth.passwords);
  if (!made) return failure_at(config.directory, made.error());
  return std::move(made.value());
}

void register_init(CLI::App& app, Console& console) {
  auto options = std::make_shared<InitOptions>();
  auto* command = add_command(
      app, console, "init",
      "Creates or migrates the databases that --config FILE names; again and again without harm.",
      options, run_init);
  command
      ->add_option(
          "--admin", options->admin,
          "Also makes a first admin, for `auth.mode: password`, in the directory of the first "
          "--config, and prints the password, this once (default none is made). Nothing is "
          "changed if the name can log in already.")
      ->type_name("NAME");
  add_examples(command, {"koshel init --config config/production.yml",
                         "koshel init --config config/production.yml --admin root",
                         "koshel init --config shard-1.yml --config shard-2.yml"});
}

}  // namespace koshel::cli
