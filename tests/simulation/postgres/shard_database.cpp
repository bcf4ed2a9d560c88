#include "tests/simulation/postgres/shard_database.hpp"

#include <charconv>

namespace koshel::simulation {

using messages::SettleOutcome;

namespace {

constexpr std::string_view kSessionPrefix = "koshel-agent/";

std::optional<Epoch> epoch_of_session(const std::string& name) {
  if (!name.starts_with(kSessionPrefix)) return std::nullopt;
  const auto digits = std::string_view(name).substr(kSessionPrefix.size());
  const bool is_number = std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number || digits.empty() || digits.size() > 18) return std::nullopt;
  std::int64_t epoch = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), epoch);
  return Epoch(epoch);
}

StoredTransfer stored_of(const StoredEntry& row) {
  const auto& entry = row.entry;
  StoredTransfer stored;
  stored.anchor = {entry.account, entry.version, entry.balance};
  stored.kind = entry.kind;
  stored.at = row.at;
  stored.refusal = entry.refusal;
  const auto amount = entry.refusal ? entry.asked : entry.amount;
  const bool is_payer = amount < Money();
  stored.transfer = {*entry.transfer,
                     true,
                     is_payer ? entry.account : entry.counterparty,
                     is_payer ? entry.counterparty : entry.account,
                     is_payer ? amount.negated() : amount,
                     entry.metadata,
                     entry.asked_by};
  return stored;
}

}  // namespace

std::string session_name(Epoch epoch) {
  return std::string(kSessionPrefix) + std::to_string(epoch.value());
}

ShardDatabase::ShardDatabase(Server& server, std::string cluster, ShardId shard)
    : identity(server),
      accounts(server),
      entries(server),
      anchors(server),
      applied_rounds(server),
      round_fences(server),
      holds(server),
      moves(server),
      server_(server),
      cluster_(std::move(cluster)),
      shard_(shard) {
  identity.put(0, {});
}

std::optional<RoundId> ShardDatabase::round_of(const std::string& text) const {
  const auto gid = Gid::parse(text);
  if (!gid || gid->cluster != cluster_ || gid->shard != shard_) return std::nullopt;
  return gid->round;
}

// ---- compare and append

void ShardDatabase::check_epoch(const Backend& backend, Epoch epoch) const {
  if (identity.read(backend, 0)->epoch != epoch) throw SqlError{"KO002", "the epoch is over"};
}

bool ShardDatabase::is_over(const Backend& backend, RoundId round) const {
  if (identity.read(backend, 0)->incarnation_floor > round.incarnation) return true;
  const auto* fence = round_fences.read(backend, round.incarnation);
  return fence != nullptr && *fence >= round.sequence;
}

void ShardDatabase::compare_heads(const Backend& backend, const agent::AppendBatch& batch) const {
  for (const auto& head : batch.heads) {
    const auto* entry = entries.read(backend, {head.account, head.version});
    const bool is_there = accounts.read(backend, head.account) != nullptr && entry != nullptr &&
                          entry->entry.balance == head.balance;
    if (!is_there) throw SqlError{"KO001", "a head is not as believed"};
  }
}

Task<void> ShardDatabase::append_round(Backend& backend, const agent::AppendBatch& batch) {
  check_epoch(backend, batch.epoch);
  co_await server_.moment(backend);
  const bool is_new = co_await applied_rounds.insert(backend, batch.round, false);
  if (!is_new || is_over(backend, batch.round)) throw SqlError{"KO003", "the round was here"};
  co_await server_.moment(backend);
  compare_heads(backend, batch);
  co_await server_.moment(backend);
  for (const auto& [account, currency] : batch.opened) {
    const bool is_opened = co_await accounts.insert(backend, account, currency);
    if (!is_opened) throw SqlError{"23505", "the account is there"};
  }
  if (server_.faults.is_disk_full) throw SqlError{"53100", "no space left on device"};
  for (const auto& entry : batch.entries) {
    if (entry.balance < entry.min_balance || entry.balance > entry.max_balance) {
      throw SqlError{"23514", "the balance is outside of its limits"};
    }
    StoredEntry row{entry, batch.at};
    co_await append_entry(backend, std::move(row));
  }
}

Task<void> ShardDatabase::append_entry(Backend& backend, StoredEntry row) {
  const EntryKey key{row.entry.account, row.entry.version};
  const auto anchor = row.entry.is_anchor ? row.entry.transfer : std::nullopt;
  const bool is_next = co_await entries.insert(backend, key, std::move(row));
  if (!is_next) throw SqlError{"23505", "the version is there"};
  if (!anchor) co_return;
  const bool is_first = co_await anchors.insert(backend, *anchor, key);
  if (!is_first) throw SqlError{"23505", "the transfer's id is there"};
}

Task<void> ShardDatabase::append(Backend& backend, agent::AppendBatch batch) {
  server_.begin(backend);
  co_await append_round(backend, batch);
  co_await server_.commit(backend);
}

namespace {

std::vector<AccountId> accounts_of(const std::vector<agent::MovingAccount>& moving) {
  std::vector<AccountId> accounts;
  for (const auto& each : moving) accounts.push_back(each.account);
  return accounts;
}

// With an account goes its balance.
ShardDatabase::Effect effect_of(const agent::PrepareRound& round) {
  ShardDatabase::Effect effect{{}, accounts_of(round.departing), accounts_of(round.arriving)};
  for (const auto& opened : round.batch.opened) effect.opened.push_back(opened.account);
  for (const auto& entry : round.batch.entries) {
    effect.amount = *effect.amount.plus(entry.amount);
    if (entry.kind != EntryKind::Moved) continue;
    const bool goes = std::ranges::count(effect.departing, entry.account) > 0;
    effect.amount = *effect.amount.plus(goes ? entry.balance.negated() : entry.balance);
  }
  return effect;
}

}  // namespace

Task<void> ShardDatabase::prepare(Backend& backend, agent::PrepareRound round) {
  const auto gid = gid_of(round.batch.round);
  prepared_effects[gid] = effect_of(round);
  server_.begin(backend, false);
  const bool is_newest = identity.read(backend, 0)->epoch == round.batch.epoch;
  if (is_newest) {
    Held held{round.held, accounts_of(round.departing)};
    co_await holds.insert(backend, gid, std::move(held));
  }
  co_await erase_holds(backend, std::move(round.forgotten));
  co_await server_.commit(backend);
  co_await server_.moment(backend);
  server_.begin(backend);
  if (!round.arriving.empty()) co_await arrive(backend, round.arriving);
  co_await append_round(backend, round.batch);
  if (!round.departing.empty()) co_await depart(backend, round.departing);
  co_await server_.prepare(backend, gid);
}

// ---- settling and asking

Task<SettleOutcome> ShardDatabase::settle(Backend& backend, agent::SettlePrepared settle) {
  std::string failure;
  try {
    co_await server_.finish_prepared(backend, gid_of(settle.round), settle.is_commit);
    co_return SettleOutcome::Settled;
  } catch (const SqlError& error) {
    failure = error.sqlstate;
    if (failure != "55000" && failure != "42704") throw;
  }
  if (failure == "55000") co_return SettleOutcome::Later;
  if (!settle.is_commit) co_return SettleOutcome::Settled;
  co_await server_.client_turn(backend);
  server_.begin(backend);
  const auto* row = applied_rounds.read(backend, settle.round);
  bool is_proved = row != nullptr && !*row;
  if (is_proved) {
    row = co_await applied_rounds.lock(backend, settle.round);
    is_proved = row != nullptr && !*row;
  }
  co_await server_.commit(backend);
  if (is_proved) co_return SettleOutcome::Settled;
  co_await server_.client_turn(backend);
  co_return is_over(backend, settle.round) ? SettleOutcome::Settled : SettleOutcome::Lost;
}

Task<messages::AskRoundOutcome> ShardDatabase::ask_round(Backend& backend, RoundId round) {
  server_.begin(backend);
  co_await server_.moment(backend);
  bool is_void = true;
  for (;;) {
    const bool is_new = co_await applied_rounds.insert(backend, round, true);
    if (is_new) break;
    const auto* row = co_await applied_rounds.lock(backend, round);
    if (row == nullptr) continue;
    is_void = *row;
    break;
  }
  const bool is_forgotten = is_void && is_over(backend, round);
  co_await server_.commit(backend);
  if (is_forgotten) co_return messages::AskRoundOutcome::Over;
  co_return is_void ? messages::AskRoundOutcome::NotApplied : messages::AskRoundOutcome::Applied;
}

std::vector<RoundId> ShardDatabase::rows_behind(const Backend& backend,
                                                const agent::ForgetRounds& forget,
                                                std::size_t limit) const {
  std::vector<RoundId> behind;
  applied_rounds.scan(&backend, [&](const RoundId& round, bool) {
    const auto* fence = round_fences.read(backend, round.incarnation);
    const bool is_behind =
        round.incarnation < forget.floor || (fence != nullptr && round.sequence <= *fence);
    if (is_behind) behind.push_back(round);
    return behind.size() < limit;
  });
  return behind;
}

std::set<Incarnation> ShardDatabase::gone_with_rows(const Backend& backend,
                                                    const agent::ForgetRounds& forget) const {
  std::set<Incarnation> gone;
  applied_rounds.scan(&backend, [&](const RoundId& round, bool) {
    const auto incarnation = round.incarnation;
    const bool is_listed =
        std::ranges::count(forget.unfinished, incarnation) > 0 ||
        std::ranges::count(forget.fences, incarnation, &RoundId::incarnation) > 0;
    if (incarnation >= forget.floor && incarnation <= forget.last && !is_listed) {
      gone.insert(incarnation);
    }
    return true;
  });
  return gone;
}

Task<bool> ShardDatabase::forget_rounds(Backend& backend, agent::ForgetRounds forget,
                                        std::size_t limit) {
  server_.begin(backend);
  check_epoch(backend, forget.epoch);
  co_await server_.moment(backend);
  if (identity.read(backend, 0)->incarnation_floor < forget.floor) {
    auto* row = co_await identity.lock(backend, 0);
    row->incarnation_floor = std::max(row->incarnation_floor, forget.floor);
  }
  std::vector<Incarnation> older;
  round_fences.scan(&backend, [&](Incarnation incarnation, Sequence) {
    if (incarnation < forget.floor) older.push_back(incarnation);
    return incarnation < forget.floor;
  });
  for (const auto incarnation : older) co_await round_fences.erase(backend, incarnation);
  for (const auto& [incarnation, sequence] : forget.fences) {
    const bool is_new = co_await round_fences.insert(backend, incarnation, sequence);
    if (is_new) continue;
    if (auto* fence = co_await round_fences.lock(backend, incarnation)) {
      *fence = std::max(*fence, sequence);
    }
  }
  for (const auto incarnation : gone_with_rows(backend, forget)) {
    const Sequence all(INT64_MAX);
    const bool is_new = co_await round_fences.insert(backend, incarnation, all);
    if (is_new) continue;
    if (auto* fence = co_await round_fences.lock(backend, incarnation)) *fence = all;
  }
  co_await server_.moment(backend);
  const auto behind = rows_behind(backend, forget, limit);
  for (const auto round : behind) co_await applied_rounds.erase(backend, round);
  co_await server_.commit(backend);
  co_return behind.size() < limit;
}

Task<void> ShardDatabase::forget_holds(Backend& backend, std::vector<RoundId> rounds) {
  server_.begin(backend);
  co_await erase_holds(backend, std::move(rounds));
  co_await server_.commit(backend);
}

// Those that the statement sees when it begins, in the order of the index.
Task<void> ShardDatabase::erase_holds(Backend& backend, std::vector<RoundId> rounds) {
  std::set<std::string> gids;
  for (const auto round : rounds) {
    if (holds.read(backend, gid_of(round)) != nullptr) gids.insert(gid_of(round));
  }
  for (const auto& gid : gids) co_await holds.erase(backend, gid);
}

Task<std::vector<agent::PreparedScanned::Found>> ShardDatabase::prepared_rounds(Backend& backend) {
  co_await server_.moment(backend);
  std::vector<agent::PreparedScanned::Found> found;
  for (const auto& [gid, prepared] : server_.prepared()) {
    const auto round = round_of(gid);
    if (!round) continue;
    found.push_back({*round, std::chrono::duration<double>(server_.now() - prepared.at).count()});
  }
  co_return found;
}

// ---- taking over

Task<std::optional<Epoch>> ShardDatabase::take_epoch(Backend& backend, const TakeOverWish& wish) {
  server_.begin(backend);
  co_await server_.moment(backend);
  const auto may_take = [&wish](const Identity& row) {
    return row.epoch >= wish.known && (wish.known == Epoch() || row.taken_by == wish.agent);
  };
  Identity* row = nullptr;
  if (may_take(*identity.read(backend, 0))) row = co_await identity.lock(backend, 0);
  if (row == nullptr || !may_take(*row)) {
    const auto found = identity.read(backend, 0)->epoch;
    server_.rollback(backend);
    if (found >= wish.known) co_return std::nullopt;
    throw SqlError{"XX000", "the database is behind its epoch"};
  }
  row->epoch = row->epoch.next();
  row->taken_by = wish.agent;
  const auto epoch = row->epoch;
  co_await server_.client_turn(backend);
  co_await server_.commit(backend);
  backend.name = session_name(epoch);
  co_return epoch;
}

Task<bool> ShardDatabase::end_older_sessions(Backend& backend, Epoch epoch) {
  constexpr int kTries = 500;
  for (int i = 0; i < kTries; ++i) {
    const auto left = server_.terminate_if([&](const Backend& other) {
      const auto theirs = epoch_of_session(other.name);
      return other.id != backend.id && theirs && *theirs < epoch;
    });
    if (left == 0) co_return true;
    co_await server_.sleep(backend, std::chrono::milliseconds(10));
    co_await server_.client_turn(backend);
  }
  co_return false;
}

Task<TakeOverDone> ShardDatabase::take_over(Backend& backend, TakeOverWish wish) {
  TakeOverDone done;
  done.epoch = co_await take_epoch(backend, wish);
  if (!done.epoch) co_return done;
  co_await server_.client_turn(backend);
  const bool are_gone = co_await end_older_sessions(backend, *done.epoch);
  if (!are_gone) throw SqlError{"XX000", "sessions of an older agent do not end"};
  co_await server_.client_turn(backend);
  server_.begin(backend);
  bool is_newest = identity.read(backend, 0)->epoch == *done.epoch;
  if (is_newest) {
    const auto* row = co_await identity.lock(backend, 0);
    is_newest = row->epoch == *done.epoch;
  }
  co_await server_.commit(backend);
  if (!is_newest) co_return TakeOverDone{};
  co_await server_.client_turn(backend);
  const auto prepared = co_await prepared_rounds(backend);
  for (const auto& found : prepared) {
    co_await server_.client_turn(backend);
    const auto* held = holds.read(backend, gid_of(found.round));
    if (held == nullptr) {
      done.in_doubt.push_back({found.round, {}, {}});
    } else {
      done.in_doubt.push_back({found.round, held->accounts, {}});
      for (const auto account : held->accounts) {
        const bool is_leaving = std::ranges::count(held->leaving, account) > 0;
        if (is_leaving) done.in_doubt.back().leaving.push_back(account);
      }
    }
  }
  co_await server_.client_turn(backend);
  server_.begin(backend);
  std::vector<std::string> others;
  holds.scan(&backend, [&](const std::string& gid, const auto&) {
    const bool is_prepared = std::ranges::any_of(
        prepared, [&](const auto& found) { return gid_of(found.round) == gid; });
    if (!is_prepared) others.push_back(gid);
    return true;
  });
  if (identity.read(backend, 0)->epoch != *done.epoch) others.clear();
  for (const auto& gid : others) co_await holds.erase(backend, gid);
  co_await server_.commit(backend);
  co_return done;
}

// ---- reading

const StoredEntry* ShardDatabase::last_entry(const Backend* backend, AccountId account) const {
  EntryKey found;
  const auto* last = entries.last_up_to(backend, {account, Version(INT64_MAX)}, &found);
  return last == nullptr || found.first != account ? nullptr : last;
}

const StoredEntry* ShardDatabase::head(AccountId account) const {
  return last_entry(nullptr, account);
}

std::optional<StoredTransfer> ShardDatabase::stored_under(const Backend& backend,
                                                          TransferId id) const {
  const auto* key = anchors.read(backend, id);
  if (key == nullptr) return std::nullopt;
  return stored_of(*entries.read(backend, *key));
}

// Keys first: with an account that is owned here afterwards its history was whole.
Task<ShardState> ShardDatabase::read_state(Backend& backend, agent::ReadState wanted) {
  ShardState state;
  co_await server_.moment(backend);
  for (const auto key : wanted.keys) {
    if (auto stored = stored_under(backend, key)) state.stored.push_back(std::move(*stored));
  }
  if (wanted.accounts.empty()) co_return state;
  if (!wanted.keys.empty()) co_await server_.client_turn(backend);
  check_epoch(backend, wanted.epoch);
  for (const auto account : wanted.accounts) {
    const auto* currency = accounts.read(backend, account);
    const auto* last = currency == nullptr ? nullptr : last_entry(&backend, account);
    if (last == nullptr) continue;
    const auto& entry = last->entry;
    state.heads.push_back({account,
                           {*currency, entry.version, entry.balance, entry.min_balance,
                            entry.max_balance, entry.status}});
  }
  co_return state;
}

Task<messages::FindTransferDone> ShardDatabase::find_transfer(Backend& backend, Epoch epoch,
                                                              messages::FindTransfer wanted) {
  co_await server_.moment(backend);
  check_epoch(backend, epoch);
  messages::FindTransferDone done;
  done.is_owned = accounts.read(backend, wanted.account) != nullptr;
  if (!done.is_owned) co_return done;
  for (const auto id : wanted.ids) {
    auto stored = stored_under(backend, id);
    if (!stored) continue;
    if (!done.stored || stored->transfer.id == wanted.ids.front()) done.stored = std::move(stored);
  }
  co_return done;
}

Task<messages::EntriesRead> ShardDatabase::read_entries(Backend& backend, Epoch epoch,
                                                        messages::ReadEntries wanted) {
  co_await server_.moment(backend);
  check_epoch(backend, epoch);
  messages::EntriesRead read;
  read.is_owned = accounts.read(backend, wanted.account) != nullptr;
  if (!read.is_owned) co_return read;
  const bool is_from_end = wanted.is_newest_first && wanted.from == Version();
  entries.scan(&backend, {wanted.account, wanted.is_newest_first ? Version() : wanted.from},
               [&](const EntryKey& key, const StoredEntry& row) {
                 if (key.first != wanted.account) return false;
                 if (wanted.is_newest_first && !is_from_end && key.second > wanted.from) {
                   return false;
                 }
                 read.entries.push_back({row.entry, row.at});
                 return true;
               });
  if (wanted.is_newest_first) std::ranges::reverse(read.entries);
  const auto limit = static_cast<std::size_t>(wanted.limit);
  if (read.entries.size() > limit) read.entries.resize(limit);
  co_return read;
}

Task<std::vector<AccountId>> ShardDatabase::worlds(Backend& backend) {
  co_await server_.moment(backend);
  std::vector<AccountId> worlds;
  accounts.scan(&backend, AccountId(AccountId::kWorldBit), [&](AccountId account, CurrencyId) {
    worlds.push_back(account);
    return true;
  });
  co_return worlds;
}

}  // namespace koshel::simulation
