#include "tests/simulation/plan.hpp"

#include "tests/simulation/chance.hpp"

namespace koshel::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

void draw_limits(Plan& plan, Chance& chance) {
  auto& agent = plan.agent;
  agent.heads_cached_max = static_cast<std::size_t>(chance.one_of<int>({2, 8, 1000}));
  agent.rounds_in_flight_max = chance.one_of<int>({4, 256});
  agent.prepared_max = chance.one_of<int>({3, 16, 60});
  agent.worlds_max = chance.one_of<int>({1, 2, 8});
  agent.stale_retries_max = chance.one_of<int>({0, 1, 3});
  agent.busy_patience = chance.one_of<int>({1, 5});
  agent.reservation = chance.one_of<Duration>({milliseconds(300), seconds(2), seconds(5)});
  agent.scan_interval = chance.one_of<Duration>({milliseconds(200), seconds(1)});
  agent.in_doubt_age = chance.one_of<Duration>({milliseconds(0), milliseconds(500), seconds(5)});
  agent.forget_interval = chance.one_of<Duration>({milliseconds(500), seconds(3), seconds(10)});
  plan.book.orders_max = static_cast<std::size_t>(chance.one_of<int>({8, 1000}));
  plan.book.retries_max = chance.one_of<int>({5, 100});
  plan.book.faults_max = chance.one_of<int>({1, 3});
  plan.rounds.local_in_flight = static_cast<int>(chance.between(1, 3));
  plan.rounds.cross_in_flight = static_cast<int>(chance.between(1, 3));
  plan.rounds.beside_orders_min = static_cast<std::size_t>(chance.between(1, 4));
  plan.rounds.beside_after = milliseconds(chance.between(1, 100));
  plan.rounds.local_orders_max = chance.one_of<int>({1, 4, 100});
  plan.rounds.cross_orders_max = chance.one_of<int>({1, 4, 100});
  plan.rounds.settle_wait = chance.one_of<Duration>({milliseconds(50), seconds(1)});
  plan.rounds.shard_patience =
      chance.one_of<Duration>({milliseconds(50), milliseconds(300), seconds(1)});
  plan.log.keep_interval = chance.one_of<Duration>({milliseconds(200), seconds(2)});
  plan.log.unconfirmed_max = static_cast<std::size_t>(chance.one_of<int>({3, 1000}));
  plan.log.dead_after = plan.log.keep_interval * chance.between(3, 20);
  plan.close_limit = static_cast<std::size_t>(chance.one_of<int>({1, 256}));
  plan.routes_max = static_cast<std::size_t>(chance.one_of<int>({2, 64}));
  plan.agent_timeout = chance.one_of<Duration>({milliseconds(500), seconds(3), seconds(10)});
  plan.deadline_max = chance.one_of<Duration>({milliseconds(500), seconds(5)});
  plan.connections = static_cast<int>(chance.between(1, 6));
}

// Small moves and short leases, so that much goes on at a time and changes hands.
void draw_moves(Plan& plan, Chance& chance) {
  auto& limits = plan.rebalance;
  limits.users_per_move = static_cast<int>(chance.between(1, 20));
  limits.entries_per_chunk = static_cast<int>(chance.between(1, chance.is_hit(0.7) ? 10 : 100));
  limits.moves_in_flight = static_cast<int>(chance.between(1, 3));
  limits.beat = chance.one_of<Duration>({milliseconds(50), milliseconds(200), milliseconds(500)});
  limits.lease = limits.beat * chance.between(3, 12);
  limits.retry = chance.one_of<Duration>({milliseconds(50), milliseconds(500)});
  limits.retries_max = chance.one_of<int>({3, 600, 600});
  limits.cut_over_max = chance.one_of<Duration>({milliseconds(200), seconds(2), seconds(5)});
  limits.beside_orders_percent = chance.one_of<int>({50, 100});
  limits.beside_orders_users = static_cast<int>(chance.between(1, 20));
  limits.beside_orders_entries = static_cast<int>(chance.between(1, 100));
  if (chance.is_hit(0.15)) return;
  plan.operate = chance.one_of<Duration>({milliseconds(300), seconds(1), seconds(4)});
  plan.has_late_shard = plan.shards > 1 && chance.is_hit(0.2);
  plan.drain = chance.is_hit(0.4) ? 0.05 : 0;
  plan.sleep_before_move = chance.is_hit(0.4) ? 0.05 * chance.fraction() : 0;
}

// Every limit is wide: whatever a client is not told is the fault of rounds or moves.
void make_calm(Plan& plan) {
  Plan calm;
  calm.seed = plan.seed;
  calm.is_calm = true;
  calm.shards = plan.shards;
  calm.coordinators = plan.coordinators;
  calm.users = plan.users;
  calm.clients = plan.clients;
  calm.hot = plan.hot;
  calm.keyed = plan.keyed;
  calm.think_max = plan.think_max;
  calm.chaos = plan.chaos;
  calm.is_replicated = plan.is_replicated;
  calm.agent_timeout = seconds(10);
  calm.deadline_min = calm.deadline_max = seconds(20);
  calm.agent.prepared_max = 60;
  calm.book.retries_max = 100'000;
  calm.rebalance = plan.rebalance;
  calm.operate = plan.operate;
  calm.has_late_shard = plan.has_late_shard;
  calm.drain = plan.drain;
  plan = calm;
}

// What strikes only when several things come together is drawn together now and then.

// Coordinators are closed before anybody asks about what they have prepared.
void draw_sleepers(Plan& plan, Chance& chance) {
  plan.coordinators = 3;
  plan.agent.in_doubt_age = seconds(5);
  plan.log.keep_interval = milliseconds(200);
  plan.log.dead_after = plan.log.keep_interval * chance.between(3, 6);
  plan.sleep_after_prepare = 0.1 * chance.fraction();
  plan.wake_when_closed = 1;
}

// Rounds come long after their coordinators have given them up.
void draw_stragglers(Plan& plan, Chance& chance) {
  plan.slow = 0.2 * chance.fraction();
  plan.agent_timeout = milliseconds(500);
  plan.deadline_max = seconds(5);
  plan.book.faults_max = 1;
  plan.keyed = 0.3 * chance.fraction();
  plan.agent.forget_interval = seconds(10);
}

// Rounds of many orders over many shards.
void draw_crowd(Plan& plan, Chance& chance) {
  plan.shards = static_cast<int>(chance.between(3, 5));
  plan.coordinators = static_cast<int>(chance.between(1, 2));
  plan.users = 50;
  plan.clients = static_cast<int>(chance.between(15, 30));
  plan.hot = 0;
  plan.think_max = milliseconds(50);
  plan.chaos = seconds(chance.between(5, 20));
  plan.rounds.cross_in_flight = 1;
  plan.rounds.cross_orders_max = 100;
}

}  // namespace

Plan draw_plan(std::uint64_t seed) {
  Chance chance(seed * 2 + 1);  // not the numbers that the run itself draws
  Plan plan;
  plan.seed = seed;
  plan.shards = static_cast<int>(chance.between(1, 4));
  plan.coordinators = static_cast<int>(chance.between(1, 3));
  plan.users = static_cast<int>(chance.is_hit(0.5) ? chance.between(2, 6) : chance.between(7, 50));
  plan.clients = static_cast<int>(chance.between(1, 8));
  plan.hot = chance.is_hit(0.5) ? chance.fraction() : 0;
  plan.keyed = chance.is_hit(0.2) ? 0 : chance.fraction();
  plan.think_max = chance.one_of<Duration>({milliseconds(50), milliseconds(400), seconds(2)});
  plan.chaos = seconds(chance.between(20, 120));
  plan.is_replicated = chance.is_hit(0.3);
  draw_limits(plan, chance);
  draw_moves(plan, chance);

  const auto rate = [&](double highest) {
    return chance.is_hit(0.4) ? highest * chance.fraction() * chance.fraction() : 0;
  };
  plan.lose = rate(0.1);
  plan.duplicate = rate(0.2);
  plan.slow = rate(0.05);
  plan.die_at_effect = rate(0.003);
  plan.break_connection = rate(0.05);
  plan.statement_error = rate(0.03);
  plan.terminate = rate(0.01);
  const auto every = [&](Duration shortest) {
    return chance.is_hit(0.4) ? chance.between(shortest, shortest * 10) : Duration{};
  };
  plan.cut = every(seconds(3));
  plan.kill = every(seconds(3));
  plan.stop = every(seconds(5));
  plan.crash_database = every(seconds(5));
  plan.fail_over = plan.is_replicated ? every(seconds(10)) : Duration{};
  plan.standby_cut = plan.is_replicated ? every(seconds(10)) : Duration{};
  plan.disk_full = every(seconds(10));
  plan.second_agent = every(seconds(5));
  plan.settle_by_hand = every(seconds(2));
  plan.terminate_all = every(seconds(5));
  plan.cancel = every(seconds(1));
  plan.foreign_gid = every(seconds(2));
  if (chance.is_hit(0.04) && !plan.is_replicated) plan.lose_half = milliseconds(100);
  plan.is_lingering = chance.is_hit(0.2);
  plan.wrong_head = rate(0.02);
  plan.sleep_after_prepare = rate(0.02);
  plan.wake_when_closed = chance.is_hit(0.6) ? 1 : 0;
  if (chance.is_hit(0.1)) draw_crowd(plan, chance);
  if (chance.is_hit(0.08)) draw_sleepers(plan, chance);
  if (chance.is_hit(0.08)) draw_stragglers(plan, chance);
  if (chance.is_hit(0.08)) make_calm(plan);
  return plan;
}

}  // namespace koshel::simulation
