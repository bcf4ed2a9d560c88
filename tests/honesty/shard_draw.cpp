#include "tests/honesty/shard_draw.hpp"

namespace koshel::honesty {
namespace {

constexpr CurrencyId kCurrency{978};

}  // namespace

Epoch ShardDraw::epoch() {
  const auto newest = db_.identity.read(0)->epoch;
  if (chance_.is_hit(0.95)) return newest;
  return Epoch(newest.value() + (chance_.is_hit(0.5) ? 1 : -1));
}

RoundId ShardDraw::any_round() {
  return {Incarnation(chance_.between(1, values_.incarnations)),
          Sequence(chance_.between(1, values_.sequences))};
}

RoundId ShardDraw::fresh_round() {
  auto round = any_round();
  for (int i = 0; i < 6 && db_.applied_rounds.read(backend_, round) != nullptr; ++i) {
    round = any_round();
  }
  return chance_.is_hit(0.85) ? round : any_round();
}

RoundId ShardDraw::prepared_round() {
  std::vector<RoundId> rounds{any_round()};
  for (const auto& [gid, prepared] : model_.server().prepared()) {
    if (const auto round = db_.round_of(gid)) rounds.insert(rounds.end(), 2, *round);
  }
  return chance_.one_of(rounds);
}

std::vector<RoundId> ShardDraw::some_rounds() {
  std::vector<RoundId> rounds;
  while (chance_.is_hit(0.5)) rounds.push_back(any_round());
  return rounds;
}

std::vector<AccountId> ShardDraw::some_accounts() {
  std::vector<AccountId> accounts;
  for (int i = 1; i <= values_.accounts; ++i) {
    if (chance_.is_hit(0.4)) accounts.emplace_back(i);
  }
  return accounts;
}

AccountId ShardDraw::account() {
  return AccountId(chance_.between(1, values_.accounts));
}

TransferId ShardDraw::transfer() {
  const auto last = chance_.is_hit(0.7) ? 60 : 5;
  return {account(), {0, static_cast<std::uint64_t>(chance_.between(1, last))}};
}

std::vector<TransferId> ShardDraw::some_transfers() {
  std::vector<TransferId> ids;
  db_.anchors.scan(&backend_, [&](TransferId id, const auto&) {
    if (chance_.is_hit(0.3)) ids.push_back(id);
    return true;
  });
  if (const auto id = transfer(); std::ranges::count(ids, id) == 0) ids.push_back(id);
  if (chance_.is_hit(0.3)) std::swap(ids.front(), ids.back());
  return ids;
}

agent::AppendBatch ShardDraw::batch() {
  agent::AppendBatch batch;
  batch.round = fresh_round();
  batch.epoch = epoch();
  batch.at = Timestamp(std::chrono::microseconds(1'795'000'000'000'000 + chance_.between(0, 999)));
  for (int i = 1; i <= values_.accounts; ++i) {
    if (chance_.is_hit(0.35)) add_account(batch, AccountId(i));
  }
  return batch;
}

// As the session itself sees it; others may be about to write it.
void ShardDraw::add_account(agent::AppendBatch& batch, AccountId account) {
  simulation::ShardDatabase::EntryKey key;
  const auto* head = db_.entries.last_up_to(&backend_, {account, Version(INT64_MAX)}, &key);
  if (head != nullptr && key.first != account) head = nullptr;
  Version version;
  Money balance;
  if (head != nullptr) {
    version = head->entry.version;
    balance = head->entry.balance;
    agent::CountedHead counted{account, version, balance};
    if (chance_.is_hit(0.04)) counted.version = Version(version.value() + chance_.between(-1, 1));
    if (chance_.is_hit(0.04)) counted.balance = Money(balance.minor_units() + 1);
    if (chance_.is_hit(0.95)) batch.heads.push_back(counted);
  }
  if (chance_.is_hit(head == nullptr ? 0.9 : 0.03)) batch.opened.push_back({account, kCurrency});
  for (auto left = chance_.between(head == nullptr ? 1 : 0, 2); left > 0; --left) {
    version = version.next();
    if (chance_.is_hit(0.03)) version = version.next();  // a gap: a rule of the agent's, not of SQL
    batch.entries.push_back(next_entry(account, version, balance));
  }
}

Entry ShardDraw::next_entry(AccountId account, Version version, Money& balance) {
  Entry entry;
  entry.account = account;
  entry.version = version;
  entry.min_balance = Money(-60);
  entry.max_balance = Money(150);
  entry.balance = balance;
  if (chance_.is_hit(0.5)) entry.asked_by = chance_.one_of<const char*>({"user:åke", "token:7:x"});
  if (chance_.is_hit(0.1)) {
    entry.kind = EntryKind::Limits;
    entry.max_balance = Money(chance_.between(-10, 300));
    return entry;
  }
  entry.transfer = transfer();
  entry.is_anchor = chance_.is_hit(0.6);
  entry.counterparty = this->account();
  if (chance_.is_hit(0.3)) entry.metadata = R"({"for": "it's \"bread\""})";
  const Money amount(chance_.between(-30, 40));
  if (chance_.is_hit(0.1)) {
    entry.kind = EntryKind::Refused;
    entry.refusal = Refusal{RefusalCode::InsufficientFunds, entry.account, entry.min_balance,
                            balance, Money(7)};
    entry.asked = amount;
    return entry;
  }
  entry.amount = amount;
  entry.balance = balance = *balance.plus(amount);
  return entry;
}

agent::ForgetRounds ShardDraw::forget() {
  agent::ForgetRounds forget;
  forget.epoch = epoch();
  forget.floor =
      Incarnation(chance_.is_hit(0.9) ? 1 : chance_.between(1, values_.incarnations + 1));
  forget.last = Incarnation(chance_.between(1, values_.incarnations));
  for (int i = 1; i <= values_.incarnations; ++i) {
    const Incarnation incarnation(i);
    if (chance_.is_hit(0.5)) {
      forget.fences.push_back({incarnation, Sequence(chance_.between(0, values_.sequences / 2))});
    } else if (chance_.is_hit(0.8)) {
      forget.unfinished.push_back(incarnation);
    }
  }
  if (chance_.is_hit(0.5)) return forget;
  forget.last_move = move();
  if (chance_.is_hit(0.5)) forget.open_moves.push_back(move());
  return forget;
}

// ---- moves

MoveId ShardDraw::move() {
  return MoveId(chance_.between(1, 3));
}

// Of the accounts mostly.
MoveId ShardDraw::move_of(const std::vector<AccountId>& accounts) {
  for (const auto account : accounts) {
    const auto* row = db_.moves.read(backend_, account);
    if (row != nullptr && chance_.is_hit(0.9)) return row->move;
  }
  return move();
}

std::vector<AccountId> ShardDraw::some_arriving() {
  if (chance_.is_hit(0.05)) return some_accounts();
  std::vector<AccountId> accounts;
  db_.moves.scan(&backend_, [&](AccountId account, const auto& row) {
    if (chance_.is_hit(row.is_leaving ? 0.1 : 0.8)) accounts.push_back(account);
    return true;
  });
  return accounts;
}

std::vector<AccountId> ShardDraw::some_missing() {
  std::vector<AccountId> accounts;
  for (int i = 1; i <= values_.accounts; ++i) {
    const bool is_owned = db_.accounts.read(backend_, AccountId(i)) != nullptr;
    if (chance_.is_hit(is_owned ? 0.05 : 0.7)) accounts.emplace_back(i);
  }
  return accounts;
}

std::vector<simulation::StoredEntry> ShardDraw::chunk(const std::vector<AccountId>& accounts) {
  std::vector<simulation::StoredEntry> chunk;
  for (const auto account : accounts) {
    const auto* row = db_.moves.read(backend_, account);
    auto version = row == nullptr ? Version() : row->copied;
    if (chance_.is_hit(0.15) && version > Version()) version = Version(version.value() - 1);
    if (chance_.is_hit(0.05)) version = version.next();
    for (auto left = chance_.between(1, 3); left > 0; --left) {
      version = version.next();
      Entry entry;
      entry.account = account;
      entry.version = version;
      entry.amount = Money(1);
      entry.balance = Money(version.value());
      entry.min_balance = Money(-60);
      entry.max_balance = Money(150);
      entry.transfer =
          TransferId(account, {0, static_cast<std::uint64_t>(1'000 + version.value())});
      entry.is_anchor = version.value() % 2 == 0;
      if (version.value() % 3 == 0) entry.asked_by = "staff:tina";
      chunk.push_back({entry, Timestamp(std::chrono::microseconds(1'795'000'000'000'000))});
    }
  }
  if (chance_.is_hit(0.2)) std::ranges::reverse(chunk);
  return chunk;
}

// The entry that both sides of a move append.
void ShardDraw::add_moved(agent::AppendBatch& batch, const Entry& last) {
  batch.heads.push_back({last.account, last.version, last.balance});
  Entry moved;
  moved.account = last.account;
  moved.version = last.version.next();
  moved.kind = EntryKind::Moved;
  moved.balance = last.balance;
  moved.min_balance = last.min_balance;
  moved.max_balance = last.max_balance;
  batch.entries.push_back(moved);
}

void ShardDraw::add_departing(agent::PrepareRound& round) {
  db_.accounts.scan(&backend_, [&](AccountId account, CurrencyId currency) {
    simulation::ShardDatabase::EntryKey key;
    const auto* last = db_.entries.last_up_to(&backend_, {account, Version(INT64_MAX)}, &key);
    if (last == nullptr || key.first != account || chance_.is_hit(0.4)) return true;
    round.departing.push_back({move(), account, currency, key.second});
    add_moved(round.batch, last->entry);
    return true;
  });
}

void ShardDraw::add_arriving(agent::PrepareRound& round) {
  db_.moves.scan(&backend_, [&](AccountId account, const auto& row) {
    const auto* last = db_.entries.read(backend_, {account, row.copied});
    if (last == nullptr || chance_.is_hit(row.is_leaving ? 0.9 : 0.2)) return true;
    const auto version = chance_.is_hit(0.1) ? row.copied.next() : row.copied;
    const auto by = chance_.is_hit(0.9) ? row.move : move();
    round.arriving.push_back({by, account, kCurrency, version});
    add_moved(round.batch, last->entry);
    return true;
  });
}

bool ShardDraw::can_arrive() const {
  bool can_arrive = false;
  db_.moves.scan(&backend_, [&](AccountId, const auto& row) {
    can_arrive = !row.is_leaving && row.copied > Version();
    return !can_arrive;
  });
  return can_arrive;
}

agent::PrepareRound ShardDraw::prepare_round() {
  agent::PrepareRound round{{}, some_accounts(), some_rounds(), {}, {}};
  if (chance_.is_hit(0.6)) add_arriving(round);
  if (round.arriving.empty() && chance_.is_hit(0.4)) add_departing(round);
  if (round.arriving.empty() && round.departing.empty()) {
    round.batch = batch();
    return round;
  }
  auto others = batch();
  round.batch.round = others.round;
  round.batch.epoch = others.epoch;
  round.batch.at = others.at;
  return round;
}

}  // namespace koshel::honesty
