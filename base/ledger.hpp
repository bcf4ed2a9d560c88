#pragma once
// The words of the ledger that every part shares: what an entry is, what a head is, why a business
// rule refuses. Numbers given to enumerators are stored in the database and never change.

#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.hpp"
#include "base/money.hpp"
#include "base/time.hpp"
#include "base/transfer_id.hpp"

namespace koshel {

enum class EntryKind : std::int16_t {
  Opened = 1,
  Transfer = 2,
  Refused = 3,  // a keyed transfer that a rule refused: moves nothing, remembers the answer
  Limits = 4,
  Status = 5,
  Moved = 6,
};
std::string_view to_string(EntryKind kind);

enum class AccountStatus : std::int16_t { Active = 0, Frozen = 1 };
std::string_view to_string(AccountStatus status);

// The newest entry of an account, as far as new entries depend on it.
struct Head {
  CurrencyId currency;
  Version version;
  Money balance;
  Money min_balance;
  Money max_balance;
  AccountStatus status = AccountStatus::Active;
  bool operator==(const Head&) const = default;
};

enum class RefusalCode : std::int16_t {
  InsufficientFunds = 1,     // the balance would fall below min_balance
  BalanceLimitExceeded = 2,  // the balance would rise above max_balance
  AccountFrozen = 3,
  LimitsInvalid = 4,  // min above max, or the balance outside of the limits asked for
};

// Why a rule said no, with the numbers of that moment. For LimitsInvalid `bound` is the limit in
// the way.
struct Refusal {
  RefusalCode code = RefusalCode::InsufficientFunds;
  AccountId account;
  Money bound;
  Money balance;
  Money headroom;  // the most that would have been allowed
  bool operator==(const Refusal&) const = default;
};

// What a client asks: money from one account to the other. One side may be AccountId::any_world.
struct Transfer {
  TransferId id;
  bool is_keyed = false;  // the id comes from an idempotency key and may have been used before
  AccountId from;
  AccountId to;
  Money amount;
  std::string metadata;       // a JSON object as text, or empty
  std::string asked_by = {};  // who asked, as the ledger spells it; empty: nobody is known
  bool operator==(const Transfer&) const = default;
};

// A side of a transfer after it was applied.
struct LegState {
  AccountId account;
  Version version;
  Money balance;
  bool operator==(const LegState&) const = default;
};

// A transfer as its anchor's shard remembers it: the answer to a replayed key.
struct StoredTransfer {
  Transfer transfer;  // a world side appears as the slot that was used
  EntryKind kind = EntryKind::Transfer;
  std::optional<Refusal> refusal;  // for EntryKind::Refused
  LegState anchor;                 // the state of the account the id begins with
  Timestamp at;
  bool operator==(const StoredTransfer&) const = default;
};

// True if `asked` is what was stored, whoever asks now: a world side matches any slot of its
// currency.
bool is_same_request(const Transfer& asked, const StoredTransfer& stored);

// One line of an account's chain.
struct Entry {
  AccountId account;
  Version version;
  EntryKind kind = EntryKind::Transfer;
  AccountId counterparty;  // 0 where there is none
  Money amount;            // signed; 0 where no money moved
  Money balance;
  Money min_balance;
  Money max_balance;
  AccountStatus status = AccountStatus::Active;
  std::optional<TransferId> transfer;
  bool is_anchor = false;  // this entry answers for its transfer id (unique per shard)
  std::string metadata;    // a JSON object as text, or empty
  std::optional<Refusal> refusal;
  Money asked;                // with a refusal: the amount that was asked for
  std::string asked_by = {};  // as of Transfer
  bool operator==(const Entry&) const = default;
};

}  // namespace koshel
