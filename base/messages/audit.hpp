#pragma once
// What a coordinator asks an agent for an audit: to open a snapshot of its shard, to say what it
// finds in it, and to close it. See docs/adr/0020-the-audit-takes-a-consistent-cut.md.

#include <cstdint>
#include <string>
#include <vector>

#include "base/messages/rounds.hpp"

namespace koshel::messages {

inline constexpr int kAuditBuckets = 1024;  // by hash; only where sums differ is anything listed

struct OpenAudit {
  std::int64_t audit = 0;  // a number that the asker made up; again: a newer snapshot
};
struct AuditOpened {
  std::vector<PreparedRound> prepared;  // just before the snapshot was taken
  double in_doubt_seconds = 0;          // the age from which the agent asks the log by itself
};

struct RunAudit {
  std::int64_t audit = 0;
  std::int64_t seed = 0;           // of every hash
  std::vector<RoundId> committed;  // rounds of this shard that the log says are to be applied
};
enum class AuditedRule : std::int8_t {
  Chains,   // versions 1, 2, 3 without a gap, whose amounts add up to the balances
  Limits,   // each balance is within them
  Heads,    // each account that is owned has a history
  Copies,   // a history without an owner is one of `moves`
  Keys,     // one entry answers for a transfer's id, and it is that of the account in the id
  Decided,  // what was decided is applied
};
// Accounts are texts where damage may have made them any number.
struct AuditFinding {
  AuditedRule rule = AuditedRule::Chains;
  std::string account;  // or empty
  std::string what;
  bool operator==(const AuditFinding&) const = default;
};
struct AuditedBalance {
  std::string currency;  // its number
  std::string sum;       // minor units; a sum of damage may have more than 64 bits
  bool operator==(const AuditedBalance&) const = default;
};
// Of the accounts that are owned. Sums are taken modulo 2^63.
struct AuditBucket {
  std::int64_t users = 0;
  std::int64_t users_hash = 0;      // sum of hash(user)
  std::int64_t transfers_hash = 0;  // sum of amount * hash(transfer, asker) over the entries
  bool operator==(const AuditBucket&) const = default;
};
struct AuditDone {
  std::int64_t accounts = 0;
  std::int64_t entries = 0;
  std::vector<AuditedBalance> balances;
  std::vector<AccountId> worlds;     // those that are owned here
  std::vector<AuditBucket> buckets;  // kAuditBuckets of them
  std::vector<AuditFinding> findings;
};

struct ListAudit {  // what is in these buckets
  std::int64_t audit = 0;
  std::int64_t seed = 0;
  std::vector<std::int32_t> user_buckets;
  std::vector<std::int32_t> transfer_buckets;
};
struct AuditedTransfer {
  std::string id;
  std::string amount;         // of its entries here by this asker, never 0
  std::string asked_by = {};  // as of Transfer
  bool operator==(const AuditedTransfer&) const = default;
};
struct AuditListed {
  std::vector<std::string> users;
  std::vector<AuditedTransfer> transfers;
};

struct CloseAudit {
  std::int64_t audit = 0;
};
struct AuditClosed {
  bool was_open = false;
};

}  // namespace koshel::messages
