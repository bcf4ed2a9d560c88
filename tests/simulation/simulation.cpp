#include "tests/simulation/simulation.hpp"

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/coordinator_process.hpp"
#include "tests/simulation/faults.hpp"

namespace koshel::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

Simulation::Simulation(const Plan& plan) : world_(plan), checker_(world_) {
  world_.checker = &checker_;
  build_servers();
  build_processes();
  checker_.watch();
}

Simulation::~Simulation() = default;

void Simulation::build_servers() {
  const auto& plan = world_.plan;
  ServerOptions options;
  options.is_replicated = plan.is_replicated;
  options.prepared_max = static_cast<std::size_t>(plan.agent.prepared_max) + 2;
  options.connections_max = 40;
  auto& scheduler = world_.scheduler;
  auto& chance = world_.chance;
  world_.directory_server = std::make_unique<Server>(scheduler, chance, options);
  world_.directory = std::make_unique<DirectoryDatabase>(*world_.directory_server);
  NodeId node = kDirectoryNode;
  for (int i = 1; i <= plan.shards; ++i) {
    auto& shard = world_.shards[ShardId(i)];
    shard.server = std::make_unique<Server>(scheduler, chance, options);
    shard.database = std::make_unique<ShardDatabase>(*shard.server, "simulated", ShardId(i));
    shard.server_node = ++node;
    shard.agent_node = ++node;
    const bool is_late = plan.has_late_shard && i == plan.shards;
    world_.directory->shards.put(ShardId(i),
                                 {100, is_late ? ShardService::Known : ShardService::Active});
  }
}

void Simulation::build_processes() {
  NodeId node = 100;
  operator_ = std::make_unique<Operator>(world_, ++node);
  for (auto& [id, shard] : world_.shards) {
    const auto name = "agent of shard " + std::to_string(id.value());
    shard.agents.push_back(std::make_unique<AgentProcess>(world_, id, name));
    shard.agents.push_back(std::make_unique<AgentProcess>(world_, id, "second " + name));
  }
  for (int i = 1; i <= world_.plan.coordinators; ++i) {
    world_.coordinators.push_back(
        std::make_unique<CoordinatorProcess>(world_, ++node, "coordinator " + std::to_string(i)));
  }
  for (int i = 1; i <= world_.plan.clients; ++i) {
    clients_.push_back(std::make_unique<Client>(world_, ++node, "client " + std::to_string(i)));
  }
}

void Simulation::start_all() {
  for (auto& [id, shard] : world_.shards) shard.agents.front()->start();
  for (auto& coordinator : world_.coordinators) coordinator->start();
  run_for(seconds(1));
  operator_->start();
  std::vector<std::vector<std::string>> users(clients_.size());
  for (int i = 0; i < world_.plan.users; ++i) {
    users[static_cast<std::size_t>(i) % users.size()].push_back("user-" + std::to_string(i));
  }
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    clients_[i]->start();
    clients_[i]->work(users[i]);
  }
  run_for(seconds(1));
}

void Simulation::run_until(const std::function<bool()>& is_so, Duration at_most,
                           const std::string& what) {
  const auto end = world_.scheduler.now() + at_most;
  while (!is_so() && !world_.scheduler.is_stopped()) {
    if (world_.scheduler.now() >= end) return checker_.violate(what);
    run_for(milliseconds(500));
  }
}

void Simulation::converge() {
  for (auto& client : clients_) client->quit();
  const auto are_clients_done = [this] {
    return std::ranges::all_of(clients_, [](const auto& client) { return client->is_done(); });
  };
  run_until(are_clients_done, seconds(120), "clients are not answered after the faults");
  // Every doubt can be cleared up, at any coordinator.
  std::vector<std::vector<std::shared_ptr<Wish>>> wishes(clients_.size());
  for (std::size_t i = 0; i < checker_.wishes().size(); ++i) {
    const auto& wish = checker_.wishes()[i];
    if (i % 8 == 0 || !wish->answer) wishes[i % wishes.size()].push_back(wish);
  }
  for (std::size_t i = 0; i < clients_.size(); ++i) clients_[i]->clear_up(wishes[i]);
  run_until(are_clients_done, seconds(600), "doubts cannot be cleared up after the faults");
  if (!checker_.is_half_lost()) {
    operator_->settle();
    run_until([this] { return operator_->is_done(); }, seconds(600),
              "the rebalance does not end after the faults");
  }
  const auto at_most = world_.plan.log.dead_after * 3 + seconds(240);
  run_until(
      [this] { return checker_.find_unfinished().empty(); }, at_most,
      "after the faults and " + std::to_string(at_most / seconds(1)) + " s there is still work");
  if (!checker_.violation().empty()) return;
  if (!checker_.is_half_lost()) {
    clients_.front()->probe(checker_.users_known());
    run_until(are_clients_done, seconds(300), "users do not work again after the faults");
  }
  if (world_.plan.is_lingering) run_for(world_.plan.log.dead_after * 3 + seconds(60));
  if (checker_.violation().empty()) checker_.check_end();
}

Report Simulation::run() {
  start_all();
  Faults faults(world_);
  faults.begin();
  run_for(world_.plan.chaos);
  faults.heal();
  converge();
  Report report;
  report.seed = world_.plan.seed;
  report.violation = checker_.violation();
  if (report.violation.ends_with("there is still work")) {
    report.violation += ": " + checker_.find_unfinished();
  }
  report.simulated = world_.scheduler.now().time_since_epoch();
  report.steps = world_.scheduler.steps();
  report.trace = world_.scheduler.trace();
  report.transfers = checker_.transfers_committed();
  report.faults = world_.faults;
  report.branches = world_.branches;
  return report;
}

}  // namespace koshel::simulation
