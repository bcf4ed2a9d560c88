#pragma once
// A coordinator's rounds on one shard: gathered from a lane, sent, and each order answered by what
// the agent says of it. A reply that was lost is asked for: asking writes, so the answer is final.
//
//   state    event                            next
//   Sent     LocalReplied with answers        done
//   Sent     LocalReplied RoundFailed         done: every order goes back
//   Sent     LocalReplied, lost or unknown    Asking
//   Asking   AskReplied: not applied          done: every order goes back
//   Asking   AskReplied: applied or over      Finding: what each order brought
//   Asking   AskReplied failed                Asking again after a pause
//   Finding  FindReplied for the last order   done; whose account has moved is tried again there

#include <unordered_map>

#include "coordinator/logic/order_book.hpp"

namespace koshel::coordinator {

struct RoundLimits {
  int local_in_flight = 2;  // of a lane
  int cross_in_flight = 2;
  // Fewer orders than these wait for the end of their lane's round, but no longer than until it is
  // so old: it may be stuck, and they need not be. 1: as few as there are go at once.
  std::size_t beside_orders_min = 1;
  Duration beside_after = std::chrono::milliseconds(50);
  int local_orders_max = 2'000;
  int cross_orders_max = 2'000;
  Duration settle_wait = std::chrono::milliseconds(1'000);
  // So long a round waits for one of its shards while others could go on.
  Duration shard_patience = std::chrono::milliseconds(1'000);
};

class LocalRounds {
 public:
  LocalRounds(OrderBook& book, Incarnation incarnation) : book_(book), incarnation_(incarnation) {}

  // False: the lane has nothing that can go now.
  bool start(const LaneId& lane, Sequence sequence, int orders_max, Instant now, Effects& out);
  void on(const LocalReplied& event, Instant now, Effects& out);
  void on(const AskReplied& event, Instant now, Effects& out);
  void on(const FindReplied& event, Instant now, Effects& out);
  void tick(Instant now, Effects& out);

  // True if the lane's shard does not even say what became of a round: no other would fare better.
  bool is_asking(const LaneId& lane) const;
  bool has(Sequence round) const { return rounds_.contains(round); }
  std::size_t size() const { return rounds_.size(); }
  // The last round before the oldest one under way; `last` if none is.
  Sequence finished(Sequence last) const;
  // Lanes of rounds that ended since the last call.
  std::vector<LaneId> take_ended() { return std::exchange(ended_, {}); }

 private:
  enum class State : std::int8_t { Sent, Asking, Finding };
  struct Round {
    LaneId lane;
    State state = State::Sent;
    std::vector<OrderId> orders;
    std::vector<AccountId> accounts;
    std::size_t finding = 0;   // look-ups under way
    bool has_unfound = false;  // a look-up failed: the round is asked for once more
    Instant ask_at = Instant::max();
  };

  void answer(OrderId id, Sequence round, messages::LocalAnswer&& answer, Instant now,
              Effects& out);
  void fail(Sequence id, const messages::RoundFailed& failed, Instant now, Effects& out);
  void set_all_back(Sequence id, Setback setback, Instant now, Effects& out);
  void ask(Sequence id, Round& round, Effects& out);
  static void ask_later(Round& round, Instant now);
  void find_orders(Sequence id, Round& round, Effects& out);
  void find_elsewhere(OrderId id, OrderBook::Entry& entry, Effects& out);
  void end(Sequence id);

  OrderBook& book_;
  Incarnation incarnation_;
  std::unordered_map<Sequence, Round> rounds_;
  std::vector<LaneId> ended_;
};

// What a round's failure means for its orders.
Setback setback_of(messages::RoundFault fault);

}  // namespace koshel::coordinator
