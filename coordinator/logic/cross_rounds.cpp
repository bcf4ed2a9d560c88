#include "coordinator/logic/cross_rounds.hpp"

#include <algorithm>

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

const messages::Prepared* legs_of(const std::optional<Result<messages::PrepareReply>>& reply,
                                  std::size_t survivors) {
  if (!reply || !*reply) return nullptr;
  const auto* prepared = std::get_if<messages::Prepared>(&reply->value());
  return prepared != nullptr && prepared->legs.size() == survivors ? prepared : nullptr;
}

template <class Reply>
Setback setback_of_reply(const std::optional<Result<Reply>>& reply) {
  if (!reply || !*reply) return Setback::ShardFault;
  const auto* failed = std::get_if<RoundFailed>(&reply->value());
  return failed == nullptr ? Setback::ShardFault : setback_of(failed->fault);
}

// State is asked before limits, the payer before the payee.
const Refusal* graver(const Refusal* payer, const Refusal* payee) {
  if (payer == nullptr || payee == nullptr) return payer != nullptr ? payer : payee;
  return payee->code == RefusalCode::AccountFrozen && payer->code != RefusalCode::AccountFrozen
             ? payee
             : payer;
}

template <class What>
const What* find_vote(const std::vector<const messages::Vote*>& votes) {
  for (const auto* vote : votes) {
    if (const auto* found = std::get_if<What>(vote)) return found;
  }
  return nullptr;
}

}  // namespace

// What was agreed on, or null: the reply is missing, failed, or not of this round's size.
const messages::Reserved* CrossRounds::votes_of(
    const std::optional<Result<messages::ReserveReply>>& reply, std::size_t orders) {
  if (!reply || !*reply) return nullptr;
  const auto* reserved = std::get_if<messages::Reserved>(&reply->value());
  return reserved != nullptr && reserved->votes.size() == orders ? reserved : nullptr;
}

bool CrossRounds::start(const LaneId& lane, Sequence sequence, int orders_max, Instant now,
                        Effects& out) {
  auto orders = book_.take(lane, sequence, orders_max, now);
  if (orders.empty()) return false;
  auto& round = rounds_[sequence];
  round.lane = lane;
  round.started_at = now;
  round.orders = std::move(orders);
  round.participants.push_back(Participant{lane.first, {}, {}});
  if (lane.kind != LaneKind::Opening) {
    round.participants.push_back(Participant{lane.second, {}, {}});
  }
  for (const auto id : round.orders) {
    const auto accounts = accounts_of(book_.find(id, sequence)->order);
    round.accounts.insert(round.accounts.end(), accounts.begin(), accounts.end());
  }
  for (const auto& part : round.participants) {
    messages::Reserve reserve{round_id(sequence), {}};
    reserve.orders.reserve(round.orders.size());
    for (const auto id : round.orders) {
      reserve.orders.push_back(message_of(*book_.find(id, sequence), part.shard));
    }
    out.emplace_back(Send<messages::Reserve>{part.shard, sequence, std::move(reserve)});
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

// ---- reserve

void CrossRounds::on(const ReserveReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Reserving) return;
  auto& round = found->second;
  auto* part = participant(round, event.shard);
  if (part == nullptr) return;
  part->reserved = event.reply;
  if (std::ranges::all_of(round.participants,
                          [](const auto& p) { return p.reserved.has_value(); })) {
    judge_votes(event.round, round, now, out);
  }
}

void CrossRounds::judge_votes(Sequence id, Round& round, Instant now, Effects& out) {
  const auto failed = std::ranges::find_if(round.participants, [&](const auto& part) {
    return votes_of(part.reserved, round.orders.size()) == nullptr;
  });
  if (failed == round.participants.end()) {
    for (std::size_t place = 0; place < round.orders.size(); ++place) {
      if (judge_order(id, round, place, now, out)) {
        round.survivors.push_back(static_cast<std::int32_t>(place));
      }
    }
  } else {
    set_all_back(id, round, setback_of_reply(failed->reserved), now, out);
  }
  if (round.survivors.empty()) {
    release(id, round, out);
    return;
  }
  keep_survivors(id, round);
  if (round.lane.kind == LaneKind::Moving && hand_over(id, round, out)) return;
  send_prepares(id, round, out);
}

void CrossRounds::send_prepares(Sequence id, Round& round, Effects& out) {
  round.state = State::Preparing;
  for (const auto& part : round.participants) {
    messages::Prepare prepare{round_id(id), {}, round.survivors};
    prepare.epoch = votes_of(part.reserved, round.orders.size())->epoch;
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

void CrossRounds::set_all_back(Sequence id, const Round& round, Setback setback, Instant now,
                               Effects& out) {
  for (auto order = round.orders.rbegin(); order != round.orders.rend(); ++order) {
    if (book_.find(*order, id) != nullptr) book_.set_back(*order, setback, now, out);
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

// True if every vote is yes; else the order is answered or goes back.
bool CrossRounds::judge_order(Sequence id, Round& round, std::size_t place, Instant now,
                              Effects& out) {
  const auto order = round.orders[place];
  auto* entry = book_.find(order, id);
  if (entry == nullptr) return false;  // answered at its deadline: it must not commit any more
  std::vector<const messages::Vote*> votes;
  for (const auto& part : round.participants) {
    votes.push_back(&votes_of(part.reserved, round.orders.size())->votes[place]);
  }
  const auto* transfer = std::get_if<TransferOrder>(&entry->order);
  if (transfer != nullptr && transfer->to_shard == round.participants.front().shard) {
    std::ranges::reverse(votes);  // the payer's first
  }
  if (const auto* replayed = find_vote<messages::Replayed>(votes)) {
    book_.finish(order, Replayed{replayed->stored, entry->may_be_done}, out);
  } else if (find_vote<messages::KeyReused>(votes) != nullptr) {
    book_.finish(order, KeyReused{}, out);
  } else if (find_vote<messages::KeyInProgress>(votes) != nullptr) {
    book_.set_back(order, Setback::BusyInDoubt, now, out);
  } else if (const auto* moved = find_vote<messages::Moved>(votes)) {
    if (std::holds_alternative<MoveOrder>(entry->order)) {
      book_.finish(order, Failed{FailCode::Internal}, out);  // who ordered it knows too little
    } else {
      book_.await_route(order, moved->account, out);
    }
  } else if (find_vote<messages::Refused>(votes) != nullptr) {
    const auto refusal_in = [](const messages::Vote& vote) -> const Refusal* {
      const auto* refused = std::get_if<messages::Refused>(&vote);
      return refused == nullptr ? nullptr : &refused->refusal;
    };
    const auto refusal = *graver(refusal_in(*votes.front()), refusal_in(*votes.back()));
    if (transfer != nullptr && transfer->transfer.is_keyed) {
      book_.replace(order, RefusalOrder{{transfer->transfer, refusal}, transfer->from_shard});
    } else {
      book_.finish(order, Refused{refusal}, out);
    }
  } else if (const auto* busy = find_vote<messages::Busy>(votes)) {
    book_.set_back(order, busy->is_in_doubt ? Setback::BusyInDoubt : Setback::Busy, now, out);
  } else if (find_vote<messages::Retry>(votes) != nullptr) {
    book_.set_back(order, Setback::Retry, now, out);
  } else if (std::holds_alternative<MoveOrder>(entry->order) &&
             !std::holds_alternative<messages::Leaving>(*votes.front())) {
    book_.finish(order, Failed{FailCode::Internal},
                 out);  // the source does not say with which head
  } else {
    book_.set_stage(order, Stage::Sent);
    return true;
  }
  return false;
}

// The agents let go of the others' accounts with the prepare; so does the book.
void CrossRounds::keep_survivors(Sequence id, Round& round) {
  boost::unordered_flat_map<AccountId, bool, std::hash<AccountId>> needed;
  std::vector<AccountId> kept;
  for (const auto place : round.survivors) {
    const auto& order = book_.find(round.orders[static_cast<std::size_t>(place)], id)->order;
    if (const auto* open = std::get_if<OpenOrder>(&order)) {
      round.users.push_back({open->name, open->open.account, open->open.currency, open->shard});
    }
    if (const auto* move = std::get_if<MoveOrder>(&order)) {
      round.moving.push_back({move->move, move->account});
    }
    for (const auto account : accounts_of(order)) {
      if (needed.try_emplace(account, true).second) kept.push_back(account);
    }
  }
  std::erase_if(round.accounts, [&](AccountId account) { return needed.contains(account); });
  book_.release(id, round.accounts);
  round.accounts = std::move(kept);
}

// ---- prepare

void CrossRounds::on(const PrepareReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Preparing) return;
  auto& round = found->second;
  auto* part = participant(round, event.shard);
  if (part == nullptr) return;
  part->prepared = event.reply;
  if (std::ranges::all_of(round.participants,
                          [](const auto& p) { return p.prepared.has_value(); })) {
    judge_prepares(event.round, round, now, out);
  }
}

void CrossRounds::judge_prepares(Sequence id, Round& round, Instant now, Effects& out) {
  const auto failed = std::ranges::find_if(round.participants, [&](const auto& part) {
    return legs_of(part.prepared, round.survivors.size()) == nullptr;
  });
  if (failed == round.participants.end()) {
    decide(id, round, out);
    return;
  }
  const auto* reply = failed->prepared->has_value() ? &failed->prepared->value() : nullptr;
  const auto* refused = reply != nullptr ? std::get_if<RoundFailed>(reply) : nullptr;
  if (refused != nullptr && refused->fault == messages::RoundFault::Rejected) {
    out.emplace_back(Alarm{"a round was rejected by its shard: " + refused->detail});
    for (const auto place : round.survivors) {
      const auto order = round.orders[static_cast<std::size_t>(place)];
      auto* entry = book_.find(order, id);
      if (entry == nullptr) continue;
      if (round.survivors.size() == 1) {
        book_.finish(order, Failed{FailCode::Internal}, out);
      } else {
        entry->round_max = static_cast<int>(round.survivors.size() + 1) / 2;
      }
    }
  }
  abort(id, setback_of_reply(failed->prepared), now, out);
}

// ---- settle

void CrossRounds::commit(Sequence id, Round& round, Instant now, Effects& out) {
  round.state = State::Settling;
  round.decided_at = now;
  round.answer_by = now + limits_.settle_wait;
  for (const auto place : round.survivors) {
    const auto order = round.orders[static_cast<std::size_t>(place)];
    if (const auto* entry = book_.find(order, id)) {
      round.answer_by = std::min(round.answer_by, entry->deadline);
      book_.set_stage(order, Stage::Decided);
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
  }
  if (std::ranges::all_of(round.participants, &Participant::is_settled)) {
    // A half that is lost is an alarm, not a success: its clients are told no more than is decided.
    const bool is_whole = std::ranges::all_of(round.participants, &Participant::is_confirmed);
    answer_committed(event.round, round, is_whole, out);
    end_committed(event.round, now);
  }
}

void CrossRounds::answer_committed(Sequence id, Round& round, bool is_settled, Effects& out) {
  for (std::size_t i = 0; i < round.survivors.size(); ++i) {
    const auto order = round.orders[static_cast<std::size_t>(round.survivors[i])];
    const auto* entry = book_.find(order, id);
    if (entry == nullptr) continue;
    const auto leg = [&](ShardId shard) {
      return legs_of(participant(round, shard)->prepared, round.survivors.size())->legs[i];
    };
    if (const auto* transfer = std::get_if<TransferOrder>(&entry->order)) {
      const auto from = leg(transfer->from_shard);
      const auto to = leg(transfer->to_shard);
      const auto at =
          legs_of(participant(round, transfer->from_shard)->prepared, round.survivors.size())->at;
      book_.finish(order,
                   is_settled ? Outcome(Committed{from, to, at}) : Outcome(Settling{from, to, at}),
                   out);
    } else if (const auto* move = std::get_if<MoveOrder>(&entry->order)) {
      book_.finish(order, CutOver{leg(move->target)}, out);
    } else {
      book_.finish(order, Opened{leg(std::get<OpenOrder>(entry->order).shard)}, out);
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
  for (auto& [id, round] : rounds_) {
    if (round.state == State::Settling && now >= round.answer_by && !round.is_answered) {
      round.is_answered = true;
      answer_committed(id, round, false, out);
    }
    if (round.state == State::Settling && now >= round.decided_at + limits_.settle_wait) {
      over.push_back(id);  // the agents carry it out
    } else if (now >= round.again_at) {
      repeat(id, round, out);
    }
  }
  for (const auto id : over) end_committed(id, now);
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
    pauses_.add(now - round.started_at, static_cast<std::int64_t>(round.survivors.size()));
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
  ended_.push_back(found->second.lane);
  rounds_.erase(found);
}

}  // namespace koshel::coordinator
