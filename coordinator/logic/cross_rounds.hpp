#pragma once
// A coordinator's rounds of several parts: transfers between shards, any number of them in one round;
// new users (one shard and the directory); and accounts that move (two shards and the directory).
// Two-phase commit; the decision log's row is the decision.
//
//   state      event                               next
//   Reserving  the last ReserveReplied;            Preparing the survivors, or done without any;
//              shard_patience over                 of moves that are not copied up to their heads,
//                                                  HandingOver
//   HandingOver HandedOver                         Preparing
//   Preparing  the last PrepareReplied, all good   Deciding
//   Preparing  the last PrepareReplied, not all    Aborting: nobody was asked to decide, none can
//              good; shard_patience over
//   Deciding   Commit                              Settling
//   Deciding   Abort; Unavailable; NameTaken       Aborting
//   Deciding   InDoubt                             Deciding: asked again, with abort
//   Deciding   Fenced                              Asking a participant's applied_rounds
//   Asking     applied / not applied               Settling / Aborting
//   Asking     over: nobody knows any more         done: OutcomeUnknown
//   Settling   all settled, or settle_wait over    done; the log keeps it until all have confirmed;
//              both shards of an order settled     it is answered
//   Aborting   settle(abort) sent                  done: every order goes back
//
// A participant is told of its own orders, in the order in which the round has them. What its fault
// or silence means is for these orders alone; the others go on, or are tried again at once. It is
// suspect from then on, so the next rounds do without it, until it has settled a later one.

#include <unordered_map>

#include "coordinator/logic/local_rounds.hpp"
#include "coordinator/logic/log_keeper.hpp"
#include "coordinator/logic/pause_histogram.hpp"

namespace koshel::coordinator {

class CrossRounds {
 public:
  CrossRounds(OrderBook& book, LogKeeper& log, Incarnation incarnation, const RoundLimits& limits)
      : book_(book), log_(log), incarnation_(incarnation), limits_(limits) {}

  bool start(const LaneId& lane, Sequence sequence, int orders_max, Instant now, Effects& out);
  void on(const ReserveReplied& event, Instant now, Effects& out);
  void on(const PrepareReplied& event, Instant now, Effects& out);
  void on(const Decided& event, Instant now, Effects& out);
  void on(const UsersCreated& event, Instant now, Effects& out);
  void on(const UsersMoved& event, Instant now, Effects& out);
  void on(const HandedOver& event, Instant now, Effects& out);
  void on(const NamesRead& event, Instant now, Effects& out);
  void on(const AskReplied& event, Instant now, Effects& out);
  void on(const SettleReplied& event, Instant now, Effects& out);
  void tick(Instant now, Effects& out);
  // Rounds that have prepared nothing go back: nobody could decide upon them.
  void give_up_reserving(Setback setback, Instant now, Effects& out);

  bool has(Sequence round) const { return rounds_.contains(round); }
  std::size_t size() const { return rounds_.size(); }
  const PauseHistogram& pauses() const { return pauses_; }  // of accounts that were cut over
  // The last round before the oldest one under way; `last` if none is.
  Sequence finished(Sequence last) const;
  // Lanes of rounds that ended, or hold others up no longer, since the last call.
  std::vector<LaneId> take_ended() { return std::exchange(ended_, {}); }

 private:
  // Until a question that got no answer is asked again.
  static constexpr Duration kAgainPause = std::chrono::milliseconds(100);

  enum class State : std::int8_t {
    Reserving,
    HandingOver,
    Preparing,
    Deciding,
    Asking,
    ReadingNames,
    Settling,
  };
  struct Participant {
    ShardId shard;
    std::vector<std::int32_t> survivors = {};  // places in the orders that it was told of
    std::size_t orders = 0;                    // how many it was told of in all
    std::optional<Result<messages::ReserveReply>> reserved = {};
    std::optional<Result<messages::PrepareReply>> prepared = {};
    bool is_settling = false;   // was told, has not answered
    bool is_settled = false;    // has answered
    bool is_confirmed = false;  // ... that it carried the commit out
  };
  // Where an order is among those of a participant: of all, and once votes are judged, of survivors.
  struct Seat {
    std::size_t participant = 0;  // place in the round's
    std::size_t place = 0;
  };
  struct RoundOrder {
    OrderId id = 0;
    boost::container::static_vector<Seat, 2> seats = {};  // as shards_of() has them
  };
  struct Round {
    LaneId lane;
    State state = State::Reserving;
    std::vector<RoundOrder> orders;        // once votes are judged, the survivors
    std::vector<CreateUsers::User> users;  // of an Opening round: one per survivor
    std::vector<MoveUsers::Part> moving;   // of a Moving round: one per survivor
    std::vector<AccountId> accounts;       // still taken by this round
    std::vector<Participant> participants;
    bool is_in_doubt = false;  // the log was asked and its answer lost
    bool has_left_lane = false;
    bool is_late = false;  // as of the last tick: a shard is silent for too long
    Instant started_at;
    Instant asked_at;  // when it began to wait for all participants' answers
    Instant decided_at;
    Instant answer_by;                  // the next deadline of a client that has no answer
    Instant again_at = Instant::max();  // when a question to the log or a shard is repeated
  };

  Participant* participant(Round& round, ShardId shard);
  static const messages::Reserved* votes_of(const Participant& participant);
  static const messages::Prepared* legs_of(const Participant& participant);
  static std::optional<Setback> fault_of(const Round& round, const Participant& participant);
  void set_faulty_back(Sequence id, const Round& round, Instant now, Effects& out);
  void judge_votes(Sequence id, Round& round, Instant now, Effects& out);
  bool judge_order(Sequence id, Round& round, const RoundOrder& order, Instant now, Effects& out);
  void take_seats(Round& round);
  void drop_participants(Sequence id, Round& round, Effects& out);
  bool hand_over(Sequence id, Round& round, Effects& out);
  std::vector<Head> leaving_heads(Round& round);
  void send_prepares(Sequence id, Round& round, Instant now, Effects& out);
  void release(Sequence id, const Round& round, Effects& out);
  void set_back(Sequence id, const RoundOrder& order, Setback setback, Instant now, Effects& out);
  void set_all_back(Sequence id, const Round& round, Setback setback, Instant now, Effects& out);
  void judge_prepares(Sequence id, Round& round, Instant now, Effects& out);
  void blame(Sequence id, Round& round, const Participant& participant, Effects& out);
  bool is_impatient(Round& round, Instant now) const;
  static bool is_silent(const Round& round, const Participant& participant);
  void lose_patience(Sequence id, Instant now, Effects& out);
  void leave_lane(Round& round);
  void keep_survivors(Sequence id, Round& round);
  void decide(Sequence id, Round& round, Effects& out);
  void move_users(Sequence id, Round& round, Effects& out);
  void ask_log(Sequence id, Round& round, Effects& out);
  Round* find_deciding(Sequence id);
  void lose_decision(Sequence id, Round& round, const Error& error, Instant now, Effects& out);
  void commit(Sequence id, Round& round, Instant now, Effects& out);
  void send_settles(Sequence id, Round& round, bool is_commit, Effects& out);
  void abort(Sequence id, Setback setback, Instant now, Effects& out);
  void end_unknown(Sequence id, Effects& out);
  void answer_late(Sequence id, Round& round, Instant now, Effects& out);
  void end_settling(Sequence id, Instant now, Effects& out);
  void answer_settled(Sequence id, Round& round, Effects& out);
  void answer_committed(Sequence id, Round& round, bool is_settled, Effects& out);
  void answer_committed(Sequence id, const Round& round, const RoundOrder& order, bool is_settled,
                        Effects& out);
  std::vector<ShardId> shards(const Round& round) const;
  RoundId round_id(Sequence id) const { return {incarnation_, id}; }
  void repeat(Sequence id, Round& round, Effects& out);
  void end_committed(Sequence id, Instant now);
  void end(Sequence id);

  OrderBook& book_;
  LogKeeper& log_;
  Incarnation incarnation_;
  RoundLimits limits_;
  std::unordered_map<Sequence, Round> rounds_;
  std::vector<LaneId> ended_;
  PauseHistogram pauses_;
};

// What a reply that is not what was wanted means for the orders that it was about.
template <class Reply>
Setback setback_of_reply(const std::optional<Result<Reply>>& reply) {
  if (!reply || !*reply) return Setback::ShardFault;
  const auto* failed = std::get_if<messages::RoundFailed>(&reply->value());
  return failed == nullptr ? Setback::ShardFault : setback_of(failed->fault);
}

}  // namespace koshel::coordinator
