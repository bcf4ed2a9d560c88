// DirectoryDatabase, second part: the rebalance, as sql/directory/0002_rebalance.sql has it.

#include <algorithm>

#include "tests/simulation/postgres/directory_database.hpp"

namespace koshel::simulation {

using directory::OpenMove;
using directory::RebalanceState;

// ---- shards

// for share, in the order of ids; KO013 unless each of them is active.
Task<void> DirectoryDatabase::share_active_shards(Backend& backend, std::vector<ShardId> wanted) {
  const auto is_active = [](const ShardRow* row) {
    return row != nullptr && row->state == ShardService::Active;
  };
  std::ranges::sort(wanted);
  const auto repeated = std::ranges::unique(wanted);
  wanted.erase(repeated.begin(), repeated.end());
  for (const auto shard : wanted) {
    if (is_active(shards.read(backend, shard))) co_await shards.lock_shared(backend, shard);
  }
  co_await server_.moment(backend);
  for (const auto shard : wanted) {
    const bool takes_users = is_active(shards.read(backend, shard));
    if (!takes_users) throw SqlError{"KO013", "a shard takes no new users"};
  }
}

Task<std::string> DirectoryDatabase::drain_shard(Backend& backend, ShardId drained) {
  server_.begin(backend);
  co_await server_.moment(backend);
  std::vector<ShardId> all;
  shards.scan(&backend, [&](ShardId shard, const ShardRow&) {
    all.push_back(shard);
    return true;
  });
  for (const auto shard : all) co_await shards.lock_for_update(backend, shard);
  co_await server_.moment(backend);
  std::string outcome = "last";
  bool is_filling = false;
  planned_moves.scan(&backend, [&](const auto& way, std::int64_t left) {
    is_filling = is_filling || (way.second == drained && left > 0);
    return true;
  });
  moves.scan(&backend, [&](AccountId, const MovingUser& moving) {
    is_filling = is_filling || moving.target == drained;
    return true;
  });
  shards.scan(&backend, [&](ShardId shard, const ShardRow& row) {
    const bool is_other = row.state == ShardService::Active && shard != drained;
    if (is_other) outcome = is_filling ? "filling" : "draining";
    return !is_other;
  });
  const auto* row = shards.read(backend, drained);
  if (row == nullptr || row->state == ShardService::Known) outcome = "unknown";
  if (outcome == "draining") {
    auto* own = co_await shards.lock(backend, drained);
    own->state = ShardService::Draining;
  }
  co_await server_.commit(backend);
  co_return outcome;
}

Task<void> DirectoryDatabase::set_weight(Backend& backend, ShardId shard, int weight) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* row = co_await shards.lock(backend, shard);
  row->weight = weight;
  if (row->state == ShardService::Known) row->state = ShardService::Active;
  co_await server_.commit(backend);
}

// ---- for people

Task<RebalanceState> DirectoryDatabase::rebalance_state(Backend& backend) {
  co_await server_.moment(backend);
  co_return rebalance.read(backend, 0)->state;
}

Task<bool> DirectoryDatabase::start_rebalance(Backend& backend,
                                              std::vector<directory::PlannedMove> plan,
                                              std::optional<int> users_per_second) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto can_start = [](const Rebalance& row) {
    return row.state == RebalanceState::Idle || row.state == RebalanceState::Failed;
  };
  bool is_free = moves.size() == 0 && can_start(*rebalance.read(backend, 0));
  Rebalance* row = nullptr;
  if (is_free) {
    row = co_await rebalance.lock(backend, 0);
    is_free = can_start(*row);
  }
  if (!is_free) {
    co_await server_.commit(backend);
    co_return false;
  }
  row->state = RebalanceState::Running;
  row->users_per_second = users_per_second;
  row->users_total = row->users_moved = row->entries_copied = 0;
  row->error.clear();
  for (const auto& planned : plan) row->users_total += planned.users;
  std::vector<ShardId> targets;
  for (const auto& planned : plan) targets.push_back(planned.target);
  co_await share_active_shards(backend, std::move(targets));
  std::vector<std::pair<ShardId, ShardId>> old;
  planned_moves.scan(&backend, [&](const auto& way, std::int64_t) {
    old.push_back(way);
    return true;
  });
  for (const auto& way : old) co_await planned_moves.erase(backend, way);
  co_await server_.moment(backend);
  for (const auto& [source, target, count] : plan) {
    const std::pair way(source, target);
    const bool is_new = co_await planned_moves.insert(backend, way, count);
    if (!is_new) throw SqlError{"23505", "planned twice"};
    co_await shards.lock_key(backend, source);
    co_await shards.lock_key(backend, target);
  }
  co_await server_.commit(backend);
  co_return true;
}

Task<bool> DirectoryDatabase::act_on_rebalance(Backend& backend, RebalanceState to,
                                               std::vector<RebalanceState> from) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto does_fit = [&from](const Rebalance* row) {
    return std::ranges::count(from, row->state) > 0;
  };
  bool is_done = does_fit(rebalance.read(backend, 0));
  if (is_done) {
    auto* row = co_await rebalance.lock(backend, 0);
    is_done = does_fit(row);
    if (is_done && row->state == RebalanceState::Failed) row->error.clear();
    if (is_done) row->state = to;
  }
  co_await server_.commit(backend);
  co_return is_done;
}

// ---- who holds it

Task<directory::RebalanceHold> DirectoryDatabase::beat_rebalance(Backend& backend, Incarnation own,
                                                                 coordinator::BeatRebalance beat) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto may_beat = [&](const Rebalance* row) {
    const bool is_under_way =
        row->state != RebalanceState::Idle && row->state != RebalanceState::Failed;
    return is_under_way && (row->holder == own || !row->holder || row->beat == beat.seen_beat);
  };
  if (may_beat(rebalance.read(backend, 0))) {
    auto* row = co_await rebalance.lock(backend, 0);
    if (may_beat(row)) {
      row->holder = own;
      ++row->beat;
      row->entries_copied += beat.entries;
      row->error = beat.error;
    }
  }
  co_await server_.moment(backend);
  const auto& row = *rebalance.read(backend, 0);
  directory::RebalanceHold hold{row.state, row.users_per_second, row.holder, row.beat};
  co_await server_.commit(backend);
  co_return hold;
}

Task<DirectoryDatabase::Rebalance*> DirectoryDatabase::check_mover(Backend& backend,
                                                                   Incarnation own) {
  Rebalance* row = nullptr;
  if (rebalance.read(backend, 0)->holder == own) row = co_await rebalance.lock(backend, 0);
  if (row == nullptr || row->holder != own) throw SqlError{"KO012", "another holds the rebalance"};
  co_return row;
}

// ---- what it does

Task<std::vector<OpenMove>> DirectoryDatabase::open_moves(Backend& backend) {
  co_await server_.moment(backend);
  std::map<MoveId, OpenMove> found;
  moves.scan(&backend, [&](AccountId account, const MovingUser& moving) {
    auto& move = found[moving.move];
    move.move = moving.move;
    move.source = moving.source;
    move.target = moving.target;
    move.accounts.push_back({account, moving.is_cut_over});
    return true;
  });
  std::vector<OpenMove> open;
  for (auto& [id, move] : found) open.push_back(std::move(move));
  co_return open;
}

std::vector<AccountId> DirectoryDatabase::users_to_move(const Backend& backend, ShardId source,
                                                        std::int64_t limit) const {
  std::vector<AccountId> found;
  names.scan(&backend, [&](AccountId account, const std::string& name) {
    if (std::ssize(found) >= limit) return false;
    const auto* user = users.read(backend, name);
    const bool lives_there = user != nullptr && user->route.shard == source;
    if (lives_there && moves.read(backend, account) == nullptr) found.push_back(account);
    return true;
  });
  return found;
}

std::optional<std::pair<ShardId, ShardId>> DirectoryDatabase::next_planned(
    const Backend& backend) const {
  std::optional<std::pair<ShardId, ShardId>> next;
  bool is_drain = false;
  planned_moves.scan(&backend, [&](const auto& way, std::int64_t left) {
    const auto* source = shards.read(backend, way.first);
    if (left == 0 || is_drain) return true;
    is_drain = source->state == ShardService::Draining;
    if (is_drain || !next) next = way;
    return true;
  });
  return next;
}

Task<std::optional<OpenMove>> DirectoryDatabase::insert_moves(Backend& backend, MovingUser moving,
                                                              std::vector<AccountId> accounts) {
  OpenMove open{moving.move, moving.source, moving.target, {}};
  for (const auto account : accounts) {
    const bool is_new = co_await moves.insert(backend, account, moving);
    if (is_new) open.accounts.push_back({account, false});
  }
  if (open.accounts.empty()) co_return std::nullopt;
  co_await shards.lock_key(backend, moving.source);
  co_await shards.lock_key(backend, moving.target);
  std::ranges::sort(open.accounts, {}, &OpenMove::Account::account);
  co_return open;
}

Task<std::optional<OpenMove>> DirectoryDatabase::take_move(Backend& backend, Incarnation own,
                                                           int users_max) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* row = co_await check_mover(backend, own);
  std::optional<OpenMove> taken;
  while (!taken) {
    co_await server_.moment(backend);
    const auto way = next_planned(backend);
    if (!way) break;
    const auto left = *planned_moves.read(backend, *way);
    const MovingUser moving{MoveId(++row->last_move), way->first, way->second, false};
    co_await server_.moment(backend);
    auto chosen = users_to_move(backend, way->first, std::min<std::int64_t>(users_max, left));
    taken = co_await insert_moves(backend, moving, std::move(chosen));
    if (taken) {
      auto* planned = co_await planned_moves.lock(backend, *way);
      *planned -= std::ssize(taken->accounts);
    } else {
      co_await planned_moves.erase(backend, *way);
      row->users_total -= left;
    }
  }
  co_await server_.commit(backend);
  co_return taken;
}

Task<std::optional<OpenMove>> DirectoryDatabase::take_accounts(Backend& backend, Incarnation own,
                                                               ShardId source, ShardId target,
                                                               std::vector<AccountId> accounts) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* row = co_await check_mover(backend, own);
  const MovingUser moving{MoveId(++row->last_move), source, target, false};
  co_await server_.moment(backend);
  auto taken = co_await insert_moves(backend, moving, std::move(accounts));
  co_await server_.commit(backend);
  co_return taken;
}

// How many of the moves are as believed.
Task<std::int64_t> DirectoryDatabase::cut_over(Backend& backend,
                                               const coordinator::MoveUsers& moving) {
  std::int64_t moved = 0;
  for (const auto& [move, account] : moving.parts) {
    const auto does_fit = [&moving, move = move](const MovingUser* row) {
      return row != nullptr && row->move == move && row->source == moving.source &&
             row->target == moving.target && !row->is_cut_over;
    };
    if (!does_fit(moves.read(backend, account))) continue;
    auto* row = co_await moves.lock(backend, account);
    if (!does_fit(row)) continue;
    row->is_cut_over = true;
    ++moved;
  }
  co_return moved;
}

// How many users the target has got.
Task<std::int64_t> DirectoryDatabase::reroute(Backend& backend,
                                              const coordinator::MoveUsers& moving) {
  std::int64_t routed = 0;
  for (const auto& [move, account] : moving.parts) {
    const auto* name = names.read(backend, account);
    if (name == nullptr || users.read(backend, *name)->route.shard != moving.source) continue;
    auto* user = co_await users.lock(backend, *name);
    if (user == nullptr || user->route.shard != moving.source) continue;
    user->route.shard = moving.target;
    user->route.version = user->route.version.next();
    ++routed;
  }
  if (routed > 0) co_await shards.lock_key(backend, moving.target);
  co_return routed;
}

Task<void> DirectoryDatabase::move_users(Backend& backend, RoundId round,
                                         std::vector<ShardId> participants,
                                         coordinator::MoveUsers moving) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto fence = co_await fence_of(backend, round.incarnation);
  if (!fence || round.sequence <= *fence) throw SqlError{"KO010", "the round is fenced off"};
  co_await server_.moment(backend);
  auto* row = co_await check_mover(backend, round.incarnation);
  const auto* target = shards.read(backend, moving.target);
  if (target != nullptr && target->state == ShardService::Active) {
    target = co_await shards.lock_shared(backend, moving.target);
  }
  const bool takes_users = target != nullptr && target->state == ShardService::Active;
  if (!takes_users) throw SqlError{"KO012", "the target takes no users"};
  co_await server_.moment(backend);
  const auto moved = co_await cut_over(backend, moving);
  const auto routed = co_await reroute(backend, moving);
  const auto worlds =
      std::ranges::count_if(moving.parts, [](const auto& part) { return part.account.is_world(); });
  bool are_users_left = false;
  users.scan(&backend, [&](const auto&, const NamedRoute& user) {
    are_users_left = are_users_left || user.route.shard == moving.source;
    return !are_users_left;
  });
  const bool are_users_as_believed =
      routed + worlds == std::ssize(moving.parts) && !(worlds > 0 && are_users_left);
  if (moved != std::ssize(moving.parts) || !are_users_as_believed) {
    throw SqlError{"KO012", "the moves are not as believed"};
  }
  row->users_moved += routed;
  Verdict verdict{true, std::move(participants), 0};
  const bool is_undecided = co_await decisions.insert(backend, round, verdict);
  if (!is_undecided) throw SqlError{"KO010", "the round is decided"};
  tell_when_durable(backend, round, true);
  co_await server_.commit(backend);
}

Task<void> DirectoryDatabase::end_move(Backend& backend, Incarnation own,
                                       coordinator::EndMove end) {
  server_.begin(backend);
  co_await server_.moment(backend);
  co_await check_mover(backend, own);
  co_await server_.moment(backend);
  for (const auto account : end.accounts) {
    const auto* row = moves.read(backend, account);
    const bool is_meant =
        row != nullptr && row->move == end.move && row->is_cut_over == end.is_cut_over;
    if (is_meant) co_await moves.erase(backend, account);
  }
  co_await server_.commit(backend);
}

Task<bool> DirectoryDatabase::end_rebalance(Backend& backend, Incarnation own, std::string error) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* row = co_await check_mover(backend, own);
  co_await server_.moment(backend);
  bool is_over = true;
  if (error.empty()) {
    std::vector<std::pair<ShardId, ShardId>> done;
    planned_moves.scan(&backend, [&](const auto& way, std::int64_t left) {
      if (left == 0 || row->state == RebalanceState::Cancelling) done.push_back(way);
      return true;
    });
    for (const auto& way : done) co_await planned_moves.erase(backend, way);
    co_await server_.moment(backend);
    moves.scan(&backend, [&](AccountId, const MovingUser&) { return is_over = false; });
    planned_moves.scan(&backend, [&](const auto&, std::int64_t) { return is_over = false; });
  }
  if (is_over) {
    row->state = error.empty() ? RebalanceState::Idle : RebalanceState::Failed;
    row->error = std::move(error);
    row->holder.reset();
  }
  co_await server_.commit(backend);
  co_return is_over;
}

}  // namespace koshel::simulation
