#pragma once
// A round's new entries while they are worked out: the accounts' heads as they will be, entry upon
// entry, and at the end the batch that compare and append takes. Pure; the rules of money are the
// functions beside it, so that a vote and an exact evaluation ask the same questions.

#include <boost/unordered/unordered_flat_map.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ledger.hpp"

namespace koshel::agent {

struct CountedHead {  // what the round relies on being the newest entry
  AccountId account;
  Version version;
  Money balance;
  bool operator==(const CountedHead&) const = default;
};

struct OpenedAccount {
  AccountId account;
  CurrencyId currency;
  bool operator==(const OpenedAccount&) const = default;
};

// An account that comes with its history or goes, as part of a round.
struct MovingAccount {
  MoveId move;
  AccountId account;
  CurrencyId currency;
  Version version;  // its last entry before the round
  bool operator==(const MovingAccount&) const = default;
};

struct AppendBatch {
  RoundId round;
  Epoch epoch;
  Timestamp at;
  std::vector<CountedHead> heads;
  std::vector<OpenedAccount> opened;
  std::vector<Entry> entries;  // by account and version: index pages are touched once
};

struct AccountHead {
  AccountId account;
  Head head;
};

// ---- the rules of money; nullopt: nothing stands in the way

std::optional<Refusal> check_active(AccountId account, const Head& head);
std::optional<Refusal> check_debit(AccountId account, const Head& head, Money amount);
std::optional<Refusal> check_credit(AccountId account, const Head& head, Money amount);
std::optional<Refusal> check_limits(AccountId account, Money balance, Money min, Money max);

// The account that answers for the transfer's id: the payer, or for a deposit the payee.
inline AccountId anchor_of(const Transfer& transfer) {
  return transfer.from.is_world() ? transfer.to : transfer.from;
}

// The head of a @world account before its first entry.
inline Head unopened_world(CurrencyId currency) {
  return {currency, Version(0), Money(), kWorldMin, kWorldMax, AccountStatus::Active};
}

struct NewLimits {
  Money min;
  Money max;
  std::string asked_by;
};

struct NewStatus {
  AccountStatus status = AccountStatus::Active;
  std::string asked_by;
};

class Draft {
 public:
  // Tells the draft an account's committed head; later knowledge replaces earlier, before it is
  // used.
  void know(AccountId account, const Head& head);
  // The head as it stands after what was appended so far; null if the account is not known.
  const Head* head(AccountId account) const;

  // Each appends one entry and returns the account's new state. The rules were checked before.
  LegState debit(AccountId account, const Transfer& transfer);
  LegState credit(AccountId account, const Transfer& transfer);
  void remember_refusal(const Transfer& transfer, const Refusal& refusal);
  void set_limits(AccountId account, const NewLimits& limits);
  void set_status(AccountId account, const NewStatus& status);
  // The last word of the shard that the account leaves, and the first of the one it comes to.
  LegState move(AccountId account);
  // An @world that was opened and then not used stays unopened: it may have moved to another shard.
  void drop_unused_worlds();
  // A new account, with what `opening` pays in (0: nothing) as part of its first entry.
  LegState open(AccountId account, const Head& limits, const Transfer& opening);

  bool is_empty() const { return entries_.empty(); }
  // The batch and the heads as they will be. The draft is spent after that.
  AppendBatch take_batch(RoundId round, Epoch epoch, Timestamp at);
  std::vector<AccountHead> heads_after() const;

 private:
  struct Account {
    Head head;
    std::optional<CountedHead> counted_on;  // nullopt: opened by this draft
    bool has_entries = false;
  };
  LegState append(Entry entry);
  Entry next_entry(AccountId account, EntryKind kind) const;

  boost::unordered_flat_map<AccountId, Account, std::hash<AccountId>> accounts_;
  std::vector<Entry> entries_;
};

}  // namespace koshel::agent
