#pragma once
// What a coordinator is asked to do (orders) and what can become of it (outcomes), as plain
// structs. An order names accounts and shards; names of users were resolved before.

#include <boost/container/static_vector.hpp>
#include <cstdint>
#include <string>
#include <variant>

#include "base/messages/rounds.hpp"

namespace koshel::coordinator {

using OrderId = std::uint64_t;

struct TransferOrder {
  Transfer transfer;
  ShardId from_shard;  // of @world: the other side's
  ShardId to_shard;
};
struct LimitOrder {
  messages::LimitChange change;
  ShardId shard;
};
// What a keyed cross-shard transfer becomes when a rule refused it: its answer is to be remembered.
struct RefusalOrder {
  messages::RememberRefusal remember;
  ShardId shard;  // the payer's
};
struct OpenOrder {
  messages::OpenAccount open;
  std::string name;
  ShardId shard;
};
// An account that is to be owned by another shard, which has its history up to `copied`.
struct MoveOrder {
  MoveId move;
  AccountId account;
  ShardId source;
  ShardId target;
  Version copied;
};
using Order = std::variant<TransferOrder, LimitOrder, RefusalOrder, OpenOrder, MoveOrder>;

// ---- outcomes

struct Committed {
  LegState from;
  LegState to;
  Timestamp at;
};
struct Settling {  // decided to commit; some shard has not said yet that it did
  LegState from;
  LegState to;
  Timestamp at;
};
struct Changed {
  Head head;
};
struct Opened {
  LegState state;
};
struct CutOver {  // the account is the target's
  LegState state;
};
struct Refused {
  Refusal refusal;
};
struct Replayed {
  StoredTransfer stored;
  bool is_own = false;  // it is what this order did itself, in a round whose answer was lost
};
struct KeyReused {};
struct KeyInProgress {};
struct NameTaken {};
enum class FailCode : std::int8_t {
  // nothing was committed by this attempt
  ShardUnavailable,
  DirectoryUnavailable,
  Overloaded,
  Contention,
  // it may have been
  OutcomeUnknown,
  // nothing was committed, and no other try would go better
  Internal,
};
struct Failed {
  FailCode code = FailCode::Internal;
};
using Outcome = std::variant<Committed, Settling, Changed, Opened, CutOver, Refused, Replayed,
                             KeyReused, KeyInProgress, NameTaken, Failed>;

// ---- lanes: where orders wait for a round

// In the order of their turn: an account that is always in use must not keep from moving.
enum class LaneKind : std::int8_t { Moving, Local, Cross, Opening };
struct LaneId {
  LaneKind kind = LaneKind::Local;
  ShardId first;
  // Of a Moving lane, the target; of a Cross lane that is not the common one, above `first`; else 0.
  ShardId second;
  auto operator<=>(const LaneId&) const = default;
};
// Transfers between shards share one lane, with no shards in its name.
inline constexpr LaneId kCrossLane{LaneKind::Cross, ShardId(), ShardId()};
LaneId lane_of(const Order& order);
// The lane of the two shards alone, `second` above `first`: of a transfer between them while one of
// them is suspect. Of other orders as lane_of().
LaneId own_lane_of(const Order& order);

// The shards that take part, other than by @world: the payer's first, of a move the source.
using Shards = boost::container::static_vector<ShardId, 2>;
Shards shards_of(const Order& order);

}  // namespace koshel::coordinator
