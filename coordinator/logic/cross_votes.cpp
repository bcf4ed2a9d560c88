// CrossRounds, second part: the votes upon a round's orders and what follows from them.

#include <algorithm>

#include "coordinator/logic/cross_rounds.hpp"

namespace koshel::coordinator {

namespace {

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

// What was agreed on, or null: the reply is missing, failed, or not about what was asked.
const messages::Reserved* CrossRounds::votes_of(const Participant& participant) {
  if (!participant.reserved || !*participant.reserved) return nullptr;
  const auto* reserved = std::get_if<messages::Reserved>(&participant.reserved->value());
  return reserved != nullptr && reserved->votes.size() == participant.orders ? reserved : nullptr;
}

void CrossRounds::on(const ReserveReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Reserving) return;
  auto& round = found->second;
  auto* part = participant(round, event.shard);
  if (part == nullptr) return;
  part->reserved = event.reply;
  if (votes_of(*part) == nullptr) book_.suspect(event.shard, now);
  if (std::ranges::all_of(round.participants,
                          [](const auto& p) { return p.reserved.has_value(); })) {
    judge_votes(event.round, round, now, out);
  }
}

void CrossRounds::judge_votes(Sequence id, Round& round, Instant now, Effects& out) {
  set_faulty_back(id, round, now, out);
  std::erase_if(round.orders,
                [&](const RoundOrder& order) { return !judge_order(id, round, order, now, out); });
  if (round.orders.empty()) {
    release(id, round, out);
    return;
  }
  take_seats(round);
  drop_participants(id, round, out);
  keep_survivors(id, round);
  if (round.lane.kind == LaneKind::Moving && hand_over(id, round, out)) return;
  send_prepares(id, round, now, out);
}

// True if every vote is yes; else the order is answered or goes back.
bool CrossRounds::judge_order(Sequence id, Round& round, const RoundOrder& order, Instant now,
                              Effects& out) {
  auto* entry = book_.find(order.id, id);
  if (entry == nullptr) return false;  // answered at its deadline: it must not commit any more
  std::vector<const messages::Vote*> votes;
  for (const auto& seat : order.seats) {
    votes.push_back(&votes_of(round.participants[seat.participant])->votes[seat.place]);
  }
  if (const auto* replayed = find_vote<messages::Replayed>(votes)) {
    book_.finish(order.id, Replayed{replayed->stored, entry->may_be_done}, out);
  } else if (find_vote<messages::KeyReused>(votes) != nullptr) {
    book_.finish(order.id, KeyReused{}, out);
  } else if (find_vote<messages::KeyInProgress>(votes) != nullptr) {
    book_.set_back(order.id, Setback::BusyInDoubt, now, out);
  } else if (const auto* moved = find_vote<messages::Moved>(votes)) {
    if (std::holds_alternative<MoveOrder>(entry->order)) {
      book_.finish(order.id, Failed{FailCode::Internal}, out);  // who ordered it knows too little
    } else {
      book_.await_route(order.id, moved->account, out);
    }
  } else if (find_vote<messages::Refused>(votes) != nullptr) {
    const auto refusal_in = [](const messages::Vote& vote) -> const Refusal* {
      const auto* refused = std::get_if<messages::Refused>(&vote);
      return refused == nullptr ? nullptr : &refused->refusal;
    };
    const auto refusal = *graver(refusal_in(*votes.front()), refusal_in(*votes.back()));
    const auto* transfer = std::get_if<TransferOrder>(&entry->order);
    if (transfer != nullptr && transfer->transfer.is_keyed) {
      book_.replace(order.id, RefusalOrder{{transfer->transfer, refusal}, transfer->from_shard});
    } else {
      book_.finish(order.id, Refused{refusal}, out);
    }
  } else if (const auto* busy = find_vote<messages::Busy>(votes)) {
    book_.set_back(order.id, busy->is_in_doubt ? Setback::BusyInDoubt : Setback::Busy, now, out);
  } else if (find_vote<messages::Retry>(votes) != nullptr) {
    book_.set_back(order.id, Setback::Retry, now, out);
  } else if (std::holds_alternative<MoveOrder>(entry->order) &&
             !std::holds_alternative<messages::Leaving>(*votes.front())) {
    // The source does not say with which head.
    book_.finish(order.id, Failed{FailCode::Internal}, out);
  } else {
    book_.set_stage(order.id, Stage::Sent);
    return true;
  }
  return false;
}

// From here on the round's orders are the survivors, and seats are among these.
void CrossRounds::take_seats(Round& round) {
  for (auto& order : round.orders) {
    for (auto& seat : order.seats) {
      auto& survivors = round.participants[seat.participant].survivors;
      survivors.push_back(static_cast<std::int32_t>(std::exchange(seat.place, survivors.size())));
    }
  }
}

// Who has nothing to prepare takes no part any more.
void CrossRounds::drop_participants(Sequence id, Round& round, Effects& out) {
  std::vector<std::size_t> places;  // by their old ones
  std::vector<Participant> kept;
  for (auto& participant : round.participants) {
    places.push_back(kept.size());
    if (participant.survivors.empty()) {
      out.emplace_back(Send<messages::Release>{participant.shard, id, {round_id(id)}});
    } else {
      kept.push_back(std::move(participant));
    }
  }
  round.participants = std::move(kept);
  for (auto& order : round.orders) {
    for (auto& seat : order.seats) seat.participant = places[seat.participant];
  }
}

// The agents let go of the others' accounts with the prepare; so does the book.
void CrossRounds::keep_survivors(Sequence id, Round& round) {
  boost::unordered_flat_map<AccountId, bool, std::hash<AccountId>> needed;
  std::vector<AccountId> kept;
  for (const auto& order : round.orders) {
    const auto& what = book_.find(order.id, id)->order;
    if (const auto* open = std::get_if<OpenOrder>(&what)) {
      round.users.push_back({open->name, open->open.account, open->open.currency, open->shard});
    }
    if (const auto* move = std::get_if<MoveOrder>(&what)) {
      round.moving.push_back({move->move, move->account});
    }
    for (const auto account : accounts_of(what)) {
      if (needed.try_emplace(account, true).second) kept.push_back(account);
    }
  }
  std::erase_if(round.accounts, [&](AccountId account) { return needed.contains(account); });
  book_.release(id, round.accounts);
  round.accounts = std::move(kept);
}

}  // namespace koshel::coordinator
