// CrossRounds, third part: accounts that come to this shard and go from it.

#include <algorithm>

#include "shard-agent/logic/cross_rounds.hpp"

namespace koshel::agent {

// Where accounts arrive, and only there, the prepare brings the heads that the source has voted
// with.
bool CrossRounds::is_told_heads(const Round& round, const messages::Prepare& prepare) {
  const bool is_arrival = std::holds_alternative<messages::Arrive>(round.slots.front().order.what);
  if (prepare.arriving.size() != (is_arrival ? prepare.survivors.size() : 0)) return false;
  return std::ranges::none_of(prepare.arriving, [](const Head& head) {
    return check_limits({}, head.balance, head.min_balance, head.max_balance).has_value();
  });
}

void CrossRounds::build_move(Round& round, const Slot& slot, const Head* arriving,
                             PrepareRound& effect) {
  if (const auto* arrive = std::get_if<messages::Arrive>(&slot.order.what)) {
    effect.arriving.push_back(
        {arrive->move, arrive->account, arriving->currency, arriving->version});
    round.draft.know(arrive->account, *arriving);
    return;
  }
  const auto& depart = std::get<messages::Depart>(slot.order.what);
  const auto& head = *round.draft.head(depart.account);
  effect.departing.push_back({depart.move, depart.account, head.currency, head.version});
}

bool CrossRounds::may_have_left(RoundId id, AccountId account) const {
  const auto found = rounds_.find(id);
  if (found == rounds_.end() || !found->second.leaving.contains(account)) return false;
  return found->second.state != State::Reading && found->second.state != State::Reserved;
}

}  // namespace koshel::agent
