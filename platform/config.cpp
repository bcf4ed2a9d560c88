#include "platform/config.hpp"

#include <libpq-fe.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <fstream>
#include <iterator>
#include <optional>
#include <vector>

#include "base/ids.hpp"
#include "base/money.hpp"
#include "base/name.hpp"
#include "platform/config_ldap.hpp"
#include "platform/config_reader.hpp"

namespace koshel::platform {
namespace {

enum class TlsPeers { Anybody, OfOneCa };

void read_listen(ConfigSection& section, ListenConfig& listen) {
  std::string text;
  if (!section.text("listen", text)) return;
  const auto colon = text.rfind(':');
  const auto port_text = colon == std::string::npos ? "" : text.substr(colon + 1);
  int port = -1;
  const auto [end, error] =
      std::from_chars(port_text.data(), port_text.data() + port_text.size(), port);
  const bool is_number = error == std::errc() && end == port_text.data() + port_text.size();
  auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (!is_number || port < 0 || port > 65535 || host.empty()) {
    section.fail("listen", "'" + text + "' is not HOST:PORT such as 127.0.0.1:7400");
    return;
  }
  listen = {host, static_cast<std::uint16_t>(port)};
}

void read_http(ConfigSection section, HttpConfig& http) {
  section.number("connections_max", http.connections_max, {1, 1'000'000});
  section.number("refusals_max", http.refusals_max, {0, 10'000});
  section.number("body_bytes_max", http.body_bytes_max, {1024, 1 << 30});
  section.number("header_bytes_max", http.header_bytes_max, {256, 1 << 20});
  section.number("buffered_bytes_max", http.buffered_bytes_max, {1024, std::int64_t{1} << 40});
  if (http.buffered_bytes_max < http.body_bytes_max) {
    section.fail("buffered_bytes_max", "must be at least body_bytes_max");
  }
  section.time("idle_timeout_ms", http.idle_timeout, {1, kDay});
  section.time("request_timeout_ms", http.request_timeout, {1, kDay});
  section.time("handshake_timeout_ms", http.handshake_timeout, {1, kDay});
  section.time("linger_ms", http.linger, {1, 60'000});
  section.end();
}

void read_lanes(ConfigSection section, LaneConfig& lanes) {
  section.number("local_rounds_in_flight", lanes.local_rounds_in_flight, {1, 64});
  section.number("cross_rounds_in_flight", lanes.cross_rounds_in_flight, {1, 64});
  section.number("local_round_transfers_max", lanes.local_round_transfers_max, {1, 8192});
  section.number("cross_round_transfers_max", lanes.cross_round_transfers_max, {1, 8192});
  section.time("shard_patience_ms", lanes.shard_patience, {1, kDay});
  section.end();
}

void read_rebalance(ConfigSection section, RebalanceConfig& rebalance) {
  section.number("users_per_move", rebalance.users_per_move, {1, 4096});
  section.number("entries_per_chunk", rebalance.entries_per_chunk, {100, 100'000});
  section.number("moves_in_flight", rebalance.moves_in_flight, {1, 16});
  section.number("beside_transfers_percent", rebalance.beside_transfers_percent, {1, 100});
  section.number("beside_transfers_users", rebalance.beside_transfers_users, {1, 4096});
  section.number("beside_transfers_entries", rebalance.beside_transfers_entries, {100, 100'000});
  section.time("beat_ms", rebalance.beat, {10, kDay});
  section.time("lease_ms", rebalance.lease, {40, kDay});
  section.time("retry_ms", rebalance.retry, {10, kDay});
  section.number("retries_max", rebalance.retries_max, {0, 1'000'000});
  if (rebalance.lease < 4 * rebalance.beat) {
    section.fail("lease_ms", "must be at least four times beat_ms");
  }
  section.end();
}

bool is_list_of_ports(std::string_view text) {
  for (;;) {
    const auto item = text.substr(0, text.find(','));
    int port = 0;
    const auto [end, error] = std::from_chars(item.data(), item.data() + item.size(), port);
    if (error != std::errc() || end != item.data() + item.size() || port < 1 || port > 65535) {
      return false;
    }
    if (item.size() == text.size()) return true;
    text.remove_prefix(item.size() + 1);
  }
}

// libpq's own words on keywords that it does not know; values it looks at when it connects.
std::string find_options_fault(const std::string& options) {
  char* text = nullptr;
  auto* parsed = PQconninfoParse(options.c_str(), &text);
  if (parsed != nullptr) {
    const std::string_view session_settings = "options";
    bool sets_session = false;
    for (auto* each = parsed; each->keyword != nullptr; ++each) {
      sets_session = sets_session || (session_settings == each->keyword && each->val != nullptr);
    }
    PQconninfoFree(parsed);
    return sets_session ? "may not hold options=: Koshel sets what its sessions need itself" : "";
  }
  std::string fault = text != nullptr ? text : "cannot be read";
  PQfreemem(text);
  while (fault.ends_with('\n')) fault.pop_back();
  return "is refused by libpq: " + fault;
}

void read_database(ConfigSection& section, DatabaseConfig& database) {
  section.text("host", database.host);
  section.text("port", database.port);
  if (!is_list_of_ports(database.port)) {
    section.fail("port", "must be a port from 1 to 65535, or several with commas, not '" +
                             database.port + "'");
  }
  if (!section.text("database", database.database) || database.database.empty()) {
    section.fail("database", "is missing; the name of the database is wanted");
  }
  section.text("user", database.user);
  section.text("password", database.password);
  section.text("options", database.options);
  if (const auto fault = find_options_fault(database.options); !fault.empty()) {
    section.fail("options", fault);
  }
  section.number("connections", database.connections, {1, 1000});
  section.number("waiting_max", database.waiting_max, {1, 1'000'000});
  section.time("connect_timeout_ms", database.connect_timeout, {1, kDay});
  section.time("statement_timeout_ms", database.statement_timeout, {1, kDay});
  section.time("lock_timeout_ms", database.lock_timeout, {1, kDay});
}

void read_shard(ConfigSection section, Config& config) {
  if (!section.text("name", config.shard_name)) {
    section.fail("name", "is missing; the shard's name is wanted, such as shard-1");
  } else if (!is_valid_shard_name(config.shard_name)) {
    section.fail("name", "must be 1 to 63 of a-z, 0-9, - and _");
  }
  read_database(section, config.shard);
  section.end();
}

void read_passwords(ConfigSection section, PasswordConfig& passwords) {
  section.number("memory_kib", passwords.memory_kib, {1024, 4 << 20});
  section.number("passes", passwords.passes, {1, 100});
  section.number("threads", passwords.threads, {1, 64});
  section.number("waiting_max", passwords.waiting_max, {0, 100'000});
  section.end();
}

void read_throttle(ConfigSection section, ThrottleConfig& throttle) {
  section.number("free_per_name", throttle.free_per_name, {1, 1000});
  section.number("free_per_address", throttle.free_per_address, {1, 1'000'000});
  section.time("delay_ms", throttle.delay, {1, kDay});
  section.time("delay_max_ms", throttle.delay_max, {1, kDay});
  section.time("forgiven_every_ms", throttle.forgiven_every, {1, kDay});
  section.end();
}

void read_auth(ConfigSection section, AuthConfig& auth) {
  std::string mode(to_string(auth.mode));
  section.text("mode", mode);
  if (const auto found = find_auth_mode(mode)) {
    auth.mode = *found;
  } else {
    section.fail("mode", "must be one of none, password, ldap");
  }
  section.flag("allow_open", auth.allow_open);
  section.time("session_ms", auth.session, {1'000, 365 * kDay});
  section.number("sessions_max", auth.sessions_max, {1, 10'000});
  section.time("token_cache_ms", auth.token_cache, {1, 4'000});
  section.number("tokens_cached_max", auth.tokens_cached_max, {1, 10'000'000});
  section.number("audit_waiting_max", auth.audit_waiting_max, {1, 1'000'000});
  section.section("passwords",
                  [&](ConfigSection passwords) { read_passwords(passwords, auth.passwords); });
  section.section("throttle",
                  [&](ConfigSection throttle) { read_throttle(throttle, auth.throttle); });
  section.section("ldap", [&](ConfigSection ldap) { read_ldap(ldap, auth.ldap); });
  if (auth.mode == AuthMode::Ldap && auth.ldap.urls.empty()) {
    section.fail("mode", "ldap needs the section auth.ldap; config/production.yml shows one");
  }
  section.end();
}

// Both files or none; an agent, and who speaks to agents, needs the CA that they share.
void read_tls(ConfigSection section, TlsConfig& tls, TlsPeers peers) {
  section.file("cert_file", tls.cert_file);
  section.file("key_file", tls.key_file);
  if (tls.cert_file.empty()) section.fail("cert_file", "is missing; a certificate (PEM) is wanted");
  if (tls.key_file.empty()) section.fail("key_file", "is missing; the certificate's key is wanted");
  if (peers == TlsPeers::OfOneCa) {
    section.file("ca_file", tls.ca_file);
    if (tls.ca_file.empty()) {
      section.fail("ca_file", "is missing; the certificate of the cluster's CA is wanted");
    }
  }
  section.end();
}

void check_plain_text(ConfigSection& section, const std::string& host, const TlsConfig& tls,
                      bool is_allowed, const std::string& danger) {
  if (tls.is_on() || is_allowed || is_loopback(host)) return;
  section.fail("listen", "others can reach " + host + ", and without tls " + danger +
                             ": set tls, listen on 127.0.0.1, or write allow_plain_text: true "
                             "beside it");
}

void read_coordinator(ConfigSection section, const AuthConfig& auth,
                      CoordinatorConfig& coordinator) {
  read_listen(section, coordinator.listen);
  if (auth.mode == AuthMode::None && !auth.allow_open && !is_loopback(coordinator.listen.host)) {
    section.fail("listen",
                 "others can reach " + coordinator.listen.host +
                     ", and with auth.mode none every caller is admin: set auth.mode to "
                     "password or ldap, listen on 127.0.0.1, or write auth.allow_open: true");
  }
  section.flag("allow_plain_text", coordinator.allow_plain_text);
  section.section("tls",
                  [&](ConfigSection tls) { read_tls(tls, coordinator.tls, TlsPeers::Anybody); });
  section.section("agent_tls", [&](ConfigSection tls) {
    read_tls(tls, coordinator.agent_tls, TlsPeers::OfOneCa);
  });
  // With mode none there is no password or token that could be overheard.
  const bool is_open = auth.mode == AuthMode::None && auth.allow_open;
  check_plain_text(section, coordinator.listen.host, coordinator.tls,
                   coordinator.allow_plain_text || is_open, "all is sent in plain text");
  section.section("http", [&](ConfigSection http) { read_http(http, coordinator.http); });
  section.section("lanes", [&](ConfigSection lanes) { read_lanes(lanes, coordinator.lanes); });
  section.section("rebalance", [&](ConfigSection rebalance) {
    read_rebalance(rebalance, coordinator.rebalance);
  });
  section.number("orders_queued_max", coordinator.orders_queued_max, {1, 10'000'000});
  section.number("routes_cached_max", coordinator.routes_cached_max, {1, 100'000'000});
  section.number("fault_retries_max", coordinator.fault_retries_max, {0, 1000});
  section.number("rounds_retries_max", coordinator.rounds_retries_max, {1, 1'000'000});
  section.time("deadline_ms", coordinator.deadline, {1, kDay});
  section.time("deadline_max_ms", coordinator.deadline_max, {1, kDay});
  section.time("settle_wait_ms", coordinator.settle_wait, {1, kDay});
  section.time("agent_timeout_ms", coordinator.agent_timeout, {1, kDay});
  section.number("agent_connections_max", coordinator.agent_connections_max, {1, 10'000});
  section.time("directory_refresh_ms", coordinator.directory_refresh, {10, kDay});
  section.time("directory_timeout_ms", coordinator.directory_timeout, {10, kDay});
  section.time("log_keep_interval_ms", coordinator.log_keep_interval, {10, kDay});
  section.time("incarnation_dead_after_ms", coordinator.incarnation_dead_after, {100, kDay});
  section.number("unconfirmed_rounds_max", coordinator.unconfirmed_rounds_max, {1, 10'000'000});
  if (coordinator.incarnation_dead_after < 4 * coordinator.log_keep_interval) {
    section.fail("incarnation_dead_after_ms", "must be at least four times log_keep_interval_ms");
  }
  section.time("audit_hold_max_ms", coordinator.audit_hold_max, {10, 60'000});
  section.time("audit_timeout_ms", coordinator.audit_timeout, {1'000, kDay});
  section.time("shutdown_grace_ms", coordinator.shutdown_grace, {0, kDay});
  section.end();
}

void read_agent(ConfigSection section, AgentConfig& agent) {
  read_listen(section, agent.listen);
  section.flag("allow_plain_text", agent.allow_plain_text);
  section.section("tls", [&](ConfigSection tls) { read_tls(tls, agent.tls, TlsPeers::OfOneCa); });
  check_plain_text(section, agent.listen.host, agent.tls, agent.allow_plain_text,
                   "whoever reaches it can move all money of this shard");
  section.section("http", [&](ConfigSection http) { read_http(http, agent.http); });
  section.number("rounds_in_flight_max", agent.rounds_in_flight_max, {1, 100'000});
  section.number("heads_cached_max", agent.heads_cached_max, {2, 100'000'000});
  section.number("worlds_max", agent.worlds_max, {1, AccountId::kWorldSlotsMax});
  section.number("stale_retries_max", agent.stale_retries_max, {0, 100});
  section.number("busy_patience", agent.busy_patience, {1, 1000});
  section.time("keep_for_patient_ms", agent.keep_for_patient, {1, kDay});
  section.time("reservation_ms", agent.reservation, {1, kDay});
  section.time("scan_interval_ms", agent.scan_interval, {1, kDay});
  section.time("in_doubt_age_ms", agent.in_doubt_age, {1, kDay});
  section.time("forget_interval_ms", agent.forget_interval, {10, kDay});
  section.number("prepared_headroom", agent.prepared_headroom, {0, 10'000});
  section.time("audit_timeout_ms", agent.audit_timeout, {1'000, kDay});
  section.time("shutdown_grace_ms", agent.shutdown_grace, {0, kDay});
  section.end();
}

void read_log(ConfigSection section, Config& config) {
  section.text("level", config.log_level);
  constexpr std::string_view kLevels[] = {"trace", "debug", "info", "warn", "error"};
  if (!std::ranges::count(kLevels, config.log_level)) {
    section.fail("level", "must be one of trace, debug, info, warn, error");
  }
  section.end();
}

void read_config(ConfigSection root, Config& config) {
  root.text("cluster", config.cluster);
  if (!is_valid_cluster_name(config.cluster)) {
    root.fail("cluster", "must be 1 to 63 of a-z, 0-9, - and _");
  }
  root.text("currency", config.currency);
  if (find_currency(config.currency) == nullptr) {
    root.fail("currency", "must be a code of ISO 4217, such as EUR");
  }
  root.section("directory", [&](ConfigSection section) {
    config.has_directory = true;
    read_database(section, config.directory);
    section.end();
  });
  root.section("shard", [&](ConfigSection section) {
    config.has_shard = true;
    read_shard(section, config);
  });
  root.section("auth", [&](ConfigSection section) { read_auth(section, config.auth); });
  root.section("coordinator", [&](ConfigSection section) {
    read_coordinator(section, config.auth, config.coordinator);
  });
  root.section("agent", [&](ConfigSection section) { read_agent(section, config.agent); });
  root.section("log", [&](ConfigSection section) { read_log(section, config); });
  root.end();
}

// 'value' as libpq reads it.
std::string libpq_quoted(std::string_view value) {
  std::string text = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + "'";
}

}  // namespace

std::string DatabaseConfig::dsn() const {
  const auto seconds = std::max<std::int64_t>(2, (connect_timeout.count() + 999) / 1000);
  auto text = "host=" + libpq_quoted(host) + " port=" + libpq_quoted(port) +
              " dbname=" + libpq_quoted(database) + " user=" + libpq_quoted(user);
  if (!password.empty()) text += " password=" + libpq_quoted(password);
  text += " connect_timeout=" + std::to_string(seconds) +
          " client_encoding=UTF8 keepalives=1 keepalives_idle=10 keepalives_interval=5"
          " keepalives_count=3 tcp_user_timeout=20000";
  // Session settings ride on the connection's start: no statement of their own, and on every
  // session. Every query of ours looks up the keys of an array by index. The planner, which cannot
  // see how long the array is, would at some table sizes rather read a whole table or index, and
  // choose anew at times.
  text += " options=" +
          libpq_quoted(
              "-c jit=off -c enable_seqscan=off -c enable_hashjoin=off "
              "-c enable_mergejoin=off -c enable_bitmapscan=off -c "
              "plan_cache_mode=force_generic_plan -c timezone=UTC "
              "-c default_transaction_isolation=read\\ committed "
              // A session's own goes before what is set for a role, a database or the server.
              "-c synchronous_commit=on "
              "-c standard_conforming_strings=on -c idle_in_transaction_session_timeout=30000 "
              "-c statement_timeout=" +
              std::to_string(statement_timeout.count()) +
              " -c lock_timeout=" + std::to_string(lock_timeout.count()));
  if (!options.empty()) text += " " + options;
  return text;
}

std::string DatabaseConfig::describe() const {
  return "database " + database + " on " + host + ":" + port + " as " + user;
}

std::string_view to_string(AuthMode mode) {
  switch (mode) {
    case AuthMode::None:
      return "none";
    case AuthMode::Password:
      return "password";
    case AuthMode::Ldap:
      return "ldap";
  }
  return {};
}

std::optional<AuthMode> find_auth_mode(std::string_view word) {
  for (const auto mode : {AuthMode::None, AuthMode::Password, AuthMode::Ldap}) {
    if (to_string(mode) == word) return mode;
  }
  return std::nullopt;
}

bool is_loopback(const std::string& host) {
  boost::system::error_code no_address;
  const auto address = boost::asio::ip::make_address(host, no_address);
  return no_address ? host == "localhost" : address.is_loopback();
}

Result<Config> load_config(const std::string& file) {
  std::ifstream input(file, std::ios::binary);
  input.peek();  // a folder can be opened, but not read
  if (input.is_open() && !input.bad()) {
    return parse_config({std::istreambuf_iterator<char>(input), {}}, file);
  }
  return Error{Fault::Internal, file + ": cannot be read; give a file that exists with --config"};
}

Result<Config> parse_config(const std::string& text, const std::string& file) {
  const auto fail = [](std::string what) { return Error{Fault::Internal, std::move(what)}; };
  Config config;
  config.file = file;
  try {
    const auto root = YAML::Load(text);
    if (!root.IsMap() && !root.IsNull()) return fail(file + ": the file must hold keys and values");
    ConfigFaults faults{file, {}};
    read_config(ConfigSection(root, "", faults), config);
    if (!faults.sentences.empty()) return fail(faults.sentences.front());
  } catch (const YAML::Exception& error) {
    return fail(file + ":" + std::to_string(error.mark.line + 1) + ": " + error.msg);
  }
  return config;
}

}  // namespace koshel::platform
