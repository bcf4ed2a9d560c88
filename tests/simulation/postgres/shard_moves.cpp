// ShardDatabase, second part: accounts that come from other shards and go to them, as
// sql/shard/0002_moves.sql has them.

#include <set>

#include "tests/simulation/postgres/shard_database.hpp"

namespace koshel::simulation {

// for update, in the order of the accounts; without those that no longer fit once they are locked.
Task<std::vector<AccountId>> ShardDatabase::lock_moves(Backend& backend,
                                                       std::vector<AccountId> wanted, MoveId move,
                                                       bool is_leaving) {
  const auto does_fit = [move, is_leaving](const Moving* row) {
    return row != nullptr && row->move == move && row->is_leaving == is_leaving;
  };
  std::erase_if(wanted, [&](AccountId each) { return !does_fit(moves.read(backend, each)); });
  std::ranges::sort(wanted);
  std::vector<AccountId> locked;
  for (const auto account : wanted) {
    const auto* row = co_await moves.lock(backend, account);
    if (does_fit(row)) locked.push_back(account);
  }
  co_return locked;
}

Task<void> ShardDatabase::touch_identity(Backend& backend, Epoch epoch) {
  bool is_newest = identity.read(backend, 0)->epoch == epoch;
  if (is_newest) {
    const auto* row = co_await identity.lock(backend, 0);
    is_newest = row->epoch == epoch;
  }
  if (!is_newest) throw SqlError{"KO002", "the epoch is over"};
}

// ---- what the mover asks

Task<std::vector<messages::CopiedTo>> ShardDatabase::begin_arrival(Backend& backend, Epoch epoch,
                                                                   messages::BeginArrival begin) {
  server_.begin(backend);
  check_epoch(backend, epoch);
  co_await server_.moment(backend);
  std::ranges::sort(begin.accounts);
  for (const auto account : begin.accounts) {
    for (;;) {
      Moving arrival{begin.move, false, Version()};
      const bool is_new = co_await moves.insert(backend, account, arrival);
      if (is_new) break;
      auto* row = co_await moves.lock(backend, account);
      if (row == nullptr) continue;
      if (!row->is_leaving && row->move <= begin.move) row->move = begin.move;
      break;
    }
  }
  co_await server_.moment(backend);
  std::vector<messages::CopiedTo> copied;
  for (const auto account : begin.accounts) {
    const auto* row = moves.read(backend, account);
    const bool is_owned = accounts.read(backend, account) != nullptr;
    if (is_owned || !row->is_arrival_of(begin.move)) {
      throw SqlError{"KO005", "the accounts cannot come here now"};
    }
    copied.push_back({account, row->copied});
  }
  co_await server_.commit(backend);
  co_return copied;
}

Task<MovingChunk> ShardDatabase::read_chunk(Backend& backend, Epoch epoch,
                                            messages::ReadChunk wanted) {
  server_.begin(backend);
  co_await server_.moment(backend);
  MovingChunk chunk;
  const auto limit = static_cast<std::size_t>(wanted.limit);
  for (const auto& [account, after] : wanted.after) {
    if (accounts.read(backend, account) == nullptr) continue;
    const auto before = chunk.entries.size();
    entries.scan(&backend, {account, after.next()}, [&](const EntryKey& key, const auto& row) {
      const bool is_wanted = key.first == account && chunk.entries.size() < limit;
      if (is_wanted) chunk.entries.push_back(row);
      return is_wanted;
    });
    if (chunk.entries.size() == before) continue;
    chunk.copied.push_back({account, chunk.entries.back().entry.version});
  }
  chunk.is_complete = chunk.entries.size() < limit;
  co_await server_.moment(backend);
  co_await touch_identity(backend, epoch);
  co_await server_.commit(backend);
  co_return chunk;
}

namespace {

struct Span {
  Version first;
  Version last;
  std::int64_t entries = 0;
  bool has_gap() const { return last.value() - first.value() + 1 != entries; }
};

std::map<AccountId, Span> spans_of(const std::vector<StoredEntry>& chunk) {
  std::map<AccountId, Span> spans;
  for (const auto& row : chunk) {
    const auto version = row.entry.version;
    auto& span = spans.try_emplace(row.entry.account, Span{version, version, 0}).first->second;
    span = {std::min(span.first, version), std::max(span.last, version), span.entries + 1};
  }
  return spans;
}

}  // namespace

Task<void> ShardDatabase::write_chunk(Backend& backend, Epoch epoch, MoveId move,
                                      std::vector<StoredEntry> chunk) {
  server_.begin(backend);
  check_epoch(backend, epoch);
  co_await server_.moment(backend);
  const auto spans = spans_of(chunk);
  std::vector<AccountId> given;
  for (const auto& [account, span] : spans) given.push_back(account);
  co_await lock_moves(backend, given, move, false);
  co_await server_.moment(backend);
  if (server_.faults.is_disk_full) throw SqlError{"53100", "no space left on device"};
  for (auto& row : chunk) {
    const auto* arrival = moves.read(backend, row.entry.account);
    const bool is_new =
        arrival != nullptr && arrival->is_arrival_of(move) && row.entry.version > arrival->copied;
    if (is_new) co_await append_entry(backend, std::move(row));
  }
  for (const auto& [account, span] : spans) {
    const auto* seen = moves.read(backend, account);
    const bool fits = seen != nullptr && seen->is_arrival_of(move) && !span.has_gap() &&
                      span.first <= seen->copied.next();
    if (!fits) throw SqlError{"KO005", "the chunk does not fit here"};
    auto* arrival = co_await moves.lock(backend, account);
    arrival->copied = std::max(arrival->copied, span.last);
  }
  co_await server_.commit(backend);
}

// The newest first, so that what is left has no gap.
Task<void> ShardDatabase::delete_newest(Backend& backend, const std::vector<AccountId>& cleaning,
                                        std::size_t limit) {
  std::vector<EntryKey> gone;
  for (const auto account : cleaning) {
    for (Version up_to(INT64_MAX); gone.size() < limit;) {
      EntryKey key;
      const auto* row = entries.last_up_to(&backend, {account, up_to}, &key);
      if (row == nullptr || key.first != account) break;
      gone.push_back(key);
      up_to = Version(key.second.value() - 1);
    }
  }
  for (const auto& key : gone) {
    const auto entry = entries.read(backend, key)->entry;
    co_await entries.erase(backend, key);
    if (entry.is_anchor && entry.transfer) co_await anchors.erase(backend, *entry.transfer);
  }
}

// With its last entry goes an account's row.
Task<void> ShardDatabase::delete_copies(Backend& backend, const std::vector<AccountId>& cleaning,
                                        std::size_t limit) {
  co_await delete_newest(backend, cleaning, limit);
  co_await server_.moment(backend);
  for (const auto account : cleaning) {
    const auto* last = last_entry(&backend, account);
    const auto* row = moves.read(backend, account);
    if (last == nullptr) {
      co_await moves.erase(backend, account);
    } else if (row != nullptr && !row->is_leaving) {
      auto* arrival = co_await moves.lock(backend, account);
      arrival->copied = last->entry.version;
    }
  }
}

Task<bool> ShardDatabase::clean_move(Backend& backend, Epoch epoch, messages::CleanMove clean) {
  server_.begin(backend);
  check_epoch(backend, epoch);
  co_await server_.moment(backend);
  const auto cleaning = co_await lock_moves(backend, clean.accounts, clean.move, clean.is_leaving);
  co_await server_.moment(backend);
  co_await delete_copies(backend, cleaning, static_cast<std::size_t>(clean.limit));
  co_await server_.moment(backend);
  const bool is_complete = std::ranges::none_of(clean.accounts, [&](AccountId account) {
    const auto* row = moves.read(backend, account);
    const bool is_left = row != nullptr && row->move == clean.move;
    return is_left || accounts.read(backend, account) != nullptr;
  });
  co_await server_.commit(backend);
  co_return is_complete;
}

std::vector<AccountId> ShardDatabase::leftovers(const Backend& backend,
                                                const agent::ForgetRounds& over) const {
  std::vector<AccountId> left;
  moves.scan(&backend, [&](AccountId account, const Moving& row) {
    const bool is_over =
        row.move <= over.last_move && !std::ranges::count(over.open_moves, row.move);
    if (is_over && !row.is_leaving) left.push_back(account);
    return true;
  });
  return left;
}

Task<bool> ShardDatabase::sweep_moves(Backend& backend, agent::ForgetRounds over,
                                      std::size_t limit) {
  server_.begin(backend);
  check_epoch(backend, over.epoch);
  co_await server_.moment(backend);
  auto wanted = leftovers(backend, over);
  wanted.resize(std::min(wanted.size(), limit));
  std::vector<AccountId> sweeping;
  for (const auto account : wanted) {
    const auto* row = co_await moves.lock(backend, account);
    const bool is_over = row != nullptr && !row->is_leaving && row->move <= over.last_move &&
                         !std::ranges::count(over.open_moves, row->move);
    if (is_over) sweeping.push_back(account);
  }
  co_await server_.moment(backend);
  co_await delete_copies(backend, sweeping, limit);
  co_await server_.moment(backend);
  const bool is_complete = leftovers(backend, over).empty();
  co_await server_.commit(backend);
  co_return is_complete;
}

Task<bool> ShardDatabase::forget(Backend& backend, agent::ForgetRounds over, std::size_t limit) {
  const bool are_forgotten = co_await forget_rounds(backend, over, limit);
  co_await server_.client_turn(backend);
  const bool are_swept = co_await sweep_moves(backend, over, limit);
  co_return are_forgotten&& are_swept;
}

// ---- parts of a prepared round

Task<void> ShardDatabase::arrive(Backend& backend,
                                 const std::vector<agent::MovingAccount>& arriving) {
  co_await server_.moment(backend);
  std::size_t arrived = 0;
  for (const auto& [move, account, currency, version] : arriving) {
    const auto is_whole = [move = move, version = version](const Moving* row) {
      return row != nullptr && row->is_arrival_of(move) && row->copied == version;
    };
    if (!is_whole(moves.read(backend, account))) continue;
    const auto* row = co_await moves.lock(backend, account);
    if (!is_whole(row)) continue;
    co_await moves.erase(backend, account);
    ++arrived;
  }
  if (arrived < arriving.size()) throw SqlError{"KO001", "an account is not copied to its head"};
  for (const auto& [move, account, currency, version] : arriving) {
    const bool is_new = co_await accounts.insert(backend, account, currency);
    if (!is_new) throw SqlError{"23505", "the account is there"};
  }
}

Task<void> ShardDatabase::depart(Backend& backend,
                                 const std::vector<agent::MovingAccount>& departing) {
  co_await server_.moment(backend);
  for (const auto& leaving : departing) co_await accounts.erase(backend, leaving.account);
  for (const auto& leaving : departing) {
    Moving row{leaving.move, true, Version()};
    const bool is_new = co_await moves.insert(backend, leaving.account, row);
    if (!is_new) throw SqlError{"23505", "the account moves already"};
  }
}

}  // namespace koshel::simulation
