#pragma once
// What is said to the decision log and by it, as plain values: the log itself (directory/io) and
// those who judge by it (coordinator/logic) share them.

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/ids.hpp"

namespace koshel::directory {

enum class Decision : std::int8_t {
  Commit,
  Abort,
  Fenced,  // no decision stands and none can come: abort for whoever holds a prepared branch
};
std::string_view to_string(Decision decision);

enum class CreateUsersOutcome : std::int8_t {
  Created,      // the users are there and the round is committed
  NameTaken,    // nothing was written, the round is not decided
  Decided,      // nothing was written: the round was decided (aborted) or fenced off by others
  ShardClosed,  // nothing was written: a shard is draining and takes no new users
};

// A coordinator's sign of life, as the others see it.
struct Beat {
  Incarnation incarnation;
  std::int64_t beats = 0;
  bool is_closed = false;
};

// What a coordinator learns when it gives its own.
struct LogState {
  bool is_closed = false;    // its incarnation, by another coordinator
  std::vector<Beat> others;  // every other incarnation with something left to forget
};

// How far an incarnation's rounds are over. Of one that is not listed, though it was handed out,
// all are.
struct IncarnationFence {
  Incarnation incarnation;
  Sequence fence;          // every round up to here is finished, while it is not closed
  bool is_closed = false;  // then none can be decided, but commits may be unconfirmed
};

struct Fences {
  Incarnation last;  // that was handed out
  std::vector<IncarnationFence> incarnations;
  MoveId last_move = {};                // that was handed out; every move up to it is over,
  std::vector<MoveId> open_moves = {};  // but for these
};

// A commit that is not forgotten yet.
struct CommittedRound {
  Sequence sequence;
  std::vector<ShardId> participants;
};

}  // namespace koshel::directory
