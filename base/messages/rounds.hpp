#pragma once
// What coordinators and agents say to each other about rounds, as plain structs. `json.hpp` beside
// this turns them to JSON and back; nothing else of the two daemons is shared.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.hpp"
#include "base/ledger.hpp"

namespace koshel::messages {

// Every message says whose agent it is for: at an address that has changed hands, another shard's
// agent would answer for rounds that it knows nothing of. Answered 421 where it is wrong.
inline constexpr const char* kShardHeader = "koshel-shard";
std::string shard_header(const std::string& cluster_id, ShardId shard);

// ---- what a round is made of

enum class Side : std::int8_t { Payer, Payee };

struct LimitChange {
  AccountId account;
  std::optional<Money> min_balance;
  std::optional<Money> max_balance;
  std::optional<AccountStatus> status;
  std::string asked_by = {};  // as of Transfer
  bool operator==(const LimitChange&) const = default;
};

// A keyed cross-shard transfer that was refused: the payer's shard is to remember it.
struct RememberRefusal {
  Transfer transfer;
  Refusal refusal;
  bool operator==(const RememberRefusal&) const = default;
};

// One side of a cross-shard transfer; `side` says which of its accounts this shard owns.
struct Leg {
  Transfer transfer;
  Side side = Side::Payer;
  bool operator==(const Leg&) const = default;
};

// A new account; `balance` is paid in from the shard's own @world under `opening`.
struct OpenAccount {
  AccountId account;
  CurrencyId currency;
  Money min_balance;
  Money max_balance;
  Money balance;
  TransferId opening;
  std::string asked_by = {};  // as of Transfer
  bool operator==(const OpenAccount&) const = default;
};

// Both sides of an account that goes to another shard: its old one is told Depart, and the new one,
// which has its history by then, Arrive.
struct Depart {
  AccountId account;
  MoveId move;
  bool operator==(const Depart&) const = default;
};
struct Arrive {
  AccountId account;
  MoveId move;
  bool operator==(const Arrive&) const = default;
};

// ---- what becomes of each part

struct Applied {  // both sides on this shard; committed
  LegState from;
  LegState to;
  Timestamp at;
  bool operator==(const Applied&) const = default;
};
struct Changed {  // a LimitChange was carried out, or nothing had to be changed
  Head head;
  bool operator==(const Changed&) const = default;
};
struct Yes {  // a vote: this side can be prepared
  bool operator==(const Yes&) const = default;
};
struct Leaving {  // a vote upon Depart: yes; the account's last entry that will be copied
  Head head;
  bool operator==(const Leaving&) const = default;
};
struct Retry {  // a vote: only the round's other legs stand in the way
  bool operator==(const Retry&) const = default;
};
struct Refused {
  Refusal refusal;
  bool operator==(const Refused&) const = default;
};
struct Replayed {  // the key was used before for the same request: the answer of that time
  StoredTransfer stored;
  bool operator==(const Replayed&) const = default;
};
struct KeyReused {  // the key was used before for another request
  bool operator==(const KeyReused&) const = default;
};
struct KeyInProgress {  // the key's round is under way or in doubt
  bool operator==(const KeyInProgress&) const = default;
};
struct Busy {  // an account is held by another round; `is_in_doubt` if that one waits for a
               // decision
  AccountId account;
  bool is_in_doubt = false;
  bool operator==(const Busy&) const = default;
};
struct Moved {  // this shard does not own the account
  AccountId account;
  bool operator==(const Moved&) const = default;
};

// ---- a round on one shard, in one step

struct LocalOrder {
  std::variant<Transfer, LimitChange, RememberRefusal> what;
  std::int32_t times_busy = 0;  // how often it was turned away: the patient are served first
  bool operator==(const LocalOrder&) const = default;
};
struct LocalRound {
  RoundId round;
  std::vector<LocalOrder> orders;
};
using LocalAnswer =
    std::variant<Applied, Changed, Refused, Replayed, KeyReused, KeyInProgress, Busy, Moved>;
struct LocalRoundDone {
  std::vector<LocalAnswer> answers;  // one per order, in order
};
// Why a round as a whole did nothing. Nothing was written, nothing is held.
enum class RoundFault : std::int8_t {
  Stale,        // heads changed behind the agent again and again
  Rejected,     // the database refused the content; a smaller round finds the culprit
  Voided,       // somebody asked about the round before it arrived
  Expired,      // the reservation had gone when the prepare came
  OldEpoch,     // the vote was given by an earlier start of the agent
  Overloaded,   // the agent's own bound on rounds is reached
  Starting,     // the agent takes over its shard and serves no rounds yet
  Unavailable,  // the shard's database cannot be reached
};
struct RoundFailed {
  RoundFault fault = RoundFault::Rejected;
  std::string detail;
};
// The agent itself does not know what became of the round (the database's reply was lost).
struct RoundUnknown {};
using LocalReply = std::variant<LocalRoundDone, RoundFailed, RoundUnknown>;

// Asking writes: whatever the answer, from then on it stands.
struct AskRound {
  RoundId round;
};
enum class AskRoundOutcome : std::int8_t {
  Applied,
  NotApplied,  // and it never will be
  Over,        // so long ago that nobody knows; it cannot be applied any more
};
struct AskRoundDone {
  AskRoundOutcome outcome = AskRoundOutcome::NotApplied;
};

// ---- a round across shards

struct ReserveOrder {
  std::variant<Leg, OpenAccount, Depart, Arrive> what;
  std::int32_t times_busy = 0;
  bool operator==(const ReserveOrder&) const = default;
};
struct Reserve {
  RoundId round;
  std::vector<ReserveOrder> orders;
};
using Vote =
    std::variant<Yes, Leaving, Retry, Refused, Replayed, KeyReused, KeyInProgress, Busy, Moved>;
struct Reserved {
  Epoch epoch;
  std::vector<Vote> votes;  // one per order, in order
};
using ReserveReply = std::variant<Reserved, RoundFailed>;

struct Prepare {
  RoundId round;
  Epoch epoch;                          // of the votes
  std::vector<std::int32_t> survivors;  // places in the reserved orders, ascending
  std::vector<Head> arriving = {};      // of accounts that arrive, one per survivor; else none
};
struct Prepared {
  std::vector<LegState> legs;  // one per survivor: its state once the round commits
  Timestamp at;
};
using PrepareReply = std::variant<Prepared, RoundFailed, RoundUnknown>;

struct Settle {
  RoundId round;
  bool is_commit = false;
};
enum class SettleOutcome : std::int8_t {
  Settled,
  Lost,   // to be committed, but neither prepared nor applied: this participant lost its half
  Later,  // could not be done now; the agent's own recovery will
};
struct SettleDone {
  SettleOutcome outcome = SettleOutcome::Settled;
};

struct Release {  // a reservation that will not be prepared
  RoundId round;
};

// ---- reading

struct ReadHeads {
  std::vector<AccountId> accounts;
};
struct HeadsRead {
  std::vector<std::optional<Head>> heads;  // nullopt: not owned by this shard
};
struct FindTransfer {
  AccountId account;
  std::vector<TransferId> ids;  // any of these
};
struct FindTransferDone {
  std::optional<StoredTransfer> stored;
  bool is_in_progress =
      false;             // not stored, but a round that may bring it is under way or in doubt
  bool is_owned = true;  // false: the account is elsewhere
};
struct ReadEntries {
  AccountId account;
  Version from;  // first version wanted, counting in the direction of reading; 0: from the end
  bool is_newest_first = false;
  std::int32_t limit = 100;
};
struct TimedEntry {
  Entry entry;
  Timestamp at;
};
struct EntriesRead {
  bool is_owned = true;
  std::vector<TimedEntry> entries;
};

// ---- the agent itself

struct PreparedRound {
  std::string gid;
  double age_seconds = 0;  // by the database server's clock
};
struct AgentStatus {
  std::string cluster;
  std::string shard_name;
  ShardId shard;
  Epoch epoch;
  bool is_serving = false;
  std::string version;
  std::vector<PreparedRound> prepared;          // of this cluster and shard
  std::int32_t prepared_free = 0;               // rounds that could be prepared now besides
  std::int64_t ledger_bytes = 0;                // all entries, with their indexes
  std::optional<std::int64_t> disk_free_bytes;  // nullopt: the agent cannot see the server's disk
  std::vector<AccountId> worlds;                // the @world accounts that are owned here
};

}  // namespace koshel::messages
