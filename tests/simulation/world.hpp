#pragma once
// What everybody in one simulation shares: time, chance, the network, the databases, who listens
// where, what is counted. Owned by Simulation, known to processes by reference.

#include <cstdio>
#include <map>
#include <sstream>
#include <string>

#include "tests/simulation/network.hpp"
#include "tests/simulation/plan.hpp"
#include "tests/simulation/pool.hpp"
#include "tests/simulation/postgres/directory_database.hpp"
#include "tests/simulation/postgres/shard_database.hpp"

namespace koshel::simulation {

class AgentProcess;
class CoordinatorProcess;
class Checker;

struct World {
  explicit World(const Plan& the_plan);
  ~World();

  void reached(const char* what) { ++branches[what]; }
  // With --log: what happens, line by line.
  template <class... Parts>
  void log(const Parts&... parts) const {
    if (!plan.is_logged) return;
    std::ostringstream line;
    line << std::chrono::duration<double>(scheduler.now().time_since_epoch()).count();
    ((line << ' ' << parts), ...);
    std::puts(line.str().c_str());
  }
  // A chunk of entries on its way between two shards, which nobody between them looks into.
  std::string seal(std::vector<StoredEntry> entries) {
    chunks.push_back(std::move(entries));
    return std::to_string(chunks.size() - 1);
  }
  const std::vector<StoredEntry>& open(const std::string& chunk) const {
    return chunks.at(std::stoul(chunk));
  }
  // Whether a process dies here, between two of its effects.
  bool dies_here() { return chance.is_hit(die_at_effect); }
  Timestamp calendar() const {
    return Timestamp(std::chrono::duration_cast<std::chrono::microseconds>(
        scheduler.now().time_since_epoch() + std::chrono::hours(24)));
  }

  Plan plan;
  Scheduler scheduler;
  Chance chance;
  Network network;
  double die_at_effect = 0;
  double break_connection = 0;
  double wrong_head = 0;
  Instant healed_at = Instant::max();

  std::unique_ptr<Server> directory_server;
  std::unique_ptr<DirectoryDatabase> directory;
  struct Shard {
    std::unique_ptr<Server> server;
    std::unique_ptr<ShardDatabase> database;
    NodeId server_node = 0;
    NodeId agent_node = 0;
    std::vector<std::unique_ptr<AgentProcess>> agents;  // the second runs now and then

    // Of a gid that is this shard's own, to the letter.
    std::optional<RoundId> own_round(const std::string& gid) const {
      const auto parsed = Gid::parse(gid);
      const bool is_own = parsed && database->gid_of(parsed->round) == gid;
      return is_own ? std::optional(parsed->round) : std::nullopt;
    }
  };
  std::map<ShardId, Shard> shards;
  std::vector<std::unique_ptr<CoordinatorProcess>> coordinators;
  std::vector<std::vector<StoredEntry>> chunks;
  Checker* checker = nullptr;

  // Printed at the end.
  std::map<std::string, std::int64_t> faults;
  std::map<std::string, std::int64_t> branches;
};

inline constexpr NodeId kDirectoryNode = 1;

}  // namespace koshel::simulation
