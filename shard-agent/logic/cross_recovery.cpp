// CrossRounds, second half: what happens when a coordinator is silent, when this agent starts, and
// when its database connection breaks.

#include <algorithm>
#include <cmath>

#include "shard-agent/logic/cross_rounds.hpp"

namespace koshel::agent {

using messages::RoundFault;
using messages::SettleOutcome;

void CrossRounds::expire_reservations(Instant now) {
  std::vector<RoundId> expired;
  for (const auto& [id, round] : rounds_) {
    if (round.state == State::Reserved && round.expires <= now) expired.push_back(id);
  }
  for (const auto id : expired) drop(id);
  memory_.counters.reservations_expired += static_cast<std::int64_t>(expired.size());
}

// Both directions: rounds prepared for too long are asked about; rounds that are no longer
// prepared, though nobody settled them through this agent, are let go.
void CrossRounds::on(const PreparedScanned& event, Effects& out) {
  if (!event.prepared) return;
  const auto old = std::chrono::duration<double>(memory_.limits.in_doubt_age).count();
  boost::unordered_flat_map<RoundId, bool, std::hash<RoundId>> is_prepared;
  for (const auto& [id, age_seconds] : *event.prepared) {
    is_prepared.emplace(id, true);
    const auto [found, is_new] = rounds_.try_emplace(id);
    auto& round = found->second;
    if (is_new) {  // nobody told this agent: as much in doubt as what a take-over finds
      round.state = State::Prepared;
      round.prepared_at_scan = event.scan;
    }
    // Far below zero: the server's clock was set back since.
    if (round.state == State::Prepared && std::abs(age_seconds) >= old) ask_log(id, round, out);
  }
  std::vector<RoundId> gone;
  for (const auto& [id, round] : rounds_) {
    if (round.state == State::Prepared && round.prepared_at_scan < event.scan &&
        !is_prepared.contains(id)) {
      gone.push_back(id);
    }
  }
  for (const auto id : gone) {
    for (const auto account : rounds_.find(id)->second.held) memory_.heads.forget(account);
    settled_.push_back(id);
    drop(id);
  }
}

void CrossRounds::ask_log(RoundId id, Round& round, Effects& out) {
  if (round.is_asking) return;
  round.is_asking = true;
  out.emplace_back(AskDecision{id});
}

void CrossRounds::on(const DecisionRead& event, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end()) return;
  auto& round = found->second;
  round.is_asking = false;
  if (!event.is_commit || round.state != State::Prepared) return;  // the next scan asks again
  round.is_recovering = true;
  start_settling(event.round, round, *event.is_commit, out);
}

void CrossRounds::interrupt(Effects& out) {
  for (auto& [id, round] : rounds_) {
    if (round.request) {
      if (round.state == State::Reading) {
        out.emplace_back(
            Answer{*round.request, messages::ReserveReply(messages::RoundFailed{
                                       RoundFault::Starting, "the agent starts anew"})});
      } else {
        out.emplace_back(Answer{*round.request, messages::PrepareReply(messages::RoundUnknown{})});
      }
    }
    if (round.settle_request) {
      out.emplace_back(Answer{*round.settle_request, messages::SettleDone{SettleOutcome::Later}});
    }
  }
  rounds_.clear();
}

void CrossRounds::take_over(const std::vector<InDoubtRound>& in_doubt, Effects& out) {
  for (const auto& [id, accounts, leaving] : in_doubt) {
    auto& round = rounds_[id];
    round.state = State::Prepared;
    round.held = accounts;
    round.leaving.insert(leaving.begin(), leaving.end());
    round.prepared_at_scan = scans_;
    for (const auto account : accounts) {
      memory_.holds.take(account, id, HoldReason::InDoubt);
    }
    ask_log(id, round, out);
  }
}

}  // namespace koshel::agent
