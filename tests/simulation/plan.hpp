#pragma once
// What a seed draws before it begins: sizes, limits, which faults there are and how often. Every
// seed leaves out some of the faults, for a fault that always strikes hides what lies behind it.

#include "coordinator/logic/coordinator_machine.hpp"
#include "shard-agent/logic/agent_machine.hpp"

namespace koshel::simulation {

struct Plan {
  std::uint64_t seed = 0;
  bool is_logged = false;

  int shards = 2;
  int coordinators = 2;
  int users = 10;
  int clients = 4;
  double hot = 0;  // of the transfers: one side is the first user
  double keyed = 0.7;
  Duration think_max{};
  Duration chaos{};
  std::size_t close_limit = 256;
  std::size_t routes_max = 64;
  Duration agent_timeout{};
  Duration deadline_min = std::chrono::milliseconds(100);
  Duration deadline_max{};

  agent::AgentLimits agent;
  coordinator::BookLimits book;
  coordinator::RoundLimits rounds;
  coordinator::LogLimits log;
  coordinator::RebalanceLimits rebalance;
  Duration operate{};            // mean time between two things that the operator does, or 0
  bool has_late_shard = false;   // one joins while the others work
  double drain = 0;              // of what the operator does
  double sleep_before_move = 0;  // of each step of a mover
  bool is_calm = false;          // no faults at all
  bool is_replicated = false;
  int connections = 4;

  // Faults: how often, or 0.
  double lose = 0;
  double duplicate = 0;
  double slow = 0;
  double die_at_effect = 0;
  double break_connection = 0;
  double statement_error = 0;
  double terminate = 0;
  double wrong_head = 0;  // of each reading
  double sleep_after_prepare = 0;
  double wake_when_closed = 0;  // of each process that sleeps when an incarnation is closed
  // Mean time between two strikes of each kind, or 0: never.
  Duration cut{};
  Duration kill{};
  Duration stop{};
  Duration crash_database{};
  Duration fail_over{};
  Duration standby_cut{};
  Duration disk_full{};
  Duration second_agent{};
  Duration settle_by_hand{};
  Duration terminate_all{};
  Duration cancel{};
  Duration foreign_gid{};
  Duration lose_half{};
  bool is_lingering = false;  // at rest for a while before the end
};

Plan draw_plan(std::uint64_t seed);

}  // namespace koshel::simulation
