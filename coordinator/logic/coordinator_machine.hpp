#pragma once
// The whole of a coordinator's judgement about orders: gathers what waits into rounds the moment a
// lane is free, and drives local rounds and rounds of several parts to their answers. Every
// accepted order is answered exactly once. Keeps no balances and no routes; another coordinator
// knows as much.

#include "coordinator/logic/cross_rounds.hpp"
#include "coordinator/logic/local_rounds.hpp"
#include "coordinator/logic/rebalancer.hpp"

namespace koshel::coordinator {

struct CoordinatorCounters {  // for metrics; monotonic
  std::int64_t rounds_local = 0;
  std::int64_t rounds_cross = 0;
  std::int64_t orders_finished = 0;
  std::int64_t orders_overloaded = 0;
  std::int64_t redirects = 0;
};

class CoordinatorMachine {
 public:
  CoordinatorMachine(Incarnation incarnation, const BookLimits& book, const RoundLimits& rounds,
                     const LogLimits& log, const RebalanceLimits& rebalance);

  Effects step(Event event, Instant now);

  std::size_t orders() const { return book_.size(); }
  std::size_t rounds_local() const { return local_.size(); }
  std::size_t rounds_cross() const { return cross_.size(); }
  std::size_t shards_suspect() const { return book_.suspects(); }
  std::size_t rounds_unconfirmed() const { return log_.unconfirmed(); }
  const PauseHistogram& pauses() const { return cross_.pauses(); }
  bool is_moving_users() const { return rebalancer_.is_holder(); }
  std::int64_t entries_copied() const { return rebalancer_.entries_copied(); }
  const CoordinatorCounters& counters() const { return counters_; }
  bool is_directory_up() const { return is_directory_up_; }
  // True while a round of this coordinator may bring the transfer.
  bool is_under_way(TransferId id) const { return book_.is_under_way(id); }

 private:
  void handle(Submit&& event, Instant now, Effects& out);
  void handle(LocalReplied&& event, Instant now, Effects& out);
  void handle(ReserveReplied&& event, Instant now, Effects& out);
  void handle(PrepareReplied&& event, Instant now, Effects& out);
  void handle(SettleReplied&& event, Instant now, Effects& out);
  void handle(AskReplied&& event, Instant now, Effects& out);
  void handle(FindReplied&& event, Instant now, Effects& out);
  void handle(Decided&& event, Instant now, Effects& out);
  void handle(UsersCreated&& event, Instant now, Effects& out);
  void handle(RoutesRead&& event, Instant now, Effects& out);
  void handle(NamesRead&& event, Instant now, Effects& out);
  void handle(DirectoryHealth&& event, Instant now, Effects& out);
  void handle(LogKept&& event, Instant now, Effects& out);
  void handle(IncarnationClosed&& event, Instant now, Effects& out);
  void handle(ConfirmReplied&& event, Instant now, Effects& out);
  void handle(HandedOver&& event, Instant now, Effects& out);
  void handle(UsersMoved&& event, Instant now, Effects& out);
  void handle(RebalanceBeaten&& event, Instant now, Effects& out);
  void handle(MovesRead&& event, Instant now, Effects& out);
  void handle(MoveTaken&& event, Instant now, Effects& out);
  void handle(ArrivalBegun&& event, Instant now, Effects& out);
  void handle(ChunkCopied&& event, Instant now, Effects& out);
  void handle(ArrivedChecked&& event, Instant now, Effects& out);
  void handle(MoveCleaned&& event, Instant now, Effects& out);
  void handle(MoveEnded&& event, Instant now, Effects& out);
  void handle(RebalanceEnded&& event, Instant now, Effects& out);
  void handle(Tick&& event, Instant now, Effects& out);

  void dispatch(Instant now, Effects& out);
  bool start_round(const LaneId& lane, Instant now, Effects& out);

  struct InFlight {
    int rounds = 0;
    Instant newest_since;
  };

  RoundLimits limits_;
  OrderBook book_;
  LogKeeper log_;
  LocalRounds local_;
  CrossRounds cross_;
  Rebalancer rebalancer_;
  Sequence last_sequence_;
  std::map<LaneId, InFlight> in_flight_;
  CoordinatorCounters counters_;
  bool is_directory_up_ = true;
};

}  // namespace koshel::coordinator
