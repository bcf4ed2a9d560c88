#include "tests/simulation/checker.hpp"

#include <numeric>

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

namespace {

std::string text_of(RoundId round) {
  return std::to_string(round.incarnation.value()) + ":" + std::to_string(round.sequence.value());
}

}  // namespace

void Checker::violate(const std::string& what) {
  if (violation_.empty()) violation_ = what;
  world_.log("VIOLATION", what);
  world_.scheduler.stop();
}

void Checker::watch() {
  world_.directory_server->on_visible = [this] { check_owners(); };
  world_.directory->on_decision = [this](RoundId round, bool is_commit) {
    on_decision(round, is_commit);
  };
  for (auto& [id, shard] : world_.shards) {
    shard.server->on_finished = [this, own = id](const std::string& gid, bool is_commit) {
      on_finished(own, gid, is_commit);
    };
    shard.server->on_visible = [this, own = id] {
      check_rows(own);
      check_money();
      check_owners();
    };
  }
}

// ---- the protocol

void Checker::on_decision_asked(RoundId round, bool is_commit) {
  if (is_commit && rolled_back_.contains(round)) {
    world_.reached("checker: a commit was asked for after a rollback");
  }
}

void Checker::on_decision(RoundId round, bool is_commit) {
  world_.log("round", text_of(round), is_commit ? "commit is durable" : "abort is durable");
  const auto [known, is_new] = decisions_.try_emplace(round, is_commit);
  if (!is_new && known->second != is_commit) {
    violate("round " + text_of(round) + " was decided twice, and differently");
  }
  if (is_commit && rolled_back_.contains(round)) {
    violate("round " + text_of(round) + " is decided to commit after a shard rolled it back");
  }
}

void Checker::on_finished(ShardId id, const std::string& gid, bool is_commit) {
  const auto own = world_.shards.at(id).own_round(gid);
  if (!own) return violate("the foreign gid " + gid + " was settled");
  const auto round = *own;
  world_.log("gid", gid, is_commit ? "committed" : "rolled back");
  const auto decision = decisions_.find(round);
  const bool is_decided_commit = decision != decisions_.end() && decision->second;
  if (is_commit && !is_decided_commit) {
    violate("round " + text_of(round) + " was committed before its decision was durable");
  }
  const bool is_lost_half = lost_ && lost_->round == round;
  if (!is_commit && is_decided_commit && !is_lost_half) {
    violate("round " + text_of(round) + " was rolled back though it is decided to commit");
  }
  if (!is_commit) rolled_back_.insert(round);
}

void Checker::on_alarm(const std::string& text) {
  const auto lost = lost_ ? "round " + text_of(lost_->round) : "";
  if (!lost_ || (!text.ends_with(lost) && text.find(lost + " ") == std::string::npos)) {
    return violate("an alarm was raised: " + text);
  }
  lost_->is_alarmed = true;
}

// After the faults every coordinator beats, and none is closed.
void Checker::on_closed(const std::string& coordinator) {
  const auto settled_by = world_.plan.log.dead_after * 2 + std::chrono::seconds(60);
  if (world_.healed_at == Instant::max()) return;
  if (world_.scheduler.now() - world_.healed_at > settled_by) {
    violate(coordinator + " lives, and was closed");
  }
}

bool Checker::lose_half(RoundId round, const std::string& gid, Server& server) {
  if (lost_) return false;
  for (const auto& [id, shard] : world_.shards) {
    if (shard.server.get() == &server) {
      lost_ = Lost{round, shard.database->prepared_effects.at(gid).amount.minor_units(), false};
    }
  }
  if (!server.finish_by_hand(gid, false)) lost_.reset();
  return lost_.has_value();
}

std::optional<bool> Checker::decision_of(RoundId round) const {
  const auto found = decisions_.find(round);
  return found == decisions_.end() ? std::nullopt : std::optional(found->second);
}

// ---- money

std::int64_t Checker::balance_of(ShardId id) const {
  const auto& database = *world_.shards.at(id).database;
  std::int64_t sum = 0;
  database.accounts.scan(nullptr, [&](AccountId account, CurrencyId) {
    const auto* head = database.head(account);
    if (head != nullptr) sum += head->entry.balance.minor_units();
    return true;
  });
  return sum;
}

// What is decided to commit and stands prepared.
std::int64_t Checker::in_flight() const {
  std::int64_t sum = 0;
  for (const auto& [id, shard] : world_.shards) {
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      const auto round = shard.own_round(gid);
      if (!round || !decision_of(*round).value_or(false)) continue;
      sum += shard.database->prepared_effects.at(gid).amount.minor_units();
    }
  }
  return sum;
}

void Checker::check_money() {
  std::int64_t sum = in_flight() + (lost_ ? lost_->amount : 0);
  for (const auto& [id, shard] : world_.shards) sum += balance_of(id);
  if (sum != 0)
    violate("the sum of all balances and of what is in flight is " + std::to_string(sum));
}

void Checker::check_entry(const Entry& before, const Entry& entry) {
  const auto where = "account " + std::to_string(entry.account.value()) + " version " +
                     std::to_string(entry.version.value());
  if (before.balance.plus(entry.amount) != entry.balance) violate(where + " does not re-add");
  if (entry.balance < entry.min_balance || entry.balance > entry.max_balance) {
    violate(where + " is outside of its limits");
  }
  // A move asks for itself, and an @world is opened along with what uses it.
  const bool has_asker = entry.kind != EntryKind::Moved &&
                         !(entry.account.is_world() && entry.kind == EntryKind::Opened);
  if (entry.asked_by.empty() == has_asker) violate(where + " does not say right who asked");
}

void Checker::look_again() {
  forget_what_was_lost();
  for (const auto& [id, shard] : world_.shards) check_rows(id);
  check_money();
}

// ---- the end

std::string Checker::find_unfinished() const {
  if (lost_) return lost_->is_alarmed ? "" : "nobody was alarmed by the lost half";
  std::size_t processes = 0;
  for (const auto& coordinator : world_.coordinators) {
    if (!coordinator->is_up()) continue;
    ++processes;
    const auto* machine = coordinator->machine();
    if (machine == nullptr) return coordinator->name() + " has no incarnation";
    if (machine->orders() > 0) return coordinator->name() + " has orders";
    if (machine->rounds_local() > 0) return coordinator->name() + " has local rounds";
    if (machine->rounds_cross() > 0) return coordinator->name() + " has cross rounds";
    if (machine->rounds_unconfirmed() > 0) return coordinator->name() + " has unconfirmed rounds";
  }
  for (const auto& [id, shard] : world_.shards) {
    const auto name = "shard " + std::to_string(id.value());
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      if (shard.own_round(gid)) return name + " has prepared transactions";
    }
    if (shard.database->holds.size() > 0) return name + " has rows in holds";
    if (const auto rows = shard.database->applied_rounds.size(); rows > 0) {
      std::string first;
      shard.database->applied_rounds.scan(nullptr, [&](const RoundId& round, bool is_void) {
        first = text_of(round) + (is_void ? " (void)" : "");
        return false;
      });
      return name + " has " + std::to_string(rows) + " rows in applied_rounds, the first is " +
             first;
    }
    for (const auto& agent : shard.agents) {
      if (!agent->is_up()) continue;
      if (!agent->machine()->is_serving()) return agent->name() + " does not serve";
      if (agent->machine()->accounts_held() > 0) return agent->name() + " holds accounts";
      if (!agent->machine()->is_idle()) return agent->name() + " has rounds";
    }
  }
  if (const auto moves = find_unfinished_moves(); !moves.empty()) return moves;
  if (world_.directory->decisions.size() > 0) return "the directory has decisions";
  if (world_.directory->incarnations.size() > processes) return "the directory has incarnations";
  return {};
}

void Checker::check_end() {
  check_money();
  if (lost_) return check_lost_half();
  check_chains();
  check_transfers();
  check_users();
  for (const auto& wish : wishes_) check_wish(*wish);
}

// The rest may be incomplete, but not forgotten.
void Checker::check_lost_half() {
  if (world_.directory->decisions.read(lost_->round) == nullptr) {
    violate("round " + text_of(lost_->round) + " was forgotten though a shard lost its half");
  }
}

void Checker::check_chains() {
  for (const auto& [id, shard] : world_.shards) {
    Entry before;
    shard.database->entries.scan(nullptr, [&](const auto&, const StoredEntry& row) {
      if (row.entry.account != before.account) before = Entry();
      if (row.entry.version != before.version.next()) {
        violate("account " + std::to_string(row.entry.account.value()) + " has a gap");
      }
      check_entry(before, row.entry);
      check_history(id, row.entry.account, row);
      before = row.entry;
      if (row.entry.transfer) found_[*row.entry.transfer].entries.push_back(row.entry);
      return true;
    });
  }
}

void Checker::check_transfers() {
  for (const auto& [id, found] : found_) {
    std::int64_t sum = 0;
    std::int64_t anchors = 0;
    for (const auto& entry : found.entries) {
      sum += entry.amount.minor_units();
      anchors += entry.is_anchor ? 1 : 0;
    }
    const bool is_refusal = found.entries.front().kind == EntryKind::Refused;
    const std::size_t sides = is_refusal ? 1 : 2;
    if (sum != 0 || anchors != 1 || found.entries.size() != sides) {
      violate("transfer " + id.to_string() + " has " + std::to_string(found.entries.size()) +
              " entries, " + std::to_string(anchors) + " of them anchors, their sum is " +
              std::to_string(sum));
    }
    if (found.entries.front().asked_by != found.entries.back().asked_by) {
      violate("the sides of transfer " + id.to_string() + " do not say the same of who asked");
    }
    if (!is_refusal) ++transfers_committed_;
  }
}

void Checker::check_users() {
  std::map<AccountId, ShardId> owners;
  for (const auto& [id, shard] : world_.shards) {
    shard.database->accounts.scan(nullptr, [&](AccountId account, CurrencyId) {
      if (!owners.emplace(account, id).second) violate("an account is on two shards");
      return true;
    });
  }
  std::size_t users = 0;
  world_.directory->users.scan(nullptr, [&](const std::string& name, const NamedRoute& route) {
    ++users;
    const auto owner = owners.find(route.route.account);
    if (owner == owners.end() || owner->second != route.route.shard) {
      violate("user " + name + " is not where the directory says");
    }
    return true;
  });
  const auto accounts =
      std::ranges::count_if(owners, [](const auto& owner) { return !owner.first.is_world(); });
  if (accounts != static_cast<std::ptrdiff_t>(users)) violate("there are accounts without a user");
  for (const auto& [name, user] : users_) {
    const auto* route = world_.directory->users.read(name);
    if (user.account && (route == nullptr || route->route.account != *user.account)) {
      violate("user " + name + " was told to be there and is not");
    }
    if (!user.account && !user.may_be_there && route != nullptr) {
      violate("user " + name + " is there though every answer said that it is not");
    }
    if (route == nullptr) continue;
    const auto& database = *world_.shards.at(route->route.shard).database;
    const auto* opened = database.entries.read({route->route.account, Version(1)});
    if (opened == nullptr || opened->entry.balance != user.balance) {
      violate("user " + name + " was not opened with its balance");
    }
  }
}

}  // namespace koshel::simulation
