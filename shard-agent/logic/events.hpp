#pragma once
// What goes into the agent's machine and what comes out of it, as plain structs. An event is a
// message of a coordinator or the result of an effect; an effect is something the I/O is to do.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/messages/rounds.hpp"
#include "shard-agent/logic/draft.hpp"

namespace koshel::agent {

struct Now {
  Instant steady;
  Timestamp calendar;
};

using RequestId = std::uint64_t;  // whom to answer

// What became of a statement that writes.
enum class DbOutcome : std::int8_t {
  Done,
  Stale,         // KO001, or 23505 on the chain: the heads are not what was believed
  WasHere,       // KO003: the round was applied or voided before
  OldEpoch,      // KO002: a newer agent serves this shard
  Rejected,      // the database refuses the content; nothing happened
  Unavailable,   // nothing happened; another try may go through (time-outs, no slots, no memory)
  Disconnected,  // nothing happened; there is no connection
  Lost,          // sent, and the reply lost
};

// ---- events

template <class Message>
struct Asked {
  RequestId request = 0;
  Message message;
};

struct StateRead {  // of effect ReadState
  RoundId round;
  int attempt = 0;
  DbOutcome outcome = DbOutcome::Done;  // Done, Unavailable, Disconnected, OldEpoch, Rejected
  std::vector<AccountHead> heads;       // of those accounts that are owned here
  std::vector<StoredTransfer> stored;   // of those keys that were used before
};
struct AppendDone {
  RoundId round;
  DbOutcome outcome = DbOutcome::Done;
  std::string detail;
};
struct PrepareDone {
  RoundId round;
  DbOutcome outcome = DbOutcome::Done;
  std::string detail;
};
struct SettlePreparedDone {
  RoundId round;
  messages::SettleOutcome outcome = messages::SettleOutcome::Settled;
  bool is_disconnected = false;
};
struct LocalAsked {  // of effect AskLocal
  RoundId round;
  std::optional<messages::AskRoundOutcome> outcome;  // nullopt: could not be asked
};
struct DecisionRead {  // of effect AskDecision
  RoundId round;
  std::optional<bool> is_commit;  // nullopt: the log could not be asked
};
struct PreparedScanned {
  std::int64_t scan = 0;
  struct Found {
    RoundId round;
    double age_seconds = 0;
  };
  std::optional<std::vector<Found>> prepared;  // own gids only; nullopt: could not be read
  bool is_disconnected = false;
};
struct InDoubtRound {
  RoundId round;
  std::vector<AccountId> accounts;
  std::vector<AccountId> leaving = {};  // those that it hands over to another shard
};
struct TakenOver {             // of effect TakeOver
  std::optional<Epoch> epoch;  // nullopt: not yet possible, try again
  std::vector<InDoubtRound> in_doubt;
  bool is_outrun = false;  // another agent has taken over since
};
struct FencesRead {  // of effect ReadFences
  struct Known {
    Incarnation incarnation;
    Sequence fence;  // its rounds up to here are finished; of a closed one it says nothing
    bool is_closed = false;
  };
  struct Fences {
    Incarnation last;                     // that was handed out
    std::vector<Known> incarnations;      // with something left to forget; any other is gone
    MoveId last_move = {};                // that was handed out; every one up to it is over,
    std::vector<MoveId> open_moves = {};  // but for these
  };
  std::optional<Fences> fences;  // nullopt: the directory could not be asked
};
struct RoundsForgotten {  // of effect ForgetRounds
  Epoch epoch;            // under which it ran
  DbOutcome outcome = DbOutcome::Done;
  bool is_complete = false;  // false: more rows are behind the fences
};
struct HoldsForgotten {  // of effect ForgetHolds
  Epoch epoch;           // under which it ran
  DbOutcome outcome = DbOutcome::Done;
  std::vector<RoundId> rounds;
};
struct SessionLost {  // noticed by a read
  Epoch epoch;        // under which it ran
};
struct Tick {};

using Event =
    std::variant<Asked<messages::LocalRound>, Asked<messages::Reserve>, Asked<messages::Prepare>,
                 Asked<messages::Settle>, Asked<messages::Release>, StateRead, AppendDone,
                 PrepareDone, SettlePreparedDone, LocalAsked, DecisionRead, PreparedScanned,
                 TakenOver, FencesRead, RoundsForgotten, HoldsForgotten, SessionLost, Tick>;

// ---- effects

struct ReadState {
  RoundId round;
  int attempt = 0;
  Epoch epoch;
  std::vector<AccountId> accounts;
  std::vector<TransferId> keys;
};
struct Append {
  AppendBatch batch;
};
struct PrepareRound {
  AppendBatch batch;
  std::vector<AccountId> held;     // for the holds row
  std::vector<RoundId> forgotten;  // settled rounds whose holds rows may go
  std::vector<MovingAccount> departing = {};
  std::vector<MovingAccount> arriving = {};
};
struct SettlePrepared {
  RoundId round;
  bool is_commit = false;
};
struct AskLocal {
  RoundId round;
};
struct AskDecision {
  RoundId round;
};
struct ScanPrepared {
  std::int64_t scan = 0;
};
struct ForgetHolds {  // as in PrepareRound, when no prepare comes along to carry it
  std::vector<RoundId> rounds;
};
struct ReadFences {};  // of the directory
struct ForgetRounds {  // what proves of rounds that are over whether they were applied
  Epoch epoch;
  Incarnation floor;                    // all rounds of older incarnations are over,
  Incarnation last;                     // and all up to this one
  std::vector<Incarnation> unfinished;  // but for these, of which nothing is,
  std::vector<RoundId> fences;          // and these, of which all up to there are
  // What came with moves that are over and is still not owned comes from messages that came too
  // late.
  MoveId last_move = {};
  std::vector<MoveId> open_moves = {};
};
struct TakeOver {
  Epoch known;  // a database that is behind it has lost its last writes and must not be served
};
struct Answer {
  RequestId request = 0;
  std::variant<messages::LocalReply, messages::ReserveReply, messages::PrepareReply,
               messages::SettleDone>
      message;
};
struct Alarm {  // for people; the machine goes on
  std::string text;
};
struct Stop {  // another agent serves this shard now
  std::string reason;
};

using Effect = std::variant<ReadState, Append, PrepareRound, SettlePrepared, AskLocal, AskDecision,
                            ScanPrepared, ForgetHolds, ReadFences, ForgetRounds, TakeOver, Answer,
                            Alarm, Stop>;
using Effects = std::vector<Effect>;

}  // namespace koshel::agent
