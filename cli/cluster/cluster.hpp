#pragma once
// An embedded cluster: real PostgreSQL servers, agents and coordinators on this machine's loopback,
// in one folder. Starts what is not running, in order, and waits until it serves; stops only
// processes it started itself. Never touches data except when it is destroyed.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "cli/cluster/first_admin.hpp"
#include "cli/cluster/postgres_server.hpp"
#include "cli/cluster/process.hpp"
#include "cli/cluster/state.hpp"

namespace koshel::cli {

struct ClusterPlan {
  int shards = 2;
  int coordinators = 1;
  std::uint16_t port = 7400;  // of the first coordinator, the others on the next; 0: any free one
  AuthMode auth = AuthMode::None;
  bool is_tls = false;
};

// Only one console at a time may change a cluster. Released when it is destroyed.
class ClusterLock {
 public:
  static Outcome<ClusterLock> take(const std::filesystem::path& dir);
  ClusterLock(ClusterLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ClusterLock& operator=(ClusterLock&&) = delete;
  ~ClusterLock();

 private:
  explicit ClusterLock(int fd) : fd_(fd) {}
  int fd_;
};

class Cluster {
 public:
  // Chooses ports and writes the state file; starts nothing.
  static Outcome<Cluster> create(const std::filesystem::path& dir, const ClusterPlan& plan);
  static Outcome<Cluster> open(const std::filesystem::path& dir);

  const ClusterState& state() const { return state_; }
  bool is_running(const ProcessSpec& spec) const;
  std::size_t running_count() const;

  // Starts what is not running and waits until all of it serves. What this call started is stopped
  // again if it cannot be done. The first time, in a cluster with passwords, an admin comes back,
  // and again each time until mark_admin_told(): then nobody knows the earlier one.
  Outcome<std::optional<FirstAdmin>> up();
  Outcome<void> mark_admin_told();
  // A new empty database and its agent; brings no shard into service. Returns the agent.
  Outcome<ProcessSpec> add_shard(std::string name);
  // Stops the process if it is alive, starts it, waits until it serves.
  Outcome<void> restart(const ProcessSpec& spec);
  void down();
  // down(), then all data goes.
  Outcome<void> destroy();

 private:
  explicit Cluster(ClusterState state) : state_(std::move(state)) {}

  Outcome<void> start_all(std::vector<ProcessSpec> specs);
  Outcome<void> start_role(const std::vector<ProcessSpec>& specs, ProcessRole role);
  Outcome<void> start(const ProcessSpec& spec);
  std::string log_says(
      const ProcessSpec& spec) const;  // since its start, for the end of a sentence
  bool is_worth_starting_again(const ProcessSpec& spec) const;
  Outcome<void> wait_until_serving(const ProcessSpec& spec);
  Outcome<void> initialise_shards(std::vector<ProcessSpec>& specs);  // those removed go from it
  Outcome<void> forget_shard(const std::string& shard);
  Outcome<std::optional<FirstAdmin>> bring_into_service();
  Outcome<void> register_shards(ApiClient& client);
  Outcome<void> write_config(const ProcessSpec& spec) const;
  void stop(const ProcessSpec& spec) const;
  void stop_in_order(const std::vector<ProcessSpec>& specs) const;
  Outcome<void> prepare(const ProcessSpec& spec);
  Outcome<void> prepare_all(const std::vector<ProcessSpec>& specs);
  Outcome<void> find_programs();
  Outcome<ProcessStart> start_of(const ProcessSpec& spec) const;
  Outcome<void> serves(const ProcessSpec& spec) const;

  ClusterState state_;
  std::optional<PostgresPrograms> postgres_;
  std::vector<ProcessSpec> started_;                // by the call in work
  std::map<std::string, std::uintmax_t> log_from_;  // where each started process's own log begins
};

}  // namespace koshel::cli
