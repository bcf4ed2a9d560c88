#pragma once
// What goes into the coordinator's machine and what comes out, as plain structs. Replies are
// Results: Unavailable means that the call was never made, InDoubt that its reply was lost.

#include <map>
#include <optional>
#include <vector>

#include "base/messages/moves.hpp"
#include "base/result.hpp"
#include "coordinator/logic/orders.hpp"
#include "directory/logic/decisions.hpp"
#include "directory/logic/rebalance.hpp"

namespace koshel::coordinator {

using directory::CreateUsersOutcome;
using directory::Decision;
using directory::MoveUsersOutcome;
using directory::OpenMove;

// ---- events

struct Submit {
  struct Item {
    OrderId id = 0;
    Order order;
    Instant deadline;
  };
  std::vector<Item> orders;  // of one request: they are dispatched together
};
struct LocalReplied {
  Sequence round;
  Result<messages::LocalReply> reply;
};
struct ReserveReplied {
  Sequence round;
  ShardId shard;
  Result<messages::ReserveReply> reply;
};
struct PrepareReplied {
  Sequence round;
  ShardId shard;
  Result<messages::PrepareReply> reply;
};
struct SettleReplied {
  Sequence round;
  ShardId shard;
  Result<messages::SettleDone> reply;
};
struct AskReplied {
  Sequence round;
  Result<messages::AskRoundDone> reply;
};
struct FindReplied {
  OrderId order = 0;
  Sequence round;
  Result<messages::FindTransferDone> reply;
};
struct Decided {
  Sequence round;
  Result<Decision> decision;  // Unavailable: nothing was asked; InDoubt: ask again
};
struct UsersCreated {
  Sequence round;
  Result<CreateUsersOutcome> outcome;
};
struct RoutesRead {
  std::vector<AccountId> asked;
  Result<std::map<AccountId, ShardId>> routes;
};
struct NamesRead {
  Sequence round;
  Result<std::vector<std::string>> existing;  // which of the round's names are taken
};
struct DirectoryHealth {
  bool is_up = true;
};
struct LogKept {  // of effect KeepLog
  Result<directory::LogState> kept;
};
struct IncarnationClosed {  // of effect CloseIncarnation
  Incarnation incarnation;
  Result<std::vector<directory::CommittedRound>> commits;  // the oldest that are not forgotten
};
struct ConfirmReplied {
  RoundId round;
  ShardId shard;
  Result<messages::SettleDone> reply;
};
struct HandedOver {  // of effect HandOver
  Sequence round;
  Result<void> done;
};
struct UsersMoved {  // of effect MoveUsers
  Sequence round;
  Result<MoveUsersOutcome> outcome;
};

// ---- events of the rebalancer, each of the effect that has the name's verb

struct RebalanceBeaten {
  Result<directory::RebalanceHold> hold;
};
struct MovesRead {
  Result<std::vector<OpenMove>> moves;
};
struct MoveTaken {                       // of TakeMove and TakeLeftovers
  Result<std::optional<OpenMove>> move;  // nullopt: there is none
};
struct ArrivalBegun {
  MoveId move;
  Result<messages::ArrivalBegun> reply;
};
struct ChunkCopied {
  struct Progress {
    bool is_fitting = false;  // false: the target does not expect the accounts with this move
    bool is_complete = false;
    std::int64_t entries = 0;
    std::vector<messages::CopiedTo> copied;  // of accounts that had any
  };
  MoveId move;
  Result<Progress> done;
};
struct ArrivedChecked {
  MoveId move;
  Result<bool> is_owner;  // of all of the accounts
};
struct MoveCleaned {
  MoveId move;
  Result<messages::MoveCleaned> reply;
};
struct MoveEnded {
  MoveId move;
  Result<void> done;
};
struct RebalanceEnded {
  Result<bool> is_over;
};
struct Tick {};

using Event =
    std::variant<Submit, LocalReplied, ReserveReplied, PrepareReplied, SettleReplied, AskReplied,
                 FindReplied, Decided, UsersCreated, RoutesRead, NamesRead, DirectoryHealth,
                 LogKept, IncarnationClosed, ConfirmReplied, HandedOver, UsersMoved,
                 RebalanceBeaten, MovesRead, MoveTaken, ArrivalBegun, ChunkCopied, ArrivedChecked,
                 MoveCleaned, MoveEnded, RebalanceEnded, Tick>;

// ---- effects

template <class Message>
struct Send {
  ShardId shard;
  Sequence round;
  Message message;
};
struct FindOrder {
  OrderId order = 0;
  Sequence round;
  ShardId shard;
  messages::FindTransfer find;
};
struct Decide {
  Sequence round;
  Decision wish = Decision::Commit;  // Commit or Abort
  std::vector<ShardId> participants;
};
struct CreateUsers {
  Sequence round;
  std::vector<ShardId> participants;
  struct User {
    std::string name;
    AccountId account;
    CurrencyId currency;
    ShardId shard;
  };
  std::vector<User> users;
};
struct ReadRoutes {
  std::vector<AccountId> accounts;
};
struct ReadNames {
  Sequence round;
  std::vector<std::string> names;
};
struct Finish {
  OrderId order = 0;
  Outcome outcome;
};
struct Alarm {
  std::string text;
};
struct KeepLog {
  Sequence fence;  // every round of this incarnation up to here is finished
};
struct CloseIncarnation {
  Incarnation incarnation;
};
struct Confirm {  // asks a participant whether it has carried a commit out; it does so if not
  RoundId round;
  ShardId shard;
};
struct Forget {  // commits of a closed incarnation that every participant has confirmed
  Incarnation incarnation;
  std::vector<Sequence> rounds;
};
struct HandOver {  // copies what held accounts have got since `copied`
  struct Part {
    MoveId move;
    messages::CopiedTo copied;
  };
  Sequence round;
  ShardId source;
  ShardId target;
  std::vector<Part> parts;
};
struct MoveUsers {
  struct Part {
    MoveId move;
    AccountId account;
  };
  Sequence round;
  std::vector<ShardId> participants;
  ShardId source;
  ShardId target;
  std::vector<Part> parts;
};

// ---- effects of the rebalancer

struct BeatRebalance {
  std::int64_t seen_beat = -1;  // that stood still for long; -1: none
  std::int64_t entries = 0;     // copied since the last beat
  std::string error;            // what stands in the way, or empty
};
struct ReadMoves {};
struct TakeMove {
  int users_max = 0;
};
struct TakeLeftovers {};  // what is left on draining shards without users
struct BeginArrival {
  ShardId target;
  messages::BeginArrival begin;
};
struct CopyChunk {
  MoveId move;
  ShardId source;
  ShardId target;
  messages::ReadChunk read;
};
struct CheckArrived {  // whether the target owns these
  MoveId move;
  ShardId target;
  std::vector<AccountId> accounts;
};
struct CleanMove {
  ShardId shard;
  messages::CleanMove clean;
};
struct EndMove {
  MoveId move;
  std::vector<AccountId> accounts;
  bool is_cut_over = false;
};
struct EndRebalance {
  std::string error;  // empty: all is done
};
struct Stop {  // this incarnation is over; a new start takes the next
  std::string reason;
};

using Effect =
    std::variant<Send<messages::LocalRound>, Send<messages::Reserve>, Send<messages::Prepare>,
                 Send<messages::Settle>, Send<messages::Release>, Send<messages::AskRound>,
                 FindOrder, Decide, CreateUsers, ReadRoutes, ReadNames, Finish, Alarm, KeepLog,
                 CloseIncarnation, Confirm, Forget, HandOver, MoveUsers, BeatRebalance, ReadMoves,
                 TakeMove, TakeLeftovers, BeginArrival, CopyChunk, CheckArrived, CleanMove, EndMove,
                 EndRebalance, Stop>;
using Effects = std::vector<Effect>;

}  // namespace koshel::coordinator
