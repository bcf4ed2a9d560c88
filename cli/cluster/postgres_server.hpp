#pragma once
// The PostgreSQL programs of this machine, for servers that belong to an embedded cluster: finds
// them, makes a data directory, says how to run it. As root everything runs as another user, for
// PostgreSQL refuses root.

#include <filesystem>
#include <optional>

#include "cli/cluster/process.hpp"
#include "cli/cluster/state.hpp"

namespace koshel::cli {

class PostgresPrograms {
 public:
  static Outcome<PostgresPrograms> find();

  // Where the data of all servers goes: DIR/postgres, or (said on stderr) a folder under /var/tmp
  // with a link in DIR when the user that PostgreSQL runs as cannot reach DIR.
  Outcome<std::filesystem::path> make_root(const std::filesystem::path& dir) const;

  // Makes the data directory unless it is there already.
  Outcome<void> create(const ClusterState& state, const ProcessSpec& spec) const;
  // A killed server leaves its lock file, and PostgreSQL believes it as long as any process has
  // that pid: a zombie that nobody reaps, or a stranger. This looks whether it is that server, and
  // else removes the file. Children that still run keep a new server out by their shared memory.
  void remove_stale_lock(const ClusterState& state, const ProcessSpec& spec) const;
  ProcessStart start_of(const ClusterState& state, const ProcessSpec& spec) const;

 private:
  Outcome<void> write_settings(const ClusterState& state, const ProcessSpec& spec,
                               const std::filesystem::path& data) const;
  // For a data directory that is there: the programs of its own major version, if this machine has
  // them.
  std::filesystem::path bin_for(const std::filesystem::path& data) const;
  ProcessStart command(const ClusterState& state, const ProcessSpec& spec,
                       std::vector<std::string> words) const;

  std::filesystem::path bin_;
  std::optional<OsUser> user_;  // set when we are root
};

// Fast shutdown; immediate after a minute.
ProcessStop postgres_stop();

}  // namespace koshel::cli
