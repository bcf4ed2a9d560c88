#pragma once
// Rounds that live on this shard alone: hold, read what is missing, evaluate in order, append,
// answer.
//
//   state      event                   next
//   Reading    StateRead Done          Appending, or done if nothing is to be written. What was
//                                      only remembered is read first: no append would check it
//   Reading    StateRead otherwise     done: RoundFailed
//   Appending  AppendDone Done         done: heads move
//   Appending  AppendDone Stale        Reading again, stale_retries_max times; then RoundFailed
//   Appending  AppendDone Lost         Unknown: nothing is said before the database was asked
//   Unknown    LocalAsked              done: as if appended, RoundFailed, or, if it is over,
//                                      RoundUnknown
//
// Never prepares anything; never waits for a hold.

#include <boost/unordered/unordered_flat_set.hpp>
#include <deque>
#include <unordered_map>

#include "shard-agent/logic/shard_memory.hpp"

namespace koshel::agent {

class LocalRounds {
 public:
  explicit LocalRounds(ShardMemory& memory) : memory_(memory) {}

  void start(Asked<messages::LocalRound> asked, const Now& now, Effects& out);
  Aftermath on(const StateRead& event, const Now& now, Effects& out);
  Aftermath on(const AppendDone& event, const Now& now, Effects& out);
  Aftermath on(const LocalAsked& event, Effects& out);

  // The connection is gone: what was being appended is unknown, what was being read has failed.
  void interrupt(Effects& out);
  // The new epoch stands, so no old append is running any more: ask about the unknown ones.
  void ask_unknown(Effects& out) const;

  bool has(RoundId round) const { return rounds_.contains(round); }
  // As far as is remembered: a round that wrote nothing leaves no other trace, and must not run when
  // it is delivered a second time, for its coordinator has told its clients that nothing happened.
  bool was_answered(RoundId round) const { return answered_.contains(round); }
  void remember_answered(RoundId round);
  bool contains(RoundId round, TransferId id) const;
  std::size_t size() const { return rounds_.size(); }

 private:
  enum class State : std::int8_t { Reading, Appending, Unknown };
  struct Slot {  // one order and what is known of its answer
    messages::LocalOrder order;
    std::optional<messages::LocalAnswer> answer;
    bool is_turned_away = false;  // answered before anything was read; holds nothing
  };
  struct Round {
    RequestId request = 0;
    State state = State::Reading;
    int attempt = 0;  // of reading
    int stale = 0;    // appends that found a head changed
    std::vector<Slot> slots;
    std::vector<AccountId> held;
    std::vector<TransferId> keys;
    Draft draft;                  // the heads it counts on, then its entries
    bool has_remembered = false;  // some of them come from memory
    std::vector<AccountHead> heads_after;
  };

  static void turn_away(Slot& slot, messages::LocalAnswer answer);
  void admit(RoundId id, Round& round, Slot& slot, Instant now);
  void read(RoundId id, Round& round, const Now& now, Effects& out);
  void read_anew(RoundId id, Round& round, const Now& now, Effects& out);
  void evaluate(RoundId id, Round& round, const StateRead& reading, const Now& now, Effects& out);
  void finish(RoundId id, messages::LocalReply reply, Effects& out);
  void succeed(RoundId id, Effects& out);
  void fail(RoundId id, messages::RoundFault fault, std::string detail, Effects& out);

  ShardMemory& memory_;
  std::unordered_map<RoundId, Round> rounds_;
  boost::unordered_flat_set<RoundId, std::hash<RoundId>> answered_;
  std::deque<RoundId> answered_in_order_;  // bounded: the oldest is forgotten first
};

}  // namespace koshel::agent
