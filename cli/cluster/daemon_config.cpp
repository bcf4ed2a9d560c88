#include "cli/cluster/daemon_config.hpp"

namespace koshel::cli {
namespace {

std::string database_keys(const ProcessSpec& spec) {
  return "  host: 127.0.0.1\n  port: " + std::to_string(spec.port) +
         "\n  database: " + spec.database() + "\n  user: koshel\n";
}

// Beside the config.
std::string certificate_keys(const ProcessSpec& spec) {
  return "    cert_file: certs/" + spec.name + ".pem\n    key_file: certs/" + spec.name + ".key\n";
}

}  // namespace

std::string daemon_config(const ClusterState& state, const ProcessSpec& spec) {
  std::string text = "# Written by `koshel cluster`; config/production.yml explains every key.\n";
  text += "cluster: koshel\nlog:\n  level: info\n";
  text += "directory:\n" + database_keys(state.directory());
  if (spec.role == ProcessRole::ShardAgent) {
    text += "shard:\n  name: " + spec.shard + "\n" + database_keys(state.postgres_of(spec)) +
            "agent:\n";
  } else {
    if (state.auth != AuthMode::None) {
      text += "auth:\n  mode: " + std::string(to_string(state.auth)) + "\n";
    }
    text += "coordinator:\n";
  }
  text += "  listen: 127.0.0.1:" + std::to_string(spec.port) + "\n";
  if (!state.is_tls) return text;
  text += "  tls:\n" + certificate_keys(spec);
  const std::string ca = "    ca_file: certs/ca.pem\n";
  if (spec.role == ProcessRole::ShardAgent) return text + ca;
  return text + "  agent_tls:\n" + certificate_keys(spec) + ca;
}

}  // namespace koshel::cli
