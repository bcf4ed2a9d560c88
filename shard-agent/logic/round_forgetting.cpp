#include "shard-agent/logic/round_forgetting.hpp"

#include <algorithm>

namespace koshel::agent {

void RoundForgetting::tick(Instant now, Effects& out) {
  if (is_under_way_ || now < next_) return;
  is_under_way_ = true;
  out.emplace_back(ReadFences{});
}

// The fence of a closed incarnation stands above all of its rounds, also above commits that are yet
// to be confirmed; they need their rows until the incarnation is gone.
void RoundForgetting::on(const FencesRead& event, Instant now, Effects& out) {
  if (!event.fences) {
    is_under_way_ = false;
    next_ = now + memory_.limits.forget_interval;
    return;
  }
  const auto& [last, incarnations, last_move, open_moves] = *event.fences;
  ForgetRounds forget{memory_.epoch, last.next(), last, {}, {}, last_move, open_moves};
  for (const auto& [incarnation, fence, is_closed] : incarnations) {
    forget.floor = std::min(forget.floor, incarnation);
    if (is_closed) {
      forget.unfinished.push_back(incarnation);
    } else {
      forget.fences.push_back({incarnation, fence});
    }
  }
  out.emplace_back(std::move(forget));
}

Aftermath RoundForgetting::on(const RoundsForgotten& event, Instant now) {
  is_under_way_ = false;
  const bool has_more = event.outcome == DbOutcome::Done && !event.is_complete;
  next_ = has_more ? now : now + memory_.limits.forget_interval;
  if (event.epoch != memory_.epoch) return Aftermath::None;  // of before a take-over
  switch (event.outcome) {
    case DbOutcome::OldEpoch:
      return Aftermath::Outrun;
    case DbOutcome::Disconnected:
    case DbOutcome::Lost:
      return Aftermath::ConnectionLost;
    case DbOutcome::Done:
    case DbOutcome::Stale:
    case DbOutcome::WasHere:
    case DbOutcome::Rejected:
    case DbOutcome::Unavailable:
      return Aftermath::None;
  }
  std::abort();
}

}  // namespace koshel::agent
