// doctor: looks at everything a healthy system needs, says of each finding how to mend it. Reads
// only.

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "cli/api_client.hpp"
#include "cli/cluster/process.hpp"
#include "cli/cluster/state.hpp"
#include "cli/output.hpp"
#include "cli/shards.hpp"
#include "platform/durability.hpp"
#include "platform/ldap/ldap_connection.hpp"
#include "platform/migrations.hpp"
#include "platform/postgres.hpp"
#include "sql/migrations.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr int kServerVersionMin = 140'000;
constexpr int kPreparedMin = 32;  // one agent's rounds in flight fit, and some are left
constexpr std::chrono::milliseconds kAgentTimeout{2'000};
constexpr std::chrono::days kCertificateMin{14};
constexpr double kClockSecondsMax = 2.0;  // more, and times in histories mislead

constexpr const char* kReadSettings =
    "select current_setting('server_version_num')::int, "
    "current_setting('max_prepared_transactions')::int, "
    "current_setting('fsync'), current_setting('full_page_writes'), "
    "pg_is_in_recovery(), extract(epoch from clock_timestamp())::float8, "
    "(select count(*) from pg_prepared_xacts where prepared < now() - interval '60 seconds')::int";
constexpr const char* kStrayUsers =
    "select s.name, count(*) from users u join shards s on s.id = u.shard "
    "where s.agent is null group by s.name order by s.name";

struct Finding {
  std::string subject, what, mend;  // nothing to mend: fine
};

class Examination {
 public:
  void fine(std::string subject, std::string what) {
    findings_.push_back({std::move(subject), std::move(what), {}});
  }
  void fault(std::string subject, std::string what, std::string mend) {
    findings_.push_back({std::move(subject), std::move(what), std::move(mend)});
  }
  bool has(const std::string& subject) const {
    return std::any_of(findings_.begin(), findings_.end(),
                       [&](const Finding& finding) { return finding.subject == subject; });
  }
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  std::vector<Finding> findings_;
};

struct ServerFacts {
  int version = 0, prepared_max = 0;
  std::string fsync, full_page_writes;
  bool is_standby = false;
  double clock_ahead_s = 0;  // of ours
  int old_prepared = 0;
};

double now_s() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

Result<ServerFacts> read_facts(pqxx::connection& connection) {
  return platform::guarded([&] {
    pqxx::nontransaction session(connection);
    const double before = now_s();
    const auto row = session.exec1(kReadSettings);
    const double middle = (before + now_s()) / 2;
    return ServerFacts{row[0].as<int>(),         row[1].as<int>(),  row[2].as<std::string>(),
                       row[3].as<std::string>(), row[4].as<bool>(), row[5].as<double>() - middle,
                       row[6].as<int>()};
  });
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f s", seconds);
  return text;
}

void judge_settings(Examination& examination, const std::string& subject,
                    const ServerFacts& facts) {
  const std::string version =
      std::to_string(facts.version / 10'000) + "." + std::to_string(facts.version % 10'000);
  if (facts.version < kServerVersionMin) {
    examination.fault(subject, "PostgreSQL " + version + " is too old",
                      "upgrade it to 14 or newer");
  } else {
    examination.fine(subject, "PostgreSQL " + version);
  }
  const auto expect_on = [&](const char* name, const std::string& value) {
    const auto setting = std::string(name) + " = " + value;
    if (value == "on") return examination.fine(subject, setting);
    examination.fault(subject, setting + ": a crash of the machine loses acknowledged money",
                      "alter system set " + std::string(name) + " = on; select pg_reload_conf()");
  };
  expect_on("fsync", facts.fsync);
  expect_on("full_page_writes", facts.full_page_writes);
  if (facts.is_standby) {
    examination.fault(
        subject, "it is a standby and takes no writes",
        "name the primary in the config, or add target_session_attrs=primary to `options`");
  }
  if (std::abs(facts.clock_ahead_s) > kClockSecondsMax) {
    examination.fault(
        subject, "its clock is " + seconds_text(facts.clock_ahead_s) + " ahead of this machine's",
        "set both clocks with NTP (chrony, systemd-timesyncd)");
  } else {
    examination.fine(subject, "clock differs from ours by " + seconds_text(facts.clock_ahead_s));
  }
}

void judge_prepared(Examination& examination, const std::string& subject,
                    const ServerFacts& facts) {
  if (facts.prepared_max < kPreparedMin) {
    examination.fault(
        subject,
        "max_prepared_transactions = " + std::to_string(facts.prepared_max) +
            ": too few, rounds between shards wait for a free slot; with 0 no agent starts",
        "alter system set max_prepared_transactions = 128, then restart the server");
  } else {
    examination.fine(subject, "max_prepared_transactions = " + std::to_string(facts.prepared_max));
  }
  if (facts.old_prepared > 0) {
    examination.fault(
        subject, std::to_string(facts.old_prepared) + " transaction(s) prepared for over a minute",
        "start this shard's agent, which settles its own; `koshel rounds unresolved` names them");
  }
}

void judge_routes(Examination& examination, const std::string& subject,
                  pqxx::connection& connection) {
  const auto stray = platform::guarded([&] {
    pqxx::nontransaction session(connection);
    std::vector<std::pair<std::string, std::string>> shards;
    for (const auto& row : session.exec(kStrayUsers)) {
      shards.emplace_back(row[0].as<std::string>(), row[1].as<std::string>());
    }
    return shards;
  });
  if (!stray) {
    return examination.fault(subject, "routes cannot be read: " + stray.error().context,
                             "run `koshel init --config FILE` first");
  }
  for (const auto& [shard, users] : stray.value()) {
    examination.fault(subject, users + " user(s) live on shard '" + shard + "', which has no agent",
                      "koshel shard add " + shard + " --agent URL");
  }
  if (stray.value().empty()) examination.fine(subject, "every user lives on a shard with an agent");
}

enum class DatabaseRole { Directory, Shard };

void examine_database(Examination& examination, const platform::DatabaseConfig& database,
                      DatabaseRole role) {
  const bool is_shard = role == DatabaseRole::Shard;
  const std::string subject = (is_shard ? "shard's " : "directory's ") + database.describe();
  if (examination.has(subject)) return;  // several configs may name one directory
  const auto connection = platform::connect(database, "koshel-doctor");
  if (!connection) {
    return examination.fault(subject, Failure(connection.error()).sentence,
                             "start the server, or correct host, port, user in the config");
  }
  const auto facts = read_facts(*connection.value());
  if (!facts)
    return examination.fault(subject, "cannot be asked: " + facts.error().context,
                             "see the server's log");
  judge_settings(examination, subject, facts.value());
  if (is_shard) judge_prepared(examination, subject, facts.value());
  const auto schema = platform::check_schema(
      *connection.value(), is_shard ? sql::shard_migrations() : sql::directory_migrations());
  if (!schema) {
    examination.fault(subject, schema.error().context, "koshel init --config FILE");
  } else {
    examination.fine(subject, "schema is up to date");
    if (!is_shard) judge_routes(examination, subject, *connection.value());
  }
}

void judge_certificate(Examination& examination, const platform::TlsConfig& tls) {
  const std::string subject = "certificate " + tls.cert_file;
  if (!tls.is_on() || examination.has(subject)) return;
  constexpr const char* kMend =
      "koshel certs renew, put it in its place, and send the daemon SIGHUP";
  const auto end = platform::certificate_valid_until(tls.cert_file);
  if (!end) return examination.fault(subject, end.error().context, "correct the config");
  const auto left = end.value() - std::chrono::system_clock::now();
  const auto until = "valid until " + format_rfc3339(end.value());
  if (left > kCertificateMin) return examination.fine(subject, until);
  examination.fault(subject, left.count() < 0 ? "it has run out, " + until : "only " + until,
                    kMend);
}

// Every server by itself: the coordinator is content with the first that answers.
void examine_ldap(Examination& examination, const platform::LdapConfig& ldap) {
  for (const auto& url : ldap.urls) {
    const std::string subject = "LDAP " + url;
    if (examination.has(subject)) continue;
    const auto deadline =
        std::chrono::steady_clock::now() + ldap.connect_timeout + ldap.operation_timeout;
    const bool has_service = !ldap.bind_dn.empty();
    const auto opened = has_service ? platform::LdapConnection::open_as_service(ldap, url, deadline)
                                    : platform::LdapConnection::open(ldap, url, deadline);
    if (opened) {
      examination.fine(subject, has_service ? "lets the service account in" : "answers");
    } else {
      examination.fault(subject, opened.error().context,
                        "start the server, or correct auth.ldap in the config");
    }
  }
}

// The coordinator reaches the agent; what more it can say is asked only where we reach it too.
void judge_agent(Examination& examination, const std::string& subject, const std::string& url,
                 const platform::TlsOptions& tls) {
  const auto answers = [&](const std::string& more) {
    examination.fine(subject, "agent " + url + " answers" + more);
  };
  auto client = ApiClient::open(url, tls);
  if (!client) return answers("");
  const auto status = client.value().call({.path = "/v1/status", .timeout = kAgentTimeout});
  if (!status) return answers("");
  const auto version = text_of(status.value().json, "version");
  if (version == KOSHEL_VERSION) return answers(", version " + version);
  examination.fault(subject,
                    "agent " + url + " is version " + version + ", this console " + KOSHEL_VERSION,
                    "install one version everywhere, then restart the agents and coordinators");
}

Outcome<void> examine_coordinator(Examination& examination, const Console& console,
                                  const platform::TlsOptions& agent_tls) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  const std::string subject = "coordinator " + client.server();
  if (const auto ready = client.call({.path = "/readyz"}); !ready) {
    examination.fault(
        subject, ready.error().sentence,
        "start it (an embedded one: koshel cluster up), look at its log, or name another "
        "with --server");
    return success();
  }
  examination.fine(subject, "ready");
  const auto shards = read_shards(client);
  if (!shards) {
    const bool is_refused = shards.error().code == ExitCode::Refused;
    examination.fault(subject, "does not list its shards: " + shards.error().sentence,
                      is_refused ? "koshel login, as an auditor or admin" : "look at its log");
    return success();
  }
  if (shards.value().items.empty()) {
    examination.fault(subject, "has no shard, so no user can be created",
                      "koshel shard add NAME --agent URL");
  }
  for (const auto& shard : shards.value().items) {
    const std::string name = "shard " + text_of(shard, "name");
    if (text_of(shard, "reachable") == "true") {
      judge_agent(examination, name, text_of(shard, "agent"), agent_tls);
    } else {
      examination.fault(name, "agent " + text_of(shard, "agent") + " does not answer",
                        "start koshel-shard-agent there (in an embedded cluster: koshel cluster "
                        "restart NAME), or look at its log");
    }
  }
  return success();
}

// Every process of an embedded cluster must live; the configs it wrote are examined too.
Outcome<void> examine_processes(Examination& examination, Console& console,
                                const std::string& folder) {
  const auto dir = std::filesystem::absolute(folder);
  KOSHEL_TRY(auto state, ClusterState::load(dir));
  for (const auto& spec : state.processes) {
    if (spec.role != ProcessRole::Postgres)
      console.configs.push_back(state.config_of(spec).string());
    if (const auto pid = running_pid(state.pid_file_of(spec))) {
      examination.fine(spec.name, "runs as process " + std::to_string(*pid));
    } else {
      examination.fault(spec.name, "is not running",
                        "koshel cluster restart " + spec.name + " --dir " + folder);
    }
  }
  if (console.server_option.empty()) console.server_option = state.url();
  if (console.ca_file.empty()) console.ca_file = state.ca_file();
  return success();
}

void print_findings(const Console& console, const Examination& examination, bool is_ok) {
  if (!console.is_json()) {
    for (const auto& finding : examination.findings()) {
      const bool is_fine = finding.mend.empty();
      print_line((is_fine ? "ok     " : "FAULT  ") + finding.subject + ": " + finding.what);
      if (!is_fine) print_line("       to mend it: " + finding.mend);
    }
    return;
  }
  json::array checks;
  for (const auto& finding : examination.findings()) {
    checks.push_back(json::object{{"subject", finding.subject},
                                  {"ok", finding.mend.empty()},
                                  {"detail", finding.what},
                                  {"mend", finding.mend}});
  }
  print_line(json::serialize(json::object{{"ok", is_ok}, {"checks", std::move(checks)}}));
}

struct DoctorOptions {
  std::string dir;
};

Finished run_doctor(const Console& asked, const DoctorOptions& options) {
  Examination examination;
  Console console = asked;
  if (!options.dir.empty()) {
    KOSHEL_TRY(examine_processes(examination, console, options.dir));
  }
  if (console.configs.empty()) {
    say("no database is looked at: name the configs with --config FILE, or an embedded cluster "
        "with --dir DIR");
  }
  platform::init_ldap();
  platform::TlsOptions agent_tls;
  for (const auto& file : console.configs) {
    const auto config = platform::load_config(file);
    if (!config) {
      examination.fault("config " + file, config.error().context,
                        "correct the file; config/production.yml shows how");
      continue;
    }
    examination.fine("config " + file, "can be read");
    judge_certificate(examination, config.value().coordinator.tls);
    judge_certificate(examination, config.value().coordinator.agent_tls);
    judge_certificate(examination, config.value().agent.tls);
    if (config.value().auth.mode == platform::AuthMode::Ldap) {
      examine_ldap(examination, config.value().auth.ldap);
    }
    const auto& tls = config.value().coordinator.agent_tls;
    if (tls.is_on()) {
      agent_tls = {.cert_file = tls.cert_file,
                   .key_file = tls.key_file,
                   .ca_file = tls.ca_file,
                   .peer_role = platform::TlsRole::Agent,
                   .ca_setting = kCaSetting};
    }
    if (config.value().has_directory) {
      examine_database(examination, config.value().directory, DatabaseRole::Directory);
    }
    if (config.value().has_shard)
      examine_database(examination, config.value().shard, DatabaseRole::Shard);
  }
  KOSHEL_TRY(examine_coordinator(examination, console, agent_tls));
  std::size_t faults = 0;
  for (const auto& finding : examination.findings()) faults += finding.mend.empty() ? 0 : 1;
  print_findings(console, examination, faults == 0);
  if (faults == 0) return ExitCode::Done;
  return Failure(ExitCode::Refused,
                 std::to_string(faults) + " fault(s) found; each says how to mend it");
}

}  // namespace

void register_doctor(CLI::App& app, Console& console) {
  auto options = std::make_shared<DoctorOptions>();
  auto* command =
      add_command(app, console, "doctor",
                  "Checks databases, settings, versions, clocks, routes, certificates "
                  "and LDAP servers, and says of\n"
                  "each fault how to mend it. Looks at the coordinator and its shards, and at the "
                  "databases of every --config FILE.",
                  options, run_doctor);
  command
      ->add_option("--dir", options->dir,
                   "An embedded cluster's folder: its processes and databases are checked too.")
      ->type_name("DIR");
  add_examples(command, {"koshel doctor", "koshel doctor --dir var/cluster",
                         "koshel doctor --config coordinator.yml --config shard-1.yml"});
}

}  // namespace koshel::cli
