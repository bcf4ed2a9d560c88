#pragma once
// The configuration file: one YAML schema for the console, the coordinator and the agent, each of
// which reads the sections it needs. config/production.yml documents every key; the defaults stand
// here. An unknown key or a bad value is an Error whose context gives file, line, key and what
// would be right.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace koshel::platform {

using std::chrono::milliseconds;

struct DatabaseConfig {
  std::string host = "127.0.0.1";  // libpq's own: a list of hosts or a socket directory work too
  std::string port = "5432";
  std::string database;
  std::string user = "koshel";
  std::string password;    // better left to PGPASSFILE
  std::string options;     // more libpq keywords: "sslmode=require target_session_attrs=primary"
  int connections = 4;     // the pool's size
  int waiting_max = 4096;  // calls that may wait for a connection; more are refused
  milliseconds connect_timeout{5'000};
  milliseconds statement_timeout{30'000};
  milliseconds lock_timeout{5'000};

  std::string dsn() const;       // for libpq; quoted as libpq wants it
  std::string describe() const;  // for people and logs: no password
};

struct ListenConfig {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
};

// PEM files. None: plain text.
struct TlsConfig {
  std::string cert_file;
  std::string key_file;
  std::string ca_file;  // who signs the certificates of coordinators and agents

  bool is_on() const { return !cert_file.empty(); }
};

struct HttpConfig {
  int connections_max = 1024;
  int refusals_max = 64;  // connections beyond those, at once, that get an answer
  std::size_t body_bytes_max = 16u << 20;
  std::size_t header_bytes_max = 16u << 10;
  std::size_t buffered_bytes_max = 512u << 20;  // bodies and answers of all connections
  milliseconds idle_timeout{75'000};
  milliseconds request_timeout{30'000};    // to read one request: slow senders are cut off
  milliseconds linger{2'000};              // for what a refused client still sends
  milliseconds handshake_timeout{10'000};  // of TLS
};

struct LaneConfig {
  int local_rounds_in_flight = 2;  // per shard
  int cross_rounds_in_flight = 2;  // between shards; and per pair with one that does not answer
  int local_round_transfers_max = 2'000;
  int cross_round_transfers_max = 2'000;
  milliseconds shard_patience{1'000};  // then a round between shards goes on without who is silent
};

// Of the coordinator that moves users between shards.
struct RebalanceConfig {
  int users_per_move = 500;
  int entries_per_chunk = 10'000;
  int moves_in_flight = 3;
  int beside_transfers_percent = 25;
  int beside_transfers_users = 25;
  int beside_transfers_entries = 500;
  milliseconds beat{500};
  milliseconds lease{5'000};  // without a beat: another coordinator takes over
  milliseconds retry{500};
  int retries_max = 600;  // in a row, then the rebalance has failed
};

// Of Argon2id; raising them makes old hashes new ones at the next login.
struct PasswordConfig {
  int memory_kib = 19'456;
  int passes = 2;
  int threads = 1;       // that do nothing else
  int waiting_max = 32;  // passwords that wait for one; more are RATE_LIMITED
};

// Failed logins: some are free, then each doubles the wait.
struct ThrottleConfig {
  int free_per_name = 5;
  int free_per_address = 20;
  milliseconds delay{1'000};
  milliseconds delay_max{30'000};
  milliseconds forgiven_every{60'000};
};

// One group of LDAP's, by its DN or its cn, and what its members may do.
struct LdapGroup {
  std::string group;
  std::vector<std::string> roles;  // teller, auditor, admin
};

struct LdapConfig {
  std::vector<std::string> urls;  // ldaps://HOST[:PORT] or ldap://HOST[:PORT], in this order
  bool start_tls = false;
  std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";  // PEM
  std::string user_dn_template;    // with {name}; else people are searched below `base`
  std::string bind_dn;             // of the service account; empty: there is none
  std::string bind_password_file;  // its password, one line
  std::string base;
  std::string filter = "(uid={name})";
  std::string name_attribute = "uid";  // must hold the very name that was given
  std::string group_base;
  std::string group_filter = "(member={dn})";  // or {name}
  std::vector<LdapGroup> groups;
  milliseconds roles_ttl{60'000};  // the oldest that a session's roles may be
  milliseconds connect_timeout{2'000};
  milliseconds operation_timeout{2'000};
  int connections = 4;   // threads, each with one question at a time
  int waiting_max = 64;  // questions that wait for one; more are RATE_LIMITED
};

enum class AuthMode { None, Password, Ldap };
std::string_view to_string(AuthMode mode);  // as the config spells it
std::optional<AuthMode> find_auth_mode(std::string_view word);

struct AuthConfig {
  AuthMode mode = AuthMode::None;
  bool allow_open = false;  // mode none on a listener that others reach
  milliseconds session{43'200'000};
  int sessions_max = 64;            // of one name; a new one ends the oldest
  milliseconds token_cache{2'000};  // how old the knowledge of a token may be
  int tokens_cached_max = 100'000;
  int audit_waiting_max = 10'000;  // entries of the audit trail that wait for the directory
  PasswordConfig passwords;
  ThrottleConfig throttle;
  LdapConfig ldap;
};

struct CoordinatorConfig {
  ListenConfig listen{"127.0.0.1", 7400};
  bool allow_plain_text = false;  // on a listener that others reach
  TlsConfig tls;                  // of the API
  TlsConfig agent_tls;            // shown to agents; with it they must be asked over https
  HttpConfig http;
  LaneConfig lanes;
  RebalanceConfig rebalance;
  int orders_queued_max = 131'072;
  int routes_cached_max = 1'000'000;
  int fault_retries_max = 3;     // of them, because a shard or the directory did not answer
  int rounds_retries_max = 100;  // times one transfer may go back to the queue
  milliseconds deadline{5'000};  // of a call without Koshel-Deadline-Ms
  milliseconds deadline_max{60'000};
  milliseconds settle_wait{1'000};              // then 202: settling
  milliseconds agent_timeout{10'000};           // one call to an agent
  int agent_connections_max = 16;               // per agent
  milliseconds directory_refresh{2'000};        // how old the list of shards may be
  milliseconds directory_timeout{2'000};        // one question of its own; then it counts as down
  int unconfirmed_rounds_max = 10'000;          // committed rounds that a shard has not confirmed
  milliseconds log_keep_interval{2'000};        // between signs of life in the decision log
  milliseconds incarnation_dead_after{60'000};  // without one: closed by another coordinator
  milliseconds audit_hold_max{2'000};           // decisions wait for an audit no longer than that
  milliseconds audit_timeout{3'600'000};        // of one question of an audit; then it fails
  milliseconds shutdown_grace{10'000};
};

struct AgentConfig {
  ListenConfig listen{"127.0.0.1", 7501};
  bool allow_plain_text = false;  // on a listener that others reach
  TlsConfig tls;                  // shown to coordinators, who must show theirs
  HttpConfig http;
  int rounds_in_flight_max = 256;
  int heads_cached_max = 1'000'000;
  int worlds_max = 16;  // @world accounts per currency, at most 64
  int stale_retries_max = 3;
  int busy_patience = 5;  // times busy, after which an account is kept for an order
  milliseconds keep_for_patient{250};
  milliseconds reservation{5'000};
  milliseconds scan_interval{1'000};
  milliseconds in_doubt_age{5'000};
  milliseconds forget_interval{10'000};   // between looks for rounds that are over
  int prepared_headroom = 4;              // slots of max_prepared_transactions left alone
  milliseconds audit_timeout{3'600'000};  // of one question of an audit; then its snapshot ends
  milliseconds shutdown_grace{10'000};
};

struct Config {
  std::string file;
  std::string cluster = "koshel";
  std::string shard_name;        // shard.name
  std::string currency = "EUR";  // of users created without one
  std::string log_level = "info";
  bool has_directory = false;
  bool has_shard = false;
  DatabaseConfig directory;
  DatabaseConfig shard;
  AuthConfig auth;
  CoordinatorConfig coordinator;
  AgentConfig agent;
};

Result<Config> load_config(const std::string& file);
// The same of a text; `file` is what faults call it.
Result<Config> parse_config(const std::string& text, const std::string& file);

// Whether only this machine can be behind the name or address.
bool is_loopback(const std::string& host);

}  // namespace koshel::platform
