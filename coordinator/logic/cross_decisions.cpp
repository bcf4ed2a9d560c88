// CrossRounds, third part: the question to the decision log and what follows from its answer.

#include <algorithm>

#include "coordinator/logic/cross_rounds.hpp"

namespace koshel::coordinator {

void CrossRounds::decide(Sequence id, Round& round, Effects& out) {
  round.state = State::Deciding;
  if (round.lane.kind == LaneKind::Opening) {
    out.emplace_back(CreateUsers{id, shards(round), round.users});
  } else if (round.lane.kind == LaneKind::Moving) {
    move_users(id, round, out);
  } else {
    out.emplace_back(Decide{id, Decision::Commit, shards(round)});
  }
}

void CrossRounds::ask_log(Sequence id, Round& round, Effects& out) {
  round.again_at = Instant::max();
  out.emplace_back(Decide{id, Decision::Abort, {}});
}

CrossRounds::Round* CrossRounds::find_deciding(Sequence id) {
  const auto found = rounds_.find(id);
  const bool is_deciding = found != rounds_.end() && found->second.state == State::Deciding;
  return is_deciding ? &found->second : nullptr;
}

// What was to commit the round failed: it did not, or the log knows.
void CrossRounds::lose_decision(Sequence id, Round& round, const Error& error, Instant now,
                                Effects& out) {
  if (error.fault == Fault::InDoubt) {
    round.is_in_doubt = true;
    ask_log(id, round, out);
  } else {
    abort(id, Setback::DirectoryFault, now, out);
  }
}

void CrossRounds::on(const Decided& event, Instant now, Effects& out) {
  auto* deciding = find_deciding(event.round);
  if (deciding == nullptr) return;
  auto& round = *deciding;
  if (!event.decision) {
    const bool was_never_asked = event.decision.error().fault != Fault::InDoubt;
    if (was_never_asked && !round.is_in_doubt) {
      abort(event.round, Setback::DirectoryFault, now, out);
    } else {
      round.is_in_doubt = true;
      round.again_at = now + kAgainPause;  // what stands is found out before anything is said
    }
    return;
  }
  switch (event.decision.value()) {
    case Decision::Commit:
      commit(event.round, round, now, out);
      return;
    case Decision::Abort:
      abort(event.round, Setback::Retry, now, out);
      return;
    case Decision::Fenced:
      round.state = State::Asking;
      out.emplace_back(Send<messages::AskRound>{
          round.participants.front().shard, event.round, {round_id(event.round)}});
      return;
  }
}

void CrossRounds::on(const UsersCreated& event, Instant now, Effects& out) {
  auto* round = find_deciding(event.round);
  if (round == nullptr) return;
  if (!event.outcome) {
    lose_decision(event.round, *round, event.outcome.error(), now, out);
    return;
  }
  switch (event.outcome.value()) {
    case CreateUsersOutcome::Created:
      commit(event.round, *round, now, out);
      return;
    case CreateUsersOutcome::Decided:
      abort(event.round, Setback::Retry, now, out);
      return;
    case CreateUsersOutcome::ShardClosed:
      abort(event.round, Setback::ShardFault, now, out);
      return;
    case CreateUsersOutcome::NameTaken: {
      round->state = State::ReadingNames;  // nothing of it can commit any more
      for (const auto& order : round->orders) {
        if (book_.find(order.id, event.round) == nullptr) continue;
        book_.set_stage(order.id, Stage::Reserving);
      }
      send_settles(event.round, *round, false, out);
      ReadNames read{event.round, {}};
      for (const auto& user : round->users) read.names.push_back(user.name);
      out.emplace_back(std::move(read));
      return;
    }
  }
}

void CrossRounds::on(const NamesRead& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::ReadingNames) return;
  for (const auto& [order, seats] : found->second.orders) {
    const auto* entry = book_.find(order, event.round);
    if (entry == nullptr) continue;
    if (!event.existing) {
      book_.set_back(order, Setback::DirectoryFault, now, out);
    } else if (std::ranges::count(event.existing.value(), std::get<OpenOrder>(entry->order).name)) {
      book_.finish(order, NameTaken{}, out);
    } else {
      book_.set_back(order, Setback::Busy, now, out);
    }
  }
  end(event.round);
}

void CrossRounds::on(const AskReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Asking) return;
  if (!event.reply) {
    found->second.again_at = now + kAgainPause;
    return;
  }
  switch (event.reply.value().outcome) {
    case messages::AskRoundOutcome::Applied:
      commit(event.round, found->second, now, out);
      return;
    case messages::AskRoundOutcome::NotApplied:
      abort(event.round, Setback::Retry, now, out);
      return;
    case messages::AskRoundOutcome::Over:
      end_unknown(event.round, out);
      return;
  }
}

// Others have settled the round and forgotten how. Its clients can ask by key or id.
void CrossRounds::end_unknown(Sequence id, Effects& out) {
  for (const auto& [order, seats] : rounds_.at(id).orders) {
    if (book_.find(order, id) != nullptr) {
      book_.finish(order, Failed{FailCode::OutcomeUnknown}, out);
    }
  }
  end(id);
}

}  // namespace koshel::coordinator
