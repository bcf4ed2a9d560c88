#include "tests/simulation/operator.hpp"

#include "coordinator/logic/planner.hpp"

namespace koshel::simulation {

using directory::RebalanceState;
using std::chrono::milliseconds;
using std::chrono::seconds;

Operator::Operator(World& world, NodeId node)
    : Process(world.scheduler, node, "operator"),
      world_(world),
      directory_(*this, world.network, world.chance, *world.directory_server, kDirectoryNode,
                 {"operator", 1}) {}

template <class R, class Work>
void Operator::ask(Work work, std::function<void(Result<R>)> done) {
  directory_.post<R>(std::move(work), std::move(done), world_.scheduler.now() + seconds(10));
}

void Operator::start() {
  Process::start();
  if (world_.plan.operate == Duration{}) return;
  next();
}

void Operator::next() {
  post(world_.chance.between(Duration{}, world_.plan.operate * 2), [this] {
    if (!is_settling_) act();
  });
}

void Operator::act() {
  const auto draw = world_.chance.fraction() - world_.plan.drain;
  const Then then = [this] { next(); };
  if (draw < 0) {
    drain(then);
  } else if (draw < 0.6) {
    set_some_weight([this, then] { plan_and_start([then](bool) { then(); }); });
  } else if (draw < 0.68) {
    lead(RebalanceState::Paused, {RebalanceState::Running}, then);
  } else if (draw < 0.88) {
    lead(RebalanceState::Running, {RebalanceState::Paused, RebalanceState::Failed}, then);
  } else {
    lead(RebalanceState::Cancelling,
         {RebalanceState::Running, RebalanceState::Paused, RebalanceState::Failed}, then);
  }
}

// Also of a shard that is in service from then on.
void Operator::set_some_weight(Then then) {
  auto& chance = world_.chance;
  auto& directory = *world_.directory;
  const ShardId shard(static_cast<std::int32_t>(chance.between(1, world_.plan.shards)));
  const auto weight = chance.one_of<int>({1, 100, 10'000});
  ask<void>([&directory, shard,
             weight](Backend& backend) { return directory.set_weight(backend, shard, weight); },
            [then](const Result<void>&) { then(); });
}

// True: the rebalance is there, or there is nothing to do.
void Operator::plan_and_start(std::function<void(bool)> then) {
  using Counts = std::map<ShardId, std::int64_t>;
  auto& directory = *world_.directory;
  ask<ShardRows>(
      [&directory](Backend& backend) { return directory.shards_in_service(backend); },
      [this, &directory, then](const Result<ShardRows>& shards) {
        if (!shards) return then(false);
        ask<Counts>([&directory](Backend& backend) { return directory.users_per_shard(backend); },
                    [this, rows = shards.value(), then](const Result<Counts>& users) {
                      if (!users) return then(false);
                      start_rebalance(rows, users.value(), then);
                    });
      });
}

void Operator::start_rebalance(const ShardRows& shards,
                               const std::map<ShardId, std::int64_t>& users,
                               std::function<void(bool)> then) {
  std::vector<coordinator::ShardLoad> loads;
  bool does_drain = false;
  for (const auto& [shard, row] : shards) {
    const auto count = users.find(shard);
    const bool is_draining = row.state == ShardService::Draining;
    does_drain = does_drain || is_draining;
    loads.push_back({shard, row.weight, is_draining, count == users.end() ? 0 : count->second});
  }
  auto plan = coordinator::plan_rebalance(std::move(loads));
  if (plan.empty() && !does_drain) return then(true);
  auto& directory = *world_.directory;
  const auto rate =
      world_.chance.is_hit(0.8) || is_settling_ ? std::nullopt : std::optional<int>(5);
  ask<bool>([&directory, plan = std::move(plan),
             rate](Backend& backend) { return directory.start_rebalance(backend, plan, rate); },
            [this, then](const Result<bool>& started) {
              const bool is_started = started && started.value();
              if (is_started) world_.reached("operator: starts a rebalance");
              if (is_started) world_.log(name(), "starts a rebalance");
              then(is_started);
            });
}

void Operator::lead(RebalanceState to, std::vector<RebalanceState> from, Then then) {
  auto& directory = *world_.directory;
  ask<bool>([&directory, to, from = std::move(from)](
                Backend& backend) { return directory.act_on_rebalance(backend, to, from); },
            [this, to, then](const Result<bool>& done) {
              const bool is_done = done && done.value();
              if (is_done) world_.log(name(), "leads the rebalance to", to_string(to));
              if (is_done && to == RebalanceState::Paused) world_.reached("operator: pauses");
              if (is_done && to == RebalanceState::Running) world_.reached("operator: resumes");
              if (is_done && to == RebalanceState::Cancelling) world_.reached("operator: cancels");
              then();
            });
}

void Operator::drain(Then then) {
  auto& directory = *world_.directory;
  const ShardId shard(static_cast<std::int32_t>(world_.chance.between(1, world_.plan.shards)));
  ask<std::string>(
      [&directory, shard](Backend& backend) { return directory.drain_shard(backend, shard); },
      [this, shard, then](const Result<std::string>& outcome) {
        if (outcome && outcome.value() == "draining") {
          world_.reached("operator: drains a shard");
          world_.log(name(), "drains shard", shard.value());
        }
        then();
      });
}

// ---- after the faults

void Operator::settle() {
  is_settling_ = true;
  bring_to_end();
}

void Operator::bring_to_end() {
  constexpr auto kPause = milliseconds(500);
  const Then again = [this, kPause] { post(kPause, [this] { bring_to_end(); }); };
  auto& directory = *world_.directory;
  ask<RebalanceState>(
      [&directory](Backend& backend) { return directory.rebalance_state(backend); },
      [this, again](const Result<RebalanceState>& state) {
        if (!state) return again();
        switch (state.value()) {
          case RebalanceState::Running:
          case RebalanceState::Cancelling:
            return again();
          case RebalanceState::Paused:
          case RebalanceState::Failed: {
            const bool is_to_go_on = is_last_started_ || world_.chance.is_hit(0.5);
            const auto to = is_to_go_on ? RebalanceState::Running : RebalanceState::Cancelling;
            return lead(to, {RebalanceState::Paused, RebalanceState::Failed}, again);
          }
          case RebalanceState::Idle:
            if (std::exchange(is_done_, is_last_started_)) return;
            if (is_done_) return;
            return plan_and_start([this, again](bool is_started) {
              is_last_started_ = is_started;
              again();
            });
        }
      });
}

}  // namespace koshel::simulation
