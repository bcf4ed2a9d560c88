#pragma once
// The whole of an agent's judgement: who may run rounds on the shard now, and what each event
// means. Owns the shard's memory, the local rounds and this shard's part in cross-shard rounds;
// never touches a socket, a clock or the database.
//
//   state       event                               next
//   TakingOver  TakenOver with an epoch             Serving; what is in doubt is held, asked about
//   TakingOver  TakenOver without, after a pause    TakingOver: tries again
//   TakingOver  TakenOver: another was there since  Stopped
//   Serving     a connection was lost               TakingOver: all that was remembered is forgotten
//   Serving     OldEpoch, for a round of its own    Stopped: a newer agent serves the shard

#include "shard-agent/logic/cross_rounds.hpp"
#include "shard-agent/logic/local_rounds.hpp"
#include "shard-agent/logic/round_forgetting.hpp"

namespace koshel::agent {

class AgentMachine {
 public:
  AgentMachine(ShardId shard, const AgentLimits& limits);

  // Not before the first Tick does the machine do anything.
  Effects step(Event event, const Now& now);

  bool is_serving() const { return state_ == State::Serving; }
  bool is_idle() const { return local_.size() == 0 && cross_.size() == 0; }
  Epoch epoch() const { return memory_.epoch; }
  const AgentCounters& counters() const { return memory_.counters; }
  std::size_t rounds_in_flight() const { return local_.size() + cross_.size(); }
  std::size_t accounts_held() const { return memory_.holds.size(); }
  std::size_t heads_cached() const { return memory_.heads.size(); }

  // True if a round under way or in doubt may still bring the transfer to the account. To be asked
  // before the database is read, else a round could end in between.
  bool may_bring(TransferId id, AccountId account) const;
  // True if another shard may own the account by now, though the database still shows it here. To
  // be asked before the database is read.
  bool may_have_left(AccountId account) const;

 private:
  enum class State : std::int8_t { New, TakingOver, Serving, Stopped };

  void handle(Asked<messages::LocalRound>&& asked, const Now& now, Effects& out);
  void handle(Asked<messages::Reserve>&& asked, const Now& now, Effects& out);
  void handle(Asked<messages::Prepare>&& asked, const Now& now, Effects& out);
  void handle(Asked<messages::Settle>&& asked, const Now& now, Effects& out);
  void handle(Asked<messages::Release>&& asked, const Now& now, Effects& out);
  void handle(StateRead&& event, const Now& now, Effects& out);
  void handle(AppendDone&& event, const Now& now, Effects& out);
  void handle(PrepareDone&& event, const Now& now, Effects& out);
  void handle(SettlePreparedDone&& event, const Now& now, Effects& out);
  void handle(LocalAsked&& event, const Now& now, Effects& out);
  void handle(DecisionRead&& event, const Now& now, Effects& out);
  void handle(PreparedScanned&& event, const Now& now, Effects& out);
  void handle(TakenOver&& event, const Now& now, Effects& out);
  void handle(FencesRead&& event, const Now& now, Effects& out);
  void handle(RoundsForgotten&& event, const Now& now, Effects& out);
  void handle(HoldsForgotten&& event, const Now& now, Effects& out);
  void handle(SessionLost&& event, const Now& now, Effects& out);
  void handle(Tick&& event, const Now& now, Effects& out);

  // `fault`: what is unsound in the round itself.
  std::optional<messages::RoundFailed> find_objection(std::optional<std::string> fault) const;
  void conclude(Aftermath aftermath, Effects& out);
  void stop(Effects& out);

  State state_ = State::New;
  ShardMemory memory_;
  LocalRounds local_;
  CrossRounds cross_;
  RoundForgetting forgetting_;
  Instant next_scan_{};
  Instant next_take_over_{};
  bool is_taking_over_ = false;  // the effect is under way
  bool is_scanning_ = false;
};

}  // namespace koshel::agent
