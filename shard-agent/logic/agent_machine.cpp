#include "shard-agent/logic/agent_machine.hpp"

#include "shard-agent/logic/db_outcome.hpp"
#include "shard-agent/logic/soundness.hpp"

namespace koshel::agent {

using messages::RoundFailed;
using messages::RoundFault;

AgentMachine::AgentMachine(ShardId shard, const AgentLimits& limits)
    : memory_(shard, limits), local_(memory_), cross_(memory_), forgetting_(memory_) {}

Effects AgentMachine::step(Event event, const Now& now) {
  Effects out;
  std::visit([&](auto&& what) { handle(std::move(what), now, out); }, std::move(event));
  return out;
}

bool AgentMachine::may_bring(TransferId id, AccountId account) const {
  if (state_ != State::Serving) return true;  // what is prepared is not known yet
  const auto* hold = memory_.holds.find(account);
  if (hold == nullptr) return false;
  return hold->reason == HoldReason::InDoubt || local_.contains(hold->round, id) ||
         cross_.contains(hold->round, id);
}

bool AgentMachine::may_have_left(AccountId account) const {
  const auto* hold = memory_.holds.find(account);
  return hold != nullptr && cross_.may_have_left(hold->round, account);
}

std::optional<RoundFailed> AgentMachine::find_objection(std::optional<std::string> fault) const {
  if (fault) return RoundFailed{RoundFault::Rejected, std::move(*fault)};
  if (state_ != State::Serving) {
    return RoundFailed{RoundFault::Starting, "the agent takes over its shard"};
  }
  if (rounds_in_flight() >= static_cast<std::size_t>(memory_.limits.rounds_in_flight_max)) {
    return RoundFailed{RoundFault::Overloaded, "too many rounds in flight"};
  }
  return std::nullopt;
}

void AgentMachine::handle(Asked<messages::LocalRound>&& asked, const Now& now, Effects& out) {
  const auto round = asked.message.round;
  if (local_.has(round) || cross_.has(round) || local_.was_answered(round)) {
    // Delivered twice: the first delivery has the answer, this one knows nothing.
    out.emplace_back(Answer{asked.request, messages::LocalReply(messages::RoundUnknown{})});
    return;
  }
  if (auto objection = find_objection(find_fault(asked.message))) {
    local_.remember_answered(round);
    out.emplace_back(Answer{asked.request, messages::LocalReply(std::move(*objection))});
    return;
  }
  local_.start(std::move(asked), now, out);
}

void AgentMachine::handle(Asked<messages::Reserve>&& asked, const Now& now, Effects& out) {
  auto objection = find_objection(find_fault(asked.message));
  if (!objection && (local_.has(asked.message.round) || cross_.has(asked.message.round))) {
    objection = RoundFailed{RoundFault::Voided, "the round is here already"};
  }
  if (objection) {
    out.emplace_back(Answer{asked.request, messages::ReserveReply(std::move(*objection))});
    return;
  }
  cross_.reserve(std::move(asked), now, out);
}

void AgentMachine::handle(Asked<messages::Prepare>&& asked, const Now& now, Effects& out) {
  if (state_ != State::Serving) {
    // What was voted before is void: the reservations went with the memory.
    out.emplace_back(Answer{asked.request, messages::PrepareReply(RoundFailed{
                                               RoundFault::Starting, "the agent starts anew"})});
    return;
  }
  cross_.prepare(asked, now, out);
}

void AgentMachine::handle(Asked<messages::Settle>&& asked, const Now&, Effects& out) {
  if (state_ != State::Serving) {
    out.emplace_back(Answer{asked.request, messages::SettleDone{messages::SettleOutcome::Later}});
    return;
  }
  cross_.settle(asked, out);
}

void AgentMachine::handle(Asked<messages::Release>&& asked, const Now&, Effects&) {
  cross_.release(asked.message.round);
}

void AgentMachine::handle(StateRead&& event, const Now& now, Effects& out) {
  conclude(local_.on(event, now, out), out);
  conclude(cross_.on(event, now, out), out);
}

void AgentMachine::handle(AppendDone&& event, const Now& now, Effects& out) {
  conclude(local_.on(event, now, out), out);
}

void AgentMachine::handle(PrepareDone&& event, const Now&, Effects& out) {
  conclude(cross_.on(event, out), out);
}

void AgentMachine::handle(SettlePreparedDone&& event, const Now&, Effects& out) {
  conclude(cross_.on(event, out), out);
}

void AgentMachine::handle(LocalAsked&& event, const Now&, Effects& out) {
  conclude(local_.on(event, out), out);
}

void AgentMachine::handle(DecisionRead&& event, const Now&, Effects& out) {
  if (state_ == State::Serving) cross_.on(event, out);
}

void AgentMachine::handle(PreparedScanned&& event, const Now& now, Effects& out) {
  if (!is_scanning_ || event.scan != cross_.last_scan()) return;  // of before a take-over
  is_scanning_ = false;
  ++memory_.counters.prepared_scans;
  next_scan_ = now.steady + memory_.limits.scan_interval;
  if (state_ == State::Serving) cross_.on(event, out);
  conclude(event.is_disconnected ? Aftermath::ConnectionLost : Aftermath::None, out);
}

void AgentMachine::handle(FencesRead&& event, const Now& now, Effects& out) {
  if (state_ != State::Serving) event.fences.reset();
  forgetting_.on(event, now.steady, out);
}

void AgentMachine::handle(RoundsForgotten&& event, const Now& now, Effects& out) {
  conclude(forgetting_.on(event, now.steady), out);
}

// What could not be deleted is tried again; a take-over deletes whatever is left.
void AgentMachine::handle(HoldsForgotten&& event, const Now&, Effects& out) {
  if (event.outcome == DbOutcome::Done || event.epoch != memory_.epoch) return;
  cross_.forget_again(event.rounds);
  conclude(is_disconnect(event.outcome) ? Aftermath::ConnectionLost : Aftermath::None, out);
}

// One that the take-over itself ended is no news.
void AgentMachine::handle(SessionLost&& event, const Now&, Effects& out) {
  if (event.epoch == memory_.epoch) conclude(Aftermath::ConnectionLost, out);
}

void AgentMachine::handle(TakenOver&& event, const Now& now, Effects& out) {
  is_taking_over_ = false;
  if (state_ != State::TakingOver) return;
  if (event.is_outrun) {
    stop(out);
    return;
  }
  if (!event.epoch) {
    next_take_over_ = now.steady + memory_.limits.take_over_retry;
    return;
  }
  memory_.epoch = *event.epoch;
  ++memory_.counters.take_overs;
  state_ = State::Serving;
  is_scanning_ = false;
  cross_.take_over(event.in_doubt, out);
  local_.ask_unknown(out);
}

void AgentMachine::handle(Tick&&, const Now& now, Effects& out) {
  if (state_ == State::New) state_ = State::TakingOver;
  if (state_ == State::TakingOver && !is_taking_over_ && now.steady >= next_take_over_) {
    is_taking_over_ = true;
    out.emplace_back(TakeOver{memory_.epoch});
  }
  if (state_ != State::Serving) return;
  cross_.expire_reservations(now.steady);
  memory_.holds.expire(now.steady);
  forgetting_.tick(now.steady, out);
  if (!is_scanning_ && now.steady >= next_scan_) {
    is_scanning_ = true;
    out.emplace_back(cross_.next_scan());
    auto settled = cross_.take_settled();
    if (!settled.empty()) out.emplace_back(ForgetHolds{std::move(settled)});
  }
}

// Nothing remembered survives a lost connection: the server may have failed over to a past without
// the last appends, or a new agent may have begun.
void AgentMachine::conclude(Aftermath aftermath, Effects& out) {
  if (state_ != State::Serving) return;
  switch (aftermath) {
    case Aftermath::None:
      return;
    case Aftermath::ConnectionLost:
      state_ = State::TakingOver;
      next_take_over_ = Instant{};
      local_.interrupt(out);
      cross_.interrupt(out);
      memory_.heads.clear();
      memory_.holds.clear();
      memory_.keys_in_flight.clear();
      return;
    case Aftermath::Outrun:
      stop(out);
      return;
  }
}

void AgentMachine::stop(Effects& out) {
  state_ = State::Stopped;
  out.emplace_back(Stop{"a newer agent has taken over this shard"});
}

}  // namespace koshel::agent
