// CrossRounds, fourth part: accounts that move to another shard.

#include "coordinator/logic/cross_rounds.hpp"

namespace koshel::coordinator {

// The heads of the survivors, as their source has voted with them.
std::vector<Head> CrossRounds::leaving_heads(Round& round) {
  const auto& source = *participant(round, round.lane.first);
  const auto& votes = votes_of(source)->votes;
  std::vector<Head> heads;
  for (const auto place : source.survivors) {
    heads.push_back(std::get<messages::Leaving>(votes[static_cast<std::size_t>(place)]).head);
  }
  return heads;
}

// False: the target has everything already.
bool CrossRounds::hand_over(Sequence id, Round& round, Effects& out) {
  const auto heads = leaving_heads(round);
  HandOver effect{id, round.lane.first, round.lane.second, {}};
  for (std::size_t i = 0; i < round.orders.size(); ++i) {
    const auto& move = std::get<MoveOrder>(book_.find(round.orders[i].id, id)->order);
    if (move.copied < heads[i].version) {
      effect.parts.push_back({move.move, {move.account, move.copied}});
    }
  }
  if (effect.parts.empty()) return false;
  round.state = State::HandingOver;
  out.emplace_back(std::move(effect));
  return true;
}

void CrossRounds::on(const HandedOver& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::HandingOver) return;
  auto& round = found->second;
  if (event.done) {
    send_prepares(event.round, round, now, out);
    return;
  }
  set_all_back(event.round, round, Setback::ShardFault, now, out);
  release(event.round, round, out);
}

void CrossRounds::move_users(Sequence id, Round& round, Effects& out) {
  out.emplace_back(MoveUsers{id, shards(round), round.lane.first, round.lane.second, round.moving});
}

void CrossRounds::on(const UsersMoved& event, Instant now, Effects& out) {
  auto* round = find_deciding(event.round);
  if (round == nullptr) return;
  if (!event.outcome) {
    lose_decision(event.round, *round, event.outcome.error(), now, out);
    return;
  }
  switch (event.outcome.value()) {
    case MoveUsersOutcome::Moved:
      commit(event.round, *round, now, out);
      return;
    case MoveUsersOutcome::Decided:
      abort(event.round, Setback::Retry, now, out);
      return;
    case MoveUsersOutcome::NotAsBelieved:
      for (const auto& [order, seats] : round->orders) {
        if (book_.find(order, event.round) == nullptr) continue;
        book_.finish(order, Failed{FailCode::Internal}, out);
      }
      abort(event.round, Setback::Retry, now, out);
      return;
  }
}

}  // namespace koshel::coordinator
