#pragma once
// Carries a rebalance out: takes moves from the plan, has the history of their accounts copied,
// lets the accounts be cut over by rounds like any others (MoveOrder), and has the old copies
// deleted. Every coordinator has one; at most one of them holds the rebalance, and what it does for
// it is refused by the directory when it no longer holds it. It remembers nothing that matters:
// what it has lost sight of it reads again, and all of it when somebody else may have held it.
//
//   a move, step by step              when it fails, or is not as believed
//   Begin at the target               read the moves again
//   Copy, chunk upon chunk            a smaller chunk, after a pause
//   CutOver: one order per account    read the moves again; who is not cut over begins anew
//   Ask the target whether it owns    again: while it does not, the source keeps what it has
//   Clean the source                  again
//   End in the directory              read the moves again
//
// While clients' orders come in, steps are small and one at a time, with pauses between them, so that
// moving takes a bounded share of the time.
//
// Cancelled: accounts that are not cut over are cleaned at the target and end; the others go on to
// their end. Paused: no next step.

#include <map>
#include <optional>
#include <set>

#include "coordinator/logic/order_book.hpp"

namespace koshel::coordinator {

struct RebalanceLimits {
  int users_per_move = 500;
  int entries_per_chunk = 10'000;
  int moves_in_flight = 3;
  // While clients' orders come in: of the time, and of one step.
  int beside_orders_percent = 25;
  int beside_orders_users = 25;
  int beside_orders_entries = 500;
  Duration beat = std::chrono::milliseconds(500);
  Duration lease =
      std::chrono::seconds(5);  // a rebalance that nobody beats for so long is taken over
  Duration retry = std::chrono::milliseconds(500);
  int retries_max = 600;                            // in a row, then the rebalance has failed
  Duration cut_over_max = std::chrono::seconds(5);  // that an account may wait for its turn
};

class Rebalancer {
 public:
  Rebalancer(Incarnation own, OrderBook& book, const RebalanceLimits& limits)
      : own_(own), book_(book), limits_(limits) {}

  void tick(Instant now, Effects& out);
  void on(const RebalanceBeaten& event, Instant now, Effects& out);
  void on(const MovesRead& event, Instant now, Effects& out);
  void on(const MoveTaken& event, Instant now, Effects& out);
  void on(const ArrivalBegun& event, Instant now, Effects& out);
  void on(const ChunkCopied& event, Instant now, Effects& out);
  void on(const ArrivedChecked& event, Instant now, Effects& out);
  void on(const MoveCleaned& event, Instant now, Effects& out);
  void on(const MoveEnded& event, Instant now, Effects& out);
  void on(const RebalanceEnded& event, Instant now, Effects& out);

  // Orders of the rebalancer have ids of their own; their outcomes are for it alone.
  static bool is_own(OrderId id) { return (id & kOwnOrder) != 0; }
  void on(const Finish& finish, Instant now, Effects& out);

  bool is_holder() const { return is_holder_; }
  std::int64_t entries_copied() const { return entries_copied_; }  // for metrics; monotonic

 private:
  static constexpr OrderId kOwnOrder = OrderId{1} << 63;
  static constexpr Duration kSoon = std::chrono::milliseconds(20);
  static constexpr Duration kQuiet = std::chrono::seconds(1);     // without a client's order
  static constexpr Duration kPauseMax = std::chrono::seconds(1);  // between two steps

  struct Move {
    OpenMove open;
    bool is_begun = false;
    bool is_copied = false;               // up to what there was a moment ago
    std::map<AccountId, Version> copied;  // of accounts that are not cut over
    std::map<OrderId, AccountId> orders;  // without an outcome yet
    int entries_max = 0;                  // of a chunk
    bool is_arrived = false;              // the target has said that it owns all
    bool is_busy = false;                 // an effect is under way
    bool is_doubtful = false;             // the directory knows better
    Instant again_at;
  };

  void advance(Instant now, Effects& out);
  void advance(Move& move, Effects& out, Instant now);
  void clean(Move& move, ShardId shard, bool is_leaving, Instant now, Effects& out);
  void cut_over(Move& move, Instant now);
  bool is_beside_orders(Instant now) const;
  bool may_step(Instant now) const;
  void end_step(Instant now);
  int entries_max(Instant now) const;
  void take(Instant now, Effects& out);
  void add(const OpenMove& open);
  static void doubt(Move& move, Instant again_at);
  static bool is_to_read(const Move& move) {
    return move.is_doubtful && !move.is_busy && move.orders.empty();
  }
  void fail(const Error& error);
  void succeed() {
    failures_ = 0;
    error_.clear();
  }
  Move* find(MoveId id);
  Move* resume(MoveId id, Instant now);
  bool is_cancelling() const { return state_ == directory::RebalanceState::Cancelling; }
  bool is_running() const { return state_ == directory::RebalanceState::Running; }
  void drop();

  Incarnation own_;
  OrderBook& book_;
  RebalanceLimits limits_;

  directory::RebalanceState state_ = directory::RebalanceState::Idle;
  std::optional<int> users_per_second_;
  bool is_holder_ = false;
  bool is_beating_ = false;
  Instant next_beat_{};
  std::int64_t seen_beat_ = -1;
  Instant seen_at_{};

  std::map<MoveId, Move> moves_;
  OrderId last_order_ = kOwnOrder;
  bool has_read_ = false;    // the moves, since the rebalance is held
  bool is_reading_ = false;  // them, now
  bool is_taking_ = false;   // the next one
  // What is on its way was asked before the rebalance may have been another's: it counts for nothing.
  bool is_read_void_ = false;
  bool is_take_void_ = false;
  bool is_planned_ = true;  // there may be another one
  bool has_leftovers_ = true;
  bool is_ending_ = false;
  Instant next_take_{};
  Instant step_began_{};  // the newest one
  Instant next_step_{};   // beside orders
  Instant again_at_{};    // after a failure that is no move's
  std::int64_t entries_copied_ = 0;
  std::int64_t entries_ = 0;  // copied and not told yet
  std::int64_t told_ = 0;     // with the last beat
  int failures_ = 0;          // in a row
  std::string error_;
};

}  // namespace koshel::coordinator
