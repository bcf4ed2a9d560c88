#include "tests/simulation/postgres/directory_database.hpp"

#include <algorithm>
#include <set>

namespace koshel::simulation {

DirectoryDatabase::DirectoryDatabase(Server& server)
    : cluster(server),
      users(server),
      names(server),
      decisions(server),
      incarnations(server),
      beats(server),
      shards(server),
      rebalance(server),
      planned_moves(server),
      moves(server),
      server_(server) {
  cluster.put(0, {});
  rebalance.put(0, {});
}

// ---- the decision log

void DirectoryDatabase::tell_when_durable(Backend& backend, RoundId round, bool is_commit) {
  backend.transaction->when_durable.push_back([this, round, is_commit] {
    if (on_decision) on_decision(round, is_commit);
  });
}

Task<std::optional<Sequence>> DirectoryDatabase::fence_of(Backend& backend,
                                                          Incarnation incarnation) {
  const auto* start = co_await incarnations.lock_shared(backend, incarnation);
  co_return start == nullptr ? std::nullopt : std::optional(start->fence);
}

// insert ... on conflict do update set asked = asked + 1 returning: waits for a rival.
Task<DirectoryDatabase::Verdict> DirectoryDatabase::ask(Backend& backend, RoundId round,
                                                        Verdict wish) {
  for (;;) {
    const bool is_new = co_await decisions.insert(backend, round, wish);
    if (is_new) {
      tell_when_durable(backend, round, wish.is_commit);
      co_return wish;
    }
    auto* verdict = co_await decisions.lock(backend, round);
    if (verdict == nullptr) continue;
    ++verdict->asked;
    co_return *verdict;
  }
}

Task<Decision> DirectoryDatabase::decide(Backend& backend, RoundId round, Decision wish,
                                         std::vector<ShardId> participants) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto fence = co_await fence_of(backend, round.incarnation);
  co_await server_.moment(backend);
  auto outcome = Decision::Fenced;
  if (!fence || round.sequence <= *fence) {
    auto* verdict = co_await decisions.lock(backend, round);
    if (verdict != nullptr) {
      ++verdict->asked;
      outcome = verdict->is_commit ? Decision::Commit : Decision::Abort;
    }
    if (!fence) {
      const Incarnation last(cluster.read(backend, 0)->last_incarnation);
      if (last < round.incarnation) throw SqlError{"KO014", "an incarnation of another directory"};
      co_await cluster.lock(backend, 0);
    }
  } else {
    Verdict wanted{wish == Decision::Commit, std::move(participants), 0};
    const auto verdict = co_await ask(backend, round, wanted);
    outcome = verdict.is_commit ? Decision::Commit : Decision::Abort;
  }
  co_await server_.commit(backend);
  co_return outcome;
}

Task<void> DirectoryDatabase::create_users(Backend& backend, RoundId round,
                                           std::vector<ShardId> participants,
                                           std::vector<coordinator::CreateUsers::User> wanted) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto fence = co_await fence_of(backend, round.incarnation);
  if (!fence || round.sequence <= *fence) throw SqlError{"KO010", "the round is fenced off"};
  std::vector<ShardId> homes;
  for (const auto& user : wanted) homes.push_back(user.shard);
  co_await share_active_shards(backend, std::move(homes));
  std::ranges::sort(wanted, {}, &coordinator::CreateUsers::User::name);
  bool are_new = true;
  for (const auto& user : wanted) {
    const NamedRoute route{user.name, {user.account, user.currency, user.shard, RouteVersion(1)}};
    const bool is_new = co_await users.insert(backend, user.name, route);
    are_new = are_new && is_new;
    if (is_new) {
      const bool is_new_id = co_await names.insert(backend, user.account, user.name);
      if (!is_new_id) throw SqlError{"23505", "the user's id is there"};
    }
    co_await server_.moment(backend);
  }
  if (!are_new) throw SqlError{"KO011", "a name is taken"};
  Verdict verdict{true, std::move(participants), 0};
  const bool is_undecided = co_await decisions.insert(backend, round, verdict);
  if (!is_undecided) throw SqlError{"KO010", "the round is decided"};
  tell_when_durable(backend, round, true);
  co_await server_.commit(backend);
}

// ---- keeping it

Task<bool> DirectoryDatabase::beat(Backend& backend, Incarnation own) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto* start = incarnations.read(backend, own);
  if (start != nullptr) {
    const bool is_first = co_await beats.insert(backend, own, 0);
    if (is_first) {
      const bool is_there = co_await incarnations.lock_key(backend, own) != nullptr;
      if (!is_there) throw SqlError{"23503", "the incarnation has gone"};
    } else {
      if (auto* count = co_await beats.lock(backend, own)) ++*count;
    }
  }
  start = incarnations.read(backend, own);
  const bool is_open = start != nullptr && !start->is_closed;
  co_await server_.commit(backend);
  co_return is_open;
}

Task<void> DirectoryDatabase::forget_rounds(Backend& backend, Incarnation own, Sequence fence) {
  server_.begin(backend);
  const auto* before = incarnations.read(backend, own);
  if (before != nullptr && before->fence < fence) {
    auto* start = co_await incarnations.lock(backend, own);
    if (start != nullptr && start->fence < fence) start->fence = fence;
  }
  co_await server_.moment(backend);
  std::vector<RoundId> behind;
  decisions.scan(&backend, RoundId{own, Sequence()}, [&](const RoundId& round, const Verdict&) {
    const bool is_behind = round.incarnation == own && round.sequence <= fence;
    if (is_behind) behind.push_back(round);
    return is_behind;
  });
  for (const auto round : behind) co_await decisions.erase(backend, round);
  co_await server_.commit(backend);
}

Task<directory::LogState> DirectoryDatabase::keep(Backend& backend, Incarnation own,
                                                  Sequence fence) {
  directory::LogState kept;
  const bool is_open = co_await beat(backend, own);
  kept.is_closed = !is_open;
  co_await server_.client_turn(backend);
  incarnations.scan(&backend, [&](Incarnation incarnation, const Start& start) {
    if (incarnation == own) return true;
    const auto* count = beats.read(backend, incarnation);
    kept.others.push_back({incarnation, count == nullptr ? 0 : *count, start.is_closed});
    return true;
  });
  co_await server_.client_turn(backend);
  try {
    co_await forget_rounds(backend, own, fence);
  } catch (const SqlError& error) {
    if (error.sqlstate != "55P03" && error.sqlstate != "57014") throw;
    server_.rollback(backend);
  }
  co_return kept;
}

Task<std::vector<directory::CommittedRound>> DirectoryDatabase::close(Backend& backend,
                                                                      Incarnation silent,
                                                                      std::size_t limit) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto* before = incarnations.read(backend, silent);
  if (before != nullptr && !before->is_closed) {
    if (auto* start = co_await incarnations.lock(backend, silent)) {
      *start = {Sequence(INT64_MAX), true};
    }
  }
  co_await server_.moment(backend);
  std::vector<RoundId> aborts;
  std::vector<directory::CommittedRound> commits;
  const RoundId first{silent, Sequence()};
  decisions.scan(&backend, first, [&](const RoundId& round, const Verdict& verdict) {
    if (round.incarnation != silent) return false;
    if (!verdict.is_commit) aborts.push_back(round);
    return true;
  });
  for (const auto round : aborts) co_await decisions.erase(backend, round);
  co_await server_.moment(backend);
  decisions.scan(&backend, first, [&](const RoundId& round, const Verdict& verdict) {
    if (round.incarnation != silent || commits.size() == limit) return false;
    commits.push_back({round.sequence, verdict.participants});
    return true;
  });
  if (commits.empty()) {
    co_await incarnations.erase(backend, silent);
    co_await beats.erase(backend, silent);
  }
  co_await server_.commit(backend);
  co_return commits;
}

Task<void> DirectoryDatabase::forget(Backend& backend, Incarnation closed,
                                     std::vector<Sequence> rounds) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto is_visible = [&](Sequence sequence) {
    return decisions.read(backend, {closed, sequence}) != nullptr;
  };
  std::erase_if(rounds, [&](Sequence sequence) { return !is_visible(sequence); });
  std::ranges::sort(rounds);
  for (const auto sequence : rounds) co_await decisions.erase(backend, {closed, sequence});
  co_await server_.commit(backend);
}

Task<directory::Fences> DirectoryDatabase::fences(Backend& backend) {
  co_await server_.moment(backend);
  directory::Fences fences;
  fences.last = Incarnation(cluster.read(backend, 0)->last_incarnation);
  incarnations.scan(&backend, [&](Incarnation incarnation, const Start& start) {
    fences.incarnations.push_back({incarnation, start.fence, start.is_closed});
    return true;
  });
  fences.last_move = MoveId(rebalance.read(backend, 0)->last_move);
  std::set<MoveId> open;
  moves.scan(&backend, [&](AccountId, const MovingUser& moving) {
    open.insert(moving.move);
    return true;
  });
  fences.open_moves.assign(open.begin(), open.end());
  co_await server_.client_turn(backend);
  server_.begin(backend);
  co_await server_.moment(backend);
  co_await cluster.lock(backend, 0);  // the barrier
  co_await server_.commit(backend);
  co_return fences;
}

// ---- users and starts

Task<Incarnation> DirectoryDatabase::next_incarnation(Backend& backend) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* counters = co_await cluster.lock(backend, 0);
  const Incarnation next(++counters->last_incarnation);
  Start start;
  co_await incarnations.insert(backend, next, start);
  co_await server_.commit(backend);
  co_return next;
}

Task<std::vector<AccountId>> DirectoryDatabase::new_user_ids(Backend& backend, int count) {
  server_.begin(backend);
  co_await server_.moment(backend);
  auto* counters = co_await cluster.lock(backend, 0);
  std::vector<AccountId> ids;
  for (int i = 0; i < count; ++i) ids.emplace_back(++counters->last_user);
  co_await server_.commit(backend);
  co_return ids;
}

Task<std::vector<NamedRoute>> DirectoryDatabase::routes_by_name(Backend& backend,
                                                                std::vector<std::string> asked) {
  co_await server_.moment(backend);
  std::vector<NamedRoute> routes;
  for (const auto& name : asked) {
    if (const auto* route = users.read(backend, name)) routes.push_back(*route);
  }
  co_return routes;
}

Task<std::vector<NamedRoute>> DirectoryDatabase::routes_by_account(Backend& backend,
                                                                   std::vector<AccountId> asked) {
  co_await server_.moment(backend);
  std::vector<NamedRoute> routes;
  for (const auto account : asked) {
    if (const auto* name = names.read(backend, account)) {
      routes.push_back(*users.read(backend, *name));
    }
  }
  co_return routes;
}

Task<ShardRows> DirectoryDatabase::shards_in_service(Backend& backend) {
  co_await server_.moment(backend);
  ShardRows rows;
  shards.scan(&backend, [&](ShardId shard, const ShardRow& row) {
    if (row.state != ShardService::Known) rows.emplace(shard, row);
    return true;
  });
  co_return rows;
}

Task<std::map<ShardId, std::int64_t>> DirectoryDatabase::users_per_shard(Backend& backend) {
  co_await server_.moment(backend);
  std::map<ShardId, std::int64_t> counts;
  users.scan(&backend, [&](const auto&, const NamedRoute& user) {
    ++counts[user.route.shard];
    return true;
  });
  co_return counts;
}

}  // namespace koshel::simulation
