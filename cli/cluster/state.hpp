#pragma once
// What an embedded cluster consists of: its processes, their ports and where their data is. Kept in
// DIR/cluster.json, so that the same cluster can be started, looked at and stopped by later
// commands.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/console.hpp"
#include "platform/config.hpp"

namespace koshel::cli {

enum class ProcessRole { Postgres, ShardAgent, Coordinator };
std::string_view to_string(ProcessRole role);

// Of the coordinators' `auth.mode`.
using platform::AuthMode;

struct ProcessSpec {
  std::string name{};  // "directory", "shard-1", "agent-1", "coordinator-1"
  ProcessRole role = ProcessRole::Postgres;
  std::uint16_t port = 0;
  std::string shard{};               // of an agent and its database; "" for the directory
  bool is_to_be_registered = false;  // of an agent: `up` is to bring its shard into service

  bool is_directory() const { return role == ProcessRole::Postgres && shard.empty(); }
  std::string database() const { return shard.empty() ? "koshel_directory" : "koshel_shard"; }
  std::string dsn() const;
};

struct ClusterState {
  std::filesystem::path dir;
  std::filesystem::path postgres_root;  // the data of all its PostgreSQL servers
  std::vector<ProcessSpec> processes;   // in the order in which they are started
  AuthMode auth = AuthMode::None;
  bool is_tls = false;  // daemons speak TLS, with certificates in certs()
  // With passwords: nobody has been told one yet.
  bool is_admin_awaited = false;

  static bool exists(const std::filesystem::path& dir);
  static Outcome<ClusterState> load(const std::filesystem::path& dir);
  Outcome<void> save() const;

  const ProcessSpec* find(std::string_view name) const;
  const ProcessSpec& directory() const;
  // The database of an agent's shard.
  const ProcessSpec& postgres_of(const ProcessSpec& agent) const;
  std::size_t count(ProcessRole role) const;
  const ProcessSpec& coordinator() const;  // the first one
  std::string url_of(const ProcessSpec& spec) const;
  std::string url() const { return url_of(coordinator()); }
  std::filesystem::path certs() const { return dir / "certs"; }
  std::string ca_file() const { return is_tls ? (certs() / "ca.pem").string() : ""; }

  std::filesystem::path log_of(const ProcessSpec& spec) const {
    return dir / "log" / (spec.name + ".log");
  }
  std::filesystem::path pid_file_of(const ProcessSpec& spec) const {
    return dir / "run" / (spec.name + ".pid");
  }
  std::filesystem::path config_of(const ProcessSpec& spec) const {
    return dir / (spec.name + ".yml");
  }
  std::filesystem::path data_of(const ProcessSpec& spec) const { return postgres_root / spec.name; }
};

// True if nobody listens on the port on loopback.
bool is_port_free(std::uint16_t port);
// Free ports below the range from which the kernel takes ports for outgoing connections, so that
// they are still free when the cluster is started again.
Outcome<std::uint16_t> choose_port(const std::vector<ProcessSpec>& taken);

}  // namespace koshel::cli
