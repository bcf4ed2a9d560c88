#include "tests/honesty/model.hpp"

#include "tests/honesty/text.hpp"

namespace koshel::honesty {
namespace {

constexpr Duration kForEver = std::chrono::hours(10'000);
constexpr Duration kImpatience = std::chrono::seconds(10);
constexpr Duration kStatement = std::chrono::seconds(2);  // longer than any that does not wait

simulation::ServerOptions options(std::size_t prepared_max) {
  simulation::ServerOptions options;
  options.prepared_max = prepared_max;
  options.lock_timeout = kForEver;
  options.deadlock_timeout = kForEver;  // which of several is the victim, the real server says
  return options;
}

template <class... Parts>
std::string row(const Parts&... parts) {
  std::string text;
  const auto add = [&text](const auto& part) {
    if (!text.empty()) text += ' ';
    using Part = std::decay_t<decltype(part)>;
    if constexpr (std::is_convertible_v<Part, std::string>) {
      text += part;
    } else if constexpr (std::is_same_v<Part, bool>) {
      text += part ? 't' : 'f';
    } else if constexpr (std::is_same_v<Part, Money>) {
      text += std::to_string(part.minor_units());
    } else if constexpr (std::is_arithmetic_v<Part>) {
      text += std::to_string(part);
    } else {
      text += std::to_string(part.value());
    }
  };
  (add(parts), ...);
  return text;
}

template <class Ids>
std::string numbers(const Ids& ids) {
  std::vector<std::string> texts;
  for (const auto& id : ids) texts.push_back(text_of(id));
  return joined(std::move(texts), Order::Kept, ",");
}

}  // namespace

Model::Model(std::uint64_t seed, Side side, std::size_t prepared_max)
    : side_(side),
      chance_(seed),
      server_(scheduler_, chance_, options(prepared_max)),
      shard_(server_, kCluster, kShard),
      directory_(server_) {
  directory_.shards.put(ShardId(1), {100, simulation::ShardService::Active});
  directory_.shards.put(ShardId(2), {100, simulation::ShardService::Active});
}

BackendId Model::open(const std::string& name, bool is_impatient) {
  auto* backend = server_.connect(name);
  if (is_impatient) backend->lock_timeout = kImpatience;
  return backend->id;
}

Task<void> Model::drive(BackendId id, Operation operation, std::string& outcome) {
  auto& backend = *server_.find(id);
  try {
    auto task = operation.on_model(backend);
    auto text = co_await std::move(task);
    outcome = "ok " + text;
  } catch (const simulation::SqlError& error) {
    outcome = error.sqlstate;
    server_.rollback(backend);
  } catch (const simulation::SessionEnded&) {
    outcome = "ended";
    backend.is_ending = true;
  }
}

void Model::start(BackendId id, const Operation& operation, std::string& outcome) {
  auto* backend = server_.find(id);
  backend->on_lost = [&outcome] {
    if (outcome.empty()) outcome = "ended";
  };
  if (backend->is_in_block && !backend->transaction && !operation.ends_block) {
    outcome = "25P02";
    return;
  }
  server_.run(*backend, drive(id, operation, outcome));
}

void Model::settle() {
  scheduler_.run_until(scheduler_.now() + kStatement);
}

void Model::let_impatient_give_up() {
  scheduler_.run_until(scheduler_.now() + 2 * kImpatience);
}

void Model::crash() {
  server_.crash();
  server_.restart();
}

std::string Model::state_of(BackendId id) {
  const auto* backend = server_.find(id);
  if (backend == nullptr) return "gone";
  if (backend->suspended) return "waits";
  if (!backend->is_in_block) return "idle";
  return backend->transaction ? "in a transaction" : "in a failed transaction";
}

std::vector<std::string> Model::shard_rows() const {
  std::vector<std::string> rows;
  const auto add = [&rows](std::string text) {
    rows.push_back(std::move(text));
    return true;
  };
  shard_.identity.scan(nullptr, [&](int, const auto& identity) {
    return add(row("identity", identity.epoch, identity.taken_by, identity.incarnation_floor));
  });
  shard_.accounts.scan(nullptr, [&](AccountId account, CurrencyId currency) {
    return add(row("account", account, currency));
  });
  shard_.entries.scan(nullptr, [&](const auto&, const simulation::StoredEntry& stored) {
    const auto& e = stored.entry;
    return add(row("entry", e.account, e.version, e.counterparty, e.amount, e.balance,
                   e.min_balance, e.max_balance, stored.at.time_since_epoch().count(),
                   e.transfer ? e.transfer->to_string() : "-", static_cast<int>(e.kind),
                   static_cast<int>(e.status), e.is_anchor, e.metadata.empty() ? "-" : e.metadata,
                   e.refusal ? text_of_refusal(*e.refusal, e.asked) : "-",
                   e.asked_by.empty() ? "-" : e.asked_by));
  });
  shard_.anchors.scan(nullptr, [&](TransferId transfer, const auto& key) {
    return add(row("anchor", transfer.to_string(), key.first, key.second));
  });
  shard_.applied_rounds.scan(nullptr, [&](RoundId round, bool is_void) {
    return add(row("applied", round.incarnation, round.sequence, is_void));
  });
  shard_.round_fences.scan(nullptr, [&](Incarnation incarnation, Sequence fence) {
    return add(row("fence", incarnation, fence));
  });
  shard_.holds.scan(nullptr, [&](const std::string& gid, const auto& held) {
    return add(row("hold", gid, numbers(held.accounts), numbers(held.leaving)));
  });
  shard_.moves.scan(nullptr, [&](AccountId account, const auto& moving) {
    return add(row("move", account, moving.move, moving.is_leaving, moving.copied));
  });
  for (const auto& [gid, prepared] : server_.prepared()) add(row("prepared", gid));
  return rows;
}

std::vector<std::string> Model::directory_rows() const {
  std::vector<std::string> rows;
  const auto add = [&rows](std::string text) {
    rows.push_back(std::move(text));
    return true;
  };
  directory_.cluster.scan(nullptr, [&](int, const auto& counters) {
    return add(row("cluster", counters.last_user, counters.last_incarnation));
  });
  directory_.users.scan(nullptr, [&](const std::string& name, const auto& user) {
    const auto& route = user.route;
    return add(row("user", name, route.account, route.currency, route.shard, route.version));
  });
  directory_.names.scan(nullptr, [&](AccountId account, const std::string& name) {
    return add(row("id", account, name));
  });
  directory_.decisions.scan(nullptr, [&](RoundId round, const auto& verdict) {
    return add(row("decision", round.incarnation, round.sequence, verdict.is_commit,
                   numbers(verdict.participants), verdict.asked));
  });
  directory_.incarnations.scan(nullptr, [&](Incarnation incarnation, const auto& start) {
    return add(row("incarnation", incarnation, start.fence, start.is_closed));
  });
  directory_.beats.scan(nullptr, [&](Incarnation incarnation, std::int64_t count) {
    return add(row("beats", incarnation, count));
  });
  directory_.shards.scan(nullptr, [&](ShardId shard, const auto& it) {
    const bool is_active = it.state == simulation::ShardService::Active;
    return add(row("shard", shard, std::string(is_active ? "active" : "draining")));
  });
  directory_.rebalance.scan(nullptr, [&](int, const auto& it) {
    return add(row("rebalance", std::string(to_string(it.state)), it.users_per_second.value_or(0),
                   it.users_total, it.users_moved, it.entries_copied,
                   it.error.empty() ? std::string("-") : it.error,
                   it.holder.value_or(Incarnation()), it.beat, it.last_move));
  });
  directory_.planned_moves.scan(nullptr, [&](const auto& way, std::int64_t users) {
    return add(row("planned", way.first, way.second, users));
  });
  directory_.moves.scan(nullptr, [&](AccountId account, const auto& moving) {
    return add(row("move", account, moving.move, moving.source, moving.target, moving.is_cut_over));
  });
  return rows;
}

std::vector<std::string> Model::rows() const {
  auto rows = side_ == Side::Shard ? shard_rows() : directory_rows();
  std::ranges::sort(rows);
  return rows;
}

}  // namespace koshel::honesty
