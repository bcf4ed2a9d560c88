#include "cli/cluster/daemon_config.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace koshel::cli {
namespace {

std::string database_keys(const ProcessSpec& spec) {
  return "  host: 127.0.0.1\n  port: " + std::to_string(spec.port) +
         "\n  database: " + spec.database() + "\n  user: koshel\n";
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
    text += "coordinator:\n";
  }
  text += "  listen: 127.0.0.1:" + std::to_string(spec.port) + "\n";
  return text;
}

Outcome<void> write_private_file(const std::filesystem::path& file, const std::string& text) {
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool is_written =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int reason = errno;
  if (fd >= 0) close(fd);
  if (is_written) return success();
  return Failure(ExitCode::Usage, "cannot write " + file.string() + ": " + std::strerror(reason));
}

}  // namespace koshel::cli
