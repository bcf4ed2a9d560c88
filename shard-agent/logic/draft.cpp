#include "shard-agent/logic/draft.hpp"

#include <algorithm>

#include "base/invariant.hpp"

namespace koshel::agent {
namespace {

// What may still be taken or added; saturates, since @world's distances exceed what a client can
// ask.
Money distance(Money high, Money low) {
  return high.minus(low).value_or(Money(INT64_MAX));
}

}  // namespace

std::optional<Refusal> check_active(AccountId account, const Head& head) {
  if (head.status == AccountStatus::Active) return std::nullopt;
  return Refusal{RefusalCode::AccountFrozen, account, Money(), head.balance, Money()};
}

std::optional<Refusal> check_debit(AccountId account, const Head& head, Money amount) {
  const auto after = head.balance.minus(amount);
  if (after && *after >= head.min_balance) return std::nullopt;
  return Refusal{RefusalCode::InsufficientFunds, account, head.min_balance, head.balance,
                 distance(head.balance, head.min_balance)};
}

std::optional<Refusal> check_credit(AccountId account, const Head& head, Money amount) {
  const auto after = head.balance.plus(amount);
  if (after && *after <= head.max_balance) return std::nullopt;
  return Refusal{RefusalCode::BalanceLimitExceeded, account, head.max_balance, head.balance,
                 distance(head.max_balance, head.balance)};
}

std::optional<Refusal> check_limits(AccountId account, Money balance, Money min, Money max) {
  const auto invalid = [&](Money bound) {
    return Refusal{RefusalCode::LimitsInvalid, account, bound, balance, Money()};
  };
  if (min > max || balance < min) return invalid(min);
  if (balance > max) return invalid(max);
  return std::nullopt;
}

void Draft::know(AccountId account, const Head& head) {
  auto& known = accounts_[account];
  INVARIANT(!known.has_entries);
  known = Account{head, CountedHead{account, head.version, head.balance}, false};
}

const Head* Draft::head(AccountId account) const {
  const auto found = accounts_.find(account);
  return found == accounts_.end() ? nullptr : &found->second.head;
}

LegState Draft::debit(AccountId account, const Transfer& transfer) {
  auto entry = next_entry(account, EntryKind::Transfer);
  entry.counterparty = transfer.to;
  entry.amount = transfer.amount.negated();
  entry.transfer = transfer.id;
  entry.is_anchor = account == anchor_of(transfer);
  entry.metadata = transfer.metadata;
  entry.asked_by = transfer.asked_by;
  return append(std::move(entry));
}

LegState Draft::credit(AccountId account, const Transfer& transfer) {
  auto entry = next_entry(account, EntryKind::Transfer);
  entry.counterparty = transfer.from;
  entry.amount = transfer.amount;
  entry.transfer = transfer.id;
  entry.is_anchor = account == anchor_of(transfer);
  entry.metadata = transfer.metadata;
  entry.asked_by = transfer.asked_by;
  return append(std::move(entry));
}

void Draft::remember_refusal(const Transfer& transfer, const Refusal& refusal) {
  const auto anchor = anchor_of(transfer);
  auto entry = next_entry(anchor, EntryKind::Refused);
  entry.counterparty = anchor == transfer.from ? transfer.to : transfer.from;
  entry.transfer = transfer.id;
  entry.is_anchor = true;
  entry.metadata = transfer.metadata;
  entry.asked_by = transfer.asked_by;
  entry.refusal = refusal;
  entry.asked = anchor == transfer.from ? transfer.amount.negated() : transfer.amount;
  append(std::move(entry));
}

void Draft::set_limits(AccountId account, const NewLimits& limits) {
  auto entry = next_entry(account, EntryKind::Limits);
  entry.asked_by = limits.asked_by;
  entry.min_balance = limits.min;
  entry.max_balance = limits.max;
  append(std::move(entry));
}

void Draft::set_status(AccountId account, const NewStatus& status) {
  auto entry = next_entry(account, EntryKind::Status);
  entry.asked_by = status.asked_by;
  entry.status = status.status;
  append(std::move(entry));
}

LegState Draft::move(AccountId account) {
  return append(next_entry(account, EntryKind::Moved));
}

LegState Draft::open(AccountId account, const Head& limits, const Transfer& opening) {
  Head before = limits;
  before.version = Version(0);
  before.balance = Money();
  const auto [place, is_new] = accounts_.try_emplace(account, Account{before, std::nullopt, false});
  INVARIANT(is_new);
  auto entry = next_entry(account, EntryKind::Opened);
  entry.asked_by = opening.asked_by;
  if (opening.amount.is_positive()) {
    entry.counterparty = opening.from;
    entry.amount = opening.amount;
    entry.transfer = opening.id;
    entry.is_anchor = true;
  }
  return append(std::move(entry));
}

void Draft::drop_unused_worlds() {
  for (auto& [id, account] : accounts_) {
    const bool is_unused =
        id.is_world() && !account.counted_on && account.head.version == Version(1);
    if (!is_unused) continue;
    account.has_entries = false;
    std::erase_if(entries_, [id = id](const Entry& entry) { return entry.account == id; });
  }
}

Entry Draft::next_entry(AccountId account, EntryKind kind) const {
  const auto* head = this->head(account);
  INVARIANT(head != nullptr);
  Entry entry;
  entry.account = account;
  entry.version = Version(head->version.value() + 1);
  entry.kind = kind;
  entry.min_balance = head->min_balance;
  entry.max_balance = head->max_balance;
  entry.status = head->status;
  return entry;
}

LegState Draft::append(Entry entry) {
  auto& account = accounts_.find(entry.account)->second;
  const auto balance = account.head.balance.plus(entry.amount);
  INVARIANT(balance.has_value());
  entry.balance = *balance;
  INVARIANT(entry.balance >= entry.min_balance && entry.balance <= entry.max_balance);
  account.has_entries = true;
  account.head.version = entry.version;
  account.head.balance = entry.balance;
  account.head.min_balance = entry.min_balance;
  account.head.max_balance = entry.max_balance;
  account.head.status = entry.status;
  const LegState state{entry.account, entry.version, entry.balance};
  entries_.push_back(std::move(entry));
  return state;
}

AppendBatch Draft::take_batch(RoundId round, Epoch epoch, Timestamp at) {
  AppendBatch batch{round, epoch, at, {}, {}, std::move(entries_)};
  for (const auto& [id, account] : accounts_) {
    if (!account.has_entries) continue;
    if (account.counted_on) {
      batch.heads.push_back(*account.counted_on);
    } else {
      batch.opened.push_back({id, account.head.currency});
    }
  }
  std::ranges::sort(batch.heads, {}, &CountedHead::account);
  std::ranges::sort(batch.opened, {}, &OpenedAccount::account);
  std::ranges::sort(batch.entries, [](const Entry& a, const Entry& b) {
    return std::pair(a.account, a.version) < std::pair(b.account, b.version);
  });
  return batch;
}

std::vector<AccountHead> Draft::heads_after() const {
  std::vector<AccountHead> heads;
  for (const auto& [id, account] : accounts_) {
    if (account.has_entries) heads.push_back({id, account.head});
  }
  return heads;
}

}  // namespace koshel::agent
