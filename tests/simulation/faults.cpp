#include "tests/simulation/faults.hpp"

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/checker.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

void Faults::begin() {
  const auto& plan = world_.plan;
  auto& weather = world_.network.weather;
  weather.lose = plan.lose;
  weather.duplicate = plan.duplicate;
  weather.slow = plan.slow;
  world_.die_at_effect = plan.die_at_effect;
  world_.break_connection = plan.break_connection;
  world_.wrong_head = plan.wrong_head;
  for (auto* server : servers()) {
    server->faults.error = plan.statement_error;
    server->faults.terminate = plan.terminate;
    server->on_fault = [this](const char* what) {
      ++world_.faults[std::string("statement failed with ") + what];
    };
  }
  supervise();
  strike(plan.cut, &Faults::cut);
  strike(plan.kill, &Faults::kill);
  strike(plan.stop, &Faults::stop);
  strike(plan.crash_database, &Faults::crash_database);
  strike(plan.fail_over, &Faults::fail_over);
  strike(plan.standby_cut, &Faults::cut_standby);
  strike(plan.disk_full, &Faults::fill_disk);
  strike(plan.second_agent, &Faults::start_second_agent);
  strike(plan.settle_by_hand, &Faults::settle_by_hand);
  strike(plan.terminate_all, &Faults::terminate_all);
  strike(plan.cancel, &Faults::cancel_one);
  strike(plan.foreign_gid, &Faults::prepare_foreign_gid);
  strike(plan.lose_half, &Faults::lose_half);
}

void Faults::heal() {
  is_healed_ = true;
  world_.healed_at = world_.scheduler.now();
  world_.network.heal();
  world_.die_at_effect = 0;
  world_.break_connection = 0;
  world_.wrong_head = 0;
  for (auto* server : servers()) {
    server->faults.error = 0;
    server->faults.terminate = 0;
    server->faults.is_disk_full = false;
    server->cut_standby(false);
    server->restart();
  }
  for (auto* process : processes()) process->wake();
}

void Faults::strike(Duration every, void (Faults::*what)()) {
  if (every == Duration{}) return;
  world_.scheduler.after(world_.chance.between(Duration{}, every * 2), [this, every, what] {
    if (is_healed_) return;
    (this->*what)();
    strike(every, what);
  });
}

void Faults::later(Duration at_most, std::function<void()> what) {
  world_.scheduler.after(world_.chance.between(milliseconds(10), at_most),
                         [this, what = std::move(what)] {
                           if (!is_healed_) what();
                         });
}

std::vector<Process*> Faults::processes() {
  std::vector<Process*> all;
  for (auto& [id, shard] : world_.shards) {
    for (auto& agent : shard.agents) all.push_back(agent.get());
  }
  for (auto& coordinator : world_.coordinators) all.push_back(coordinator.get());
  return all;
}

std::vector<Server*> Faults::servers() {
  std::vector<Server*> all{world_.directory_server.get()};
  for (auto& [id, shard] : world_.shards) all.push_back(shard.server.get());
  return all;
}

std::vector<NodeId> Faults::nodes() {
  std::vector<NodeId> all{kDirectoryNode};
  for (auto& [id, shard] : world_.shards) {
    all.push_back(shard.server_node);
    all.push_back(shard.agent_node);
  }
  for (auto& coordinator : world_.coordinators) all.push_back(coordinator->node());
  return all;
}

void Faults::note(const char* what) {
  ++world_.faults[what];
  world_.log("FAULT", what);
}

// ---- the network

void Faults::cut() {
  const auto one = world_.chance.one_of(nodes());
  const auto other = world_.chance.one_of(nodes());
  if (one == other) return;
  const bool is_both_ways = world_.chance.is_hit(0.5);
  note(is_both_ways ? "hosts cut off" : "hosts cut off one way");
  world_.network.cut(one, other);
  if (is_both_ways) world_.network.cut(other, one);
  later(seconds(20), [this, one, other] {
    world_.network.mend(one, other);
    world_.network.mend(other, one);
  });
}

// ---- processes

void Faults::kill() {
  auto* victim = world_.chance.one_of(processes());
  if (victim->is_up()) {
    note("process killed");
    victim->die();
  }
}

// Starts again what has died, by whatever it died, also after the faults.
void Faults::supervise() {
  const auto start_if_down = [this](Process& process) {
    if (!process.is_up() && (is_healed_ || world_.chance.is_hit(0.3))) process.start();
  };
  for (auto& [id, shard] : world_.shards) {
    const bool has_agent =
        std::ranges::any_of(shard.agents, [](const auto& agent) { return agent->is_up(); });
    if (!has_agent) start_if_down(*shard.agents.front());
  }
  for (auto& coordinator : world_.coordinators) start_if_down(*coordinator);
  world_.scheduler.after(seconds(1), [this] { supervise(); });
}

void Faults::stop() {
  auto* victim = world_.chance.one_of(processes());
  if (!victim->is_running()) return;
  note("process stopped");
  victim->stop();
  later(world_.plan.log.dead_after * 3, [victim] { victim->wake(); });
}

void Faults::start_second_agent() {
  auto& shard = std::next(world_.shards.begin(),
                          world_.chance.between(0, static_cast<int>(world_.shards.size()) - 1))
                    ->second;
  for (auto& agent : shard.agents) {
    if (agent->is_up()) continue;
    note("second agent started");
    return agent->start();
  }
}

// ---- databases

void Faults::restart_later(Server& server, Duration at_most) {
  later(at_most, [&server] { server.restart(); });
}

void Faults::crash_database() {
  auto* server = world_.chance.one_of(servers());
  if (!server->is_up()) return;
  note("database stopped at once");
  server->crash();
  restart_later(*server, seconds(5));
}

void Faults::fail_over() {
  auto* server = world_.chance.one_of(servers());
  if (!server->is_up()) return;
  note("database failed over");
  server->fail_over();
  world_.checker->look_again();
  restart_later(*server, seconds(3));
}

void Faults::cut_standby() {
  auto* server = world_.chance.one_of(servers());
  note("standby cut off");
  server->cut_standby(true);
  later(seconds(8), [server] { server->cut_standby(false); });
}

void Faults::fill_disk() {
  auto* server = world_.chance.one_of(servers());
  note("disk full");
  server->faults.is_disk_full = true;
  later(seconds(5), [server] { server->faults.is_disk_full = false; });
}

// As somebody would who has read the decision log.
void Faults::settle_by_hand() {
  for (auto& [id, shard] : world_.shards) {
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      const auto round = shard.own_round(gid);
      const auto decision = round ? world_.checker->decision_of(*round) : std::nullopt;
      if (!decision) continue;
      if (shard.server->finish_by_hand(gid, *decision)) {
        note("round settled by hand");
        return;
      }
    }
  }
}

namespace {

Task<void> prepare_nothing(Server& server, Backend& backend, std::string gid) {
  server.begin(backend);
  co_await server.prepare(backend, std::move(gid));
}

}  // namespace

// Others use the instance too: a cluster with a similar name, a shard with a similar number, a
// shard of this very cluster. What they prepare stays.
void Faults::prepare_foreign_gid() {
  constexpr std::size_t kForeignMax = 2;  // the headroom of prepared slots
  auto& chance = world_.chance;
  const ShardId id(static_cast<std::int32_t>(chance.between(1, world_.plan.shards)));
  auto& server = *world_.shards.at(id).server;
  RoundId round{Incarnation(1), Sequence(1)};
  std::size_t foreign = 0;
  for (const auto& [shard_id, shard] : world_.shards) {
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      if (const auto own = shard.own_round(gid))
        round = *own;
      else if (shard_id == id)
        ++foreign;
    }
  }
  if (foreign >= kForeignMax) return;
  const ShardId similar(id.value() * 10 + 2);
  const ShardId other(id.value() % world_.plan.shards + 1);
  auto gid = chance
                 .one_of<Gid>({{"simulated2", round, id},
                               {"simulate", round, id},
                               {"simulated", round, similar},
                               {"simulated", round, other == id ? similar : other}})
                 .to_string();
  auto* backend = server.connect("somebody else");
  if (backend == nullptr) return;
  note("foreign gid prepared");
  const auto session = backend->id;
  server.run(*backend, prepare_nothing(server, *backend, std::move(gid)));
  server.leave(session);
}

// Somebody rolls back by hand what is decided to commit: no protocol can mend that, but it must be
// seen, and told to nobody as a success.
void Faults::lose_half() {
  for (auto& [id, shard] : world_.shards) {
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      const auto round = shard.own_round(gid);
      if (!round || !world_.checker->decision_of(*round).value_or(false)) continue;
      if (world_.checker->lose_half(*round, gid, *shard.server))
        return note("a prepared half lost");
    }
  }
}

void Faults::terminate_all() {
  auto* server = world_.chance.one_of(servers());
  note("all sessions terminated");
  server->terminate_if([](const Backend&) { return true; });
}

void Faults::cancel_one() {
  auto* server = world_.chance.one_of(servers());
  const auto sessions = server->sessions();
  if (sessions.empty()) return;
  auto* backend = server->find(world_.chance.one_of(sessions));
  const bool is_running = static_cast<bool>(backend->suspended);
  if (!is_running) return;
  note("statement cancelled");
  server->interrupt(*backend, Interrupt::Cancel);
}

}  // namespace koshel::simulation
