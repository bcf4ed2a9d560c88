// Checker, third part: each account has one owner, and one history, wherever it is.

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/checker.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

namespace {

std::string text_of(AccountId account, Version version) {
  return "account " + std::to_string(account.value()) + " version " +
         std::to_string(version.value());
}

}  // namespace

// ---- histories

// Both sides of a move write its entry, each with its own time; the source's copy is soon deleted.
bool Checker::is_same_row(const StoredEntry& one, const StoredEntry& other) {
  return one.entry == other.entry && (one.at == other.at || one.entry.kind == EntryKind::Moved);
}

// What was committed for a version once stands for ever, on whatever shard.
void Checker::check_history(ShardId id, AccountId account, const StoredEntry& row) {
  auto& history = histories_[account];
  const auto version = row.entry.version;
  const auto place = static_cast<std::size_t>(version.value());
  if (place <= history.size()) {
    if (is_same_row(history[place - 1], row)) return;
    return violate(text_of(account, version) + " is another entry on shard " +
                   std::to_string(id.value()) + " than it was first");
  }
  if (place > history.size() + 1) return violate(text_of(account, version) + " comes after a gap");
  check_entry(history.empty() ? Entry() : history.back().entry, row.entry);
  history.push_back(row);
  balances_[account].push_back({world_.scheduler.now(), row.entry.balance});
}

// Only what is new since the last look.
void Checker::check_chain(ShardId id, AccountId account) {
  const auto& database = *world_.shards.at(id).database;
  const auto* head = database.head(account);
  auto& checked = checked_[{id, account}];
  const auto last = head == nullptr ? Version() : head->entry.version;
  checked = std::min(checked, last);
  while (checked < last) {
    const auto* row = database.entries.read({account, checked.next()});
    if (row == nullptr) return violate(text_of(account, checked.next()) + " is not there: a gap");
    check_history(id, account, *row);
    checked = checked.next();
  }
}

void Checker::check_rows(ShardId id) {
  if (lost_) return;  // with its half an account may have come without having gone
  const auto& database = *world_.shards.at(id).database;
  std::set<AccountId> seen;
  database.accounts.scan(nullptr, [&](AccountId account, CurrencyId) {
    seen.insert(account);
    if (database.head(account) == nullptr) violate(text_of(account, Version(1)) + " is not there");
    check_chain(id, account);
    note_owner(id, account);
    return true;
  });
  database.moves.scan(nullptr, [&](AccountId account, const ShardDatabase::Moving& moving) {
    seen.insert(account);
    check_chain(id, account);
    const auto* head = database.head(account);
    const auto last = head == nullptr ? Version() : head->entry.version;
    if (!moving.is_leaving && moving.copied != last) {
      violate(text_of(account, last) + " is not what is said to be copied");
    }
    return true;
  });
  std::erase_if(checked_, [&](const auto& each) {
    return each.first.first == id && !seen.contains(each.first.second);
  });
}

// After a failover: what nobody has any more was seen, and never durable.
void Checker::forget_what_was_lost() {
  for (auto& [account, history] : histories_) {
    Version last;
    for (const auto& [id, shard] : world_.shards) {
      const auto* head = shard.database->head(account);
      if (head != nullptr) last = std::max(last, head->entry.version);
    }
    if (std::ssize(history) <= last.value()) continue;
    history.resize(static_cast<std::size_t>(last.value()));
    const auto balance = history.empty() ? Money() : history.back().entry.balance;
    balances_[account].push_back({world_.scheduler.now(), balance});
  }
}

// ---- owners

void Checker::note_owner(ShardId id, AccountId account) {
  auto& way = ways_[account];
  if (!way.empty() && way.back() == id) return;
  const bool was_here = std::ranges::count(way, id) > 0;
  if (!way.empty()) world_.reached(account.is_world() ? "moved: an @world" : "moved: a user");
  if (was_here) world_.reached("moved: one that came back");
  way.push_back(id);
}

// As it will be once all that is decided is carried out.
std::map<AccountId, std::vector<ShardId>> Checker::owners() const {
  std::map<AccountId, std::vector<ShardId>> owners;
  for (const auto& [id, shard] : world_.shards) {
    shard.database->accounts.scan(nullptr, [&, own = id](AccountId account, CurrencyId) {
      owners[account].push_back(own);
      return true;
    });
    for (const auto& [gid, prepared] : shard.server->prepared()) {
      const auto round = shard.own_round(gid);
      if (!round || !decision_of(*round).value_or(false)) continue;
      const auto& effect = shard.database->prepared_effects.at(gid);
      for (const auto account : effect.departing) std::erase(owners[account], id);
      for (const auto account : effect.opened) owners[account].push_back(id);
    }
  }
  return owners;
}

void Checker::check_owners() {
  if (lost_) return;
  const auto found = owners();
  for (const auto& [account, shards] : found) {
    if (shards.size() > 1) violate(text_of(account, Version(1)) + " is owned by two shards");
  }
  if (!world_.directory_server->is_log_empty()) return;  // it is about to say something else
  world_.directory->users.scan(nullptr, [&](const std::string& name, const NamedRoute& user) {
    const auto owner = found.find(user.route.account);
    const bool is_as_said =
        owner != found.end() && owner->second == std::vector<ShardId>{user.route.shard};
    if (!is_as_said) violate("user " + name + " is not owned by the directory's shard alone");
    return is_as_said;
  });
}

// ---- the end

std::string Checker::find_leftovers(ShardId id) const {
  const auto& database = *world_.shards.at(id).database;
  const auto name = "shard " + std::to_string(id.value());
  if (database.moves.size() > 0) return name + " has rows in moves";
  std::string found;
  database.entries.scan(nullptr, [&](const auto& key, const StoredEntry&) {
    const bool is_owned = database.accounts.read(key.first) != nullptr;
    if (!is_owned) found = name + " has a copy of " + text_of(key.first, key.second);
    return is_owned;
  });
  const auto* row = world_.directory->shards.read(id);
  const bool is_drained = row->state == ShardService::Draining;
  if (is_drained && database.accounts.size() > 0) {
    return name + " drains and has " + std::to_string(database.accounts.size()) + " accounts";
  }
  return found;
}

std::string Checker::find_unfinished_moves() const {
  const auto& directory = *world_.directory;
  if (directory.rebalance.read(0)->state != directory::RebalanceState::Idle) {
    return "the rebalance is not over";
  }
  if (directory.moves.size() > 0) return "the directory has moves";
  for (const auto& coordinator : world_.coordinators) {
    const auto* machine = coordinator->is_up() ? coordinator->machine() : nullptr;
    if (machine != nullptr && machine->is_moving_users()) {
      return coordinator->name() + " still moves users";
    }
  }
  for (const auto& [id, shard] : world_.shards) {
    if (auto found = find_leftovers(id); !found.empty()) return found;
  }
  return {};
}

}  // namespace koshel::simulation
