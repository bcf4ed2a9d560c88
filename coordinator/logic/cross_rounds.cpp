#include "coordinator/logic/cross_rounds.hpp"

#include <algorithm>
#include <map>

#include "base/invariant.hpp"

namespace koshel::coordinator {

using messages::RoundFailed;
using messages::Side;

namespace {

// The order as `shard` is told of it.
messages::ReserveOrder message_of(const OrderBook::Entry& entry, ShardId shard) {
  messages::ReserveOrder order;
  order.times_busy = entry.times_busy;
  if (const auto* transfer = std::get_if<TransferOrder>(&entry.order)) {
    const auto side = transfer->from_shard == shard ? Side::Payer : Side::Payee;
    order.what = messages::Leg{transfer->transfer, side};
  } else if (const auto* move = std::get_if<MoveOrder>(&entry.order)) {
    if (shard == move->source) {
      order.what = messages::Depart{move->account, move->move};
    } else {
      order.what = messages::Arrive{move->account, move->move};
    }
  } else {
    order.what = std::get<OpenOrder>(entry.order).open;
  }
  return order;
}

}  // namespace

bool CrossRounds::start(const LaneId& lane, Sequence sequence, int orders_max, Instant now,
                        Effects& out) {
  const auto orders = book_.take(lane, sequence, orders_max, now);
  if (orders.empty()) return false;
  auto& round = rounds_[sequence];
  round.lane = lane;
  round.started_at = round.asked_at = now;
  std::map<ShardId, messages::Reserve> reserves;
  for (const auto id : orders) {
    for (const auto shard : shards_of(book_.find(id, sequence)->order)) reserves[shard];
  }
  for (auto& [shard, reserve] : reserves) {
    reserve.round = round_id(sequence);
    round.participants.push_back({shard});
  }
  for (const auto id : orders) {
    const auto& entry = *book_.find(id, sequence);
    auto& order = round.orders.emplace_back(RoundOrder{id});
    for (const auto shard : shards_of(entry.order)) {
      auto* told = participant(round, shard);
      const auto place = static_cast<std::size_t>(told - round.participants.data());
      order.seats.push_back({place, told->orders++});
      reserves[shard].orders.push_back(message_of(entry, shard));
    }
    const auto accounts = accounts_of(entry.order);
    round.accounts.insert(round.accounts.end(), accounts.begin(), accounts.end());
  }
  for (auto& [shard, reserve] : reserves) {
    out.emplace_back(Send<messages::Reserve>{shard, sequence, std::move(reserve)});
  }
  return true;
}

CrossRounds::Participant* CrossRounds::participant(Round& round, ShardId shard) {
  const auto found = std::ranges::find(round.participants, shard, &Participant::shard);
  return found == round.participants.end() ? nullptr : &*found;
}

std::vector<ShardId> CrossRounds::shards(const Round& round) const {
  std::vector<ShardId> shards;
  for (const auto& part : round.participants) shards.push_back(part.shard);
  return shards;
}

// ---- prepare

void CrossRounds::send_prepares(Sequence id, Round& round, Instant now, Effects& out) {
  round.state = State::Preparing;
  round.asked_at = now;
  for (const auto& part : round.participants) {
    messages::Prepare prepare{round_id(id), votes_of(part)->epoch, part.survivors};
    const bool is_target = round.lane.kind == LaneKind::Moving && part.shard == round.lane.second;
    if (is_target) prepare.arriving = leaving_heads(round);
    out.emplace_back(Send<messages::Prepare>{part.shard, id, std::move(prepare)});
  }
}

void CrossRounds::release(Sequence id, const Round& round, Effects& out) {
  for (const auto& part : round.participants) {
    out.emplace_back(Send<messages::Release>{part.shard, id, {round_id(id)}});
  }
  end(id);
}

void CrossRounds::set_back(Sequence id, const RoundOrder& order, Setback setback, Instant now,
                           Effects& out) {
  if (book_.find(order.id, id) != nullptr) book_.set_back(order.id, setback, now, out);
}

void CrossRounds::set_all_back(Sequence id, const Round& round, Setback setback, Instant now,
                               Effects& out) {
  // The oldest to the front.
  for (auto order = round.orders.rbegin(); order != round.orders.rend(); ++order) {
    set_back(id, *order, setback, now, out);
  }
}

// Why a participant stands in the way of its orders, as of what it was asked; nullopt: it does not.
std::optional<Setback> CrossRounds::fault_of(const Round& round, const Participant& participant) {
  if (round.state == State::Reserving) {
    if (votes_of(participant) != nullptr) return std::nullopt;
    return setback_of_reply(participant.reserved);
  }
  if (legs_of(participant) != nullptr) return std::nullopt;
  return setback_of_reply(participant.prepared);
}

// The orders of participants that failed; the others are not touched.
void CrossRounds::set_faulty_back(Sequence id, const Round& round, Instant now, Effects& out) {
  for (auto order = round.orders.rbegin(); order != round.orders.rend(); ++order) {
    for (const auto& seat : order->seats) {
      const auto fault = fault_of(round, round.participants[seat.participant]);
      if (fault) set_back(id, *order, *fault, now, out);  // once: it is in the round no more
    }
  }
}

void CrossRounds::give_up_reserving(Setback setback, Instant now, Effects& out) {
  std::vector<Sequence> reserving;
  for (const auto& [id, round] : rounds_) {
    if (round.state == State::Reserving) reserving.push_back(id);
  }
  std::ranges::sort(reserving);
  for (const auto id : reserving) {
    const auto& round = rounds_.at(id);
    set_all_back(id, round, setback, now, out);
    release(id, round, out);
  }
}

void CrossRounds::on(const PrepareReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Preparing) return;
  auto& round = found->second;
  auto* part = participant(round, event.shard);
  if (part == nullptr) return;
  part->prepared = event.reply;
  if (legs_of(*part) == nullptr) book_.suspect(event.shard, now);
  if (std::ranges::all_of(round.participants,
                          [](const auto& p) { return p.prepared.has_value(); })) {
    judge_prepares(event.round, round, now, out);
  }
}

// What each participant will have brought the survivors, or null, as of votes_of().
const messages::Prepared* CrossRounds::legs_of(const Participant& participant) {
  if (!participant.prepared || !*participant.prepared) return nullptr;
  const auto* prepared = std::get_if<messages::Prepared>(&participant.prepared->value());
  return prepared != nullptr && prepared->legs.size() == participant.survivors.size() ? prepared
                                                                                      : nullptr;
}

void CrossRounds::judge_prepares(Sequence id, Round& round, Instant now, Effects& out) {
  bool is_prepared = true;
  for (const auto& participant : round.participants) {
    if (legs_of(participant) != nullptr) continue;
    is_prepared = false;
    blame(id, round, participant, out);
  }
  if (is_prepared) {
    decide(id, round, out);
    return;
  }
  set_faulty_back(id, round, now, out);
  abort(id, Setback::Retry, now, out);
}

// Where the database has refused what it was to write, smaller rounds find the order that it is.
void CrossRounds::blame(Sequence id, Round& round, const Participant& participant, Effects& out) {
  if (!participant.prepared || !*participant.prepared) return;
  const auto* failed = std::get_if<RoundFailed>(&participant.prepared->value());
  if (failed == nullptr || failed->fault != messages::RoundFault::Rejected) return;
  out.emplace_back(Alarm{"a round was rejected by its shard: " + failed->detail});
  const auto survivors = participant.survivors.size();
  for (const auto& order : round.orders) {
    const bool is_told = std::ranges::any_of(order.seats, [&](const Seat& seat) {
      return &round.participants[seat.participant] == &participant;
    });
    auto* entry = is_told ? book_.find(order.id, id) : nullptr;
    if (entry == nullptr) continue;
    if (survivors == 1) {
      book_.finish(order.id, Failed{FailCode::Internal}, out);
    } else {
      entry->round_max = static_cast<int>(survivors + 1) / 2;
    }
  }
}

bool CrossRounds::is_silent(const Round& round, const Participant& participant) {
  switch (round.state) {
    case State::Reserving:
      return !participant.reserved;
    case State::Preparing:
      return !participant.prepared;
    case State::Settling:
      return !participant.is_settled;
    case State::HandingOver:
    case State::Deciding:
    case State::Asking:
    case State::ReadingNames:
      return false;
  }
  std::abort();
}

// Who is silent for so long is left out, and what touches it waits for it alone.
void CrossRounds::lose_patience(Sequence id, Instant now, Effects& out) {
  auto& round = rounds_.at(id);
  round.is_late = false;
  round.asked_at = now;
  for (const auto& part : round.participants) {
    if (is_silent(round, part)) book_.suspect(part.shard, now);
  }
  const bool keeps_others = std::ranges::any_of(round.orders, [&](const RoundOrder& order) {
    return std::ranges::none_of(order.seats, [&](const Seat& seat) {
      return is_silent(round, round.participants[seat.participant]);
    });
  });
  if (round.state == State::Reserving && keeps_others) {
    judge_votes(id, round, now, out);
  } else if (round.state == State::Preparing && keeps_others) {
    judge_prepares(id, round, now, out);
  } else {
    leave_lane(round);
  }
}

// It goes on, and the lane counts it as ended.
void CrossRounds::leave_lane(Round& round) {
  if (round.has_left_lane) return;
  round.has_left_lane = true;
  ended_.push_back(round.lane);
}

// ---- settle

void CrossRounds::commit(Sequence id, Round& round, Instant now, Effects& out) {
  round.state = State::Settling;
  round.decided_at = round.asked_at = now;
  round.answer_by = Instant::max();
  for (const auto& order : round.orders) {
    if (const auto* entry = book_.find(order.id, id)) {
      round.answer_by = std::min(round.answer_by, entry->deadline);
      book_.set_stage(order.id, Stage::Decided);
    }
  }
  send_settles(id, round, true, out);
}

void CrossRounds::send_settles(Sequence id, Round& round, bool is_commit, Effects& out) {
  round.again_at = Instant::max();
  for (auto& part : round.participants) {
    if (part.is_settled || part.is_settling) continue;
    part.is_settling = true;
    out.emplace_back(
        Send<messages::Settle>{part.shard, id, messages::Settle{round_id(id), is_commit}});
  }
}

void CrossRounds::on(const SettleReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Settling) return;
  auto& round = found->second;
  auto* part = participant(round, event.shard);
  if (part == nullptr) return;
  part->is_settling = false;
  if (event.reply && event.reply.value().outcome != messages::SettleOutcome::Later) {
    part->is_settled = true;  // one that lost its half is asked again by the log's keeper
    part->is_confirmed = event.reply.value().outcome == messages::SettleOutcome::Settled;
  } else {
    round.again_at = now + kAgainPause;
    book_.suspect(event.shard, now);
  }
  if (part->is_confirmed) book_.trust(part->shard, round.started_at);
  answer_settled(event.round, round, out);
  if (std::ranges::all_of(round.participants, &Participant::is_settled)) {
    // A half that is lost is an alarm, not a success: its clients are told no more than is decided.
    answer_committed(event.round, round, false, out);
    end_committed(event.round, now);
  }
}

// Those whose every shard has carried it out.
void CrossRounds::answer_settled(Sequence id, Round& round, Effects& out) {
  for (const auto& order : round.orders) {
    const bool is_settled = std::ranges::all_of(order.seats, [&](const Seat& seat) {
      return round.participants[seat.participant].is_confirmed;
    });
    if (is_settled) answer_committed(id, round, order, true, out);
  }
}

// All that have no answer yet.
void CrossRounds::answer_committed(Sequence id, Round& round, bool is_settled, Effects& out) {
  for (const auto& order : round.orders) answer_committed(id, round, order, is_settled, out);
}

void CrossRounds::answer_committed(Sequence id, const Round& round, const RoundOrder& order,
                                   bool is_settled, Effects& out) {
  const auto* entry = book_.find(order.id, id);
  if (entry == nullptr) return;
  const auto prepared = [&](const Seat& seat) -> const messages::Prepared& {
    return *legs_of(round.participants[seat.participant]);
  };
  const auto& first = order.seats.front();
  const auto& last = order.seats.back();
  const auto& leg = prepared(first).legs[first.place];
  const auto& last_leg = prepared(last).legs[last.place];
  if (std::holds_alternative<TransferOrder>(entry->order)) {
    const auto at = prepared(first).at;
    book_.finish(
        order.id,
        is_settled ? Outcome(Committed{leg, last_leg, at}) : Outcome(Settling{leg, last_leg, at}),
        out);
  } else if (std::holds_alternative<MoveOrder>(entry->order)) {
    book_.finish(order.id, CutOver{last_leg}, out);
  } else {
    book_.finish(order.id, Opened{leg}, out);
  }
}

// A client whose deadline comes first is told that its transfer is settling.
void CrossRounds::answer_late(Sequence id, Round& round, Instant now, Effects& out) {
  round.answer_by = Instant::max();
  for (const auto& order : round.orders) {
    const auto* entry = book_.find(order.id, id);
    if (entry == nullptr) continue;
    if (entry->deadline <= now) {
      answer_committed(id, round, order, false, out);
    } else {
      round.answer_by = std::min(round.answer_by, entry->deadline);
    }
  }
}

// Nobody decided to commit and nobody can any more: this coordinator alone might have.
void CrossRounds::abort(Sequence id, Setback setback, Instant now, Effects& out) {
  auto& round = rounds_.at(id);
  send_settles(id, round, false, out);
  set_all_back(id, round, setback, now, out);
  end(id);
}

void CrossRounds::tick(Instant now, Effects& out) {
  std::vector<Sequence> over;
  std::vector<Sequence> impatient;
  for (auto& [id, round] : rounds_) {
    const bool is_settling = round.state == State::Settling;
    if (is_settling && now >= round.decided_at + limits_.settle_wait) {
      over.push_back(id);  // the agents carry it out
    } else if (is_impatient(round, now)) {
      impatient.push_back(id);
    } else if (now >= round.again_at) {
      repeat(id, round, out);
    }
    if (is_settling && now >= round.answer_by) answer_late(id, round, now, out);
  }
  std::ranges::sort(over);
  for (const auto id : over) end_settling(id, now, out);
  std::ranges::sort(impatient);
  for (const auto id : impatient) lose_patience(id, now, out);
}

// Only where others wait for a shard that is silent. What has come while this process itself stood
// still is read between two ticks.
bool CrossRounds::is_impatient(Round& round, Instant now) const {
  const bool is_late = round.lane == kCrossLane && now - round.asked_at >= limits_.shard_patience &&
                       std::ranges::any_of(round.participants, [&](const Participant& part) {
                         return is_silent(round, part);
                       });
  return std::exchange(round.is_late, is_late) && is_late;
}

void CrossRounds::end_settling(Sequence id, Instant now, Effects& out) {
  auto& round = rounds_.at(id);
  answer_committed(id, round, false, out);
  for (const auto& part : round.participants) {
    if (!part.is_settled) book_.suspect(part.shard, now);
  }
  end_committed(id, now);
}

void CrossRounds::repeat(Sequence id, Round& round, Effects& out) {
  round.again_at = Instant::max();
  switch (round.state) {
    case State::Deciding:
      ask_log(id, round, out);
      return;
    case State::Asking:
      out.emplace_back(
          Send<messages::AskRound>{round.participants.front().shard, id, {round_id(id)}});
      return;
    case State::Settling:
      send_settles(id, round, true, out);
      return;
    case State::Reserving:
    case State::HandingOver:
    case State::Preparing:
    case State::ReadingNames:
      return;
  }
}

void CrossRounds::end_committed(Sequence id, Instant now) {
  const auto& round = rounds_.at(id);
  if (round.lane.kind == LaneKind::Moving) {
    pauses_.add(now - round.started_at, static_cast<std::int64_t>(round.orders.size()));
  }
  std::vector<ShardId> unconfirmed;
  for (const auto& part : round.participants) {
    if (!part.is_confirmed) unconfirmed.push_back(part.shard);
  }
  log_.adopt(round_id(id), unconfirmed);
  end(id);
}

Sequence CrossRounds::finished(Sequence last) const {
  for (const auto& [id, round] : rounds_) last = std::min(last, Sequence(id.value() - 1));
  return last;
}

void CrossRounds::end(Sequence id) {
  const auto found = rounds_.find(id);
  INVARIANT(found != rounds_.end());
  book_.release(id, found->second.accounts);
  book_.end(id);
  if (!found->second.has_left_lane) ended_.push_back(found->second.lane);
  rounds_.erase(found);
}

}  // namespace koshel::coordinator
