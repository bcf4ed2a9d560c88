#include "shard-agent/logic/local_rounds.hpp"

#include <algorithm>

#include "base/invariant.hpp"
#include "shard-agent/logic/local_evaluation.hpp"

namespace koshel::agent {

using messages::LocalReply;
using messages::RoundFault;

namespace {

// The order's name across its tries: of a limit change, the account itself.
TransferId claim_of(const messages::LocalOrder& order) {
  if (const auto* transfer = std::get_if<Transfer>(&order.what)) return transfer->id;
  if (const auto* remember = std::get_if<messages::RememberRefusal>(&order.what)) {
    return remember->transfer.id;
  }
  return TransferId(std::get<messages::LimitChange>(order.what).account, {});
}

const Transfer* keyed_transfer_of(const messages::LocalOrder& order) {
  const auto* transfer = std::get_if<Transfer>(&order.what);
  if (const auto* remember = std::get_if<messages::RememberRefusal>(&order.what)) {
    transfer = &remember->transfer;
  }
  return transfer != nullptr && transfer->is_keyed ? transfer : nullptr;
}

}  // namespace

void LocalRounds::start(Asked<messages::LocalRound> asked, const Now& now, Effects& out) {
  const auto id = asked.message.round;
  auto& round = rounds_[id];
  round.request = asked.request;
  round.slots.reserve(asked.message.orders.size());
  round.held.reserve(asked.message.orders.size() * 2);
  for (auto& order : asked.message.orders) {
    admit(id, round, round.slots.emplace_back(Slot{std::move(order), std::nullopt, false}),
          now.steady);
  }
  read(id, round, now, out);
}

void LocalRounds::turn_away(Slot& slot, messages::LocalAnswer answer) {
  slot.answer = std::move(answer);
  slot.is_turned_away = true;
}

// Takes the order's accounts, or answers it at once. A general @world side becomes a free account
// of it.
void LocalRounds::admit(RoundId id, Round& round, Slot& slot, Instant now) {
  const Holds::Request request{id, claim_of(slot.order), slot.order.times_busy};
  AccountId* sides[2] = {nullptr, nullptr};
  AccountId own;
  if (auto* transfer = std::get_if<Transfer>(&slot.order.what)) {
    sides[0] = &transfer->from;
    sides[1] = &transfer->to;
  } else {
    const auto* change = std::get_if<messages::LimitChange>(&slot.order.what);
    own = change != nullptr
              ? change->account
              : anchor_of(std::get<messages::RememberRefusal>(slot.order.what).transfer);
    sides[0] = &own;
  }
  const auto* keyed = keyed_transfer_of(slot.order);
  if (keyed != nullptr && memory_.is_key_in_flight_elsewhere(keyed->id, id)) {
    turn_away(slot, messages::KeyInProgress{});
    return;
  }
  for (auto* side : sides) {
    if (side == nullptr) continue;
    if (side->is_world()) {
      const auto world = memory_.free_world(side->world_currency(), request, now);
      if (!world) {
        turn_away(slot, messages::Busy{*side, false});
        return;
      }
      *side = *world;
    } else if (const auto obstacle = memory_.find_obstacle(*side, request, now)) {
      turn_away(slot, *obstacle);
      return;
    }
  }
  for (const auto* side : sides) {
    if (side == nullptr) continue;
    if (memory_.holds.find(*side) == nullptr) round.held.push_back(*side);
    memory_.holds.take(*side, id);
  }
  if (keyed != nullptr && memory_.keys_in_flight.try_emplace(keyed->id, id).second) {
    round.keys.push_back(keyed->id);
  }
}

void LocalRounds::read(RoundId id, Round& round, const Now& now, Effects& out) {
  round.state = State::Reading;
  round.draft = Draft();
  round.has_remembered = false;
  ReadState missing{id, round.attempt, memory_.epoch, {}, round.keys};
  for (const auto account : round.held) {
    if (const auto head = memory_.heads.find(account)) {
      round.draft.know(account, *head);
      round.has_remembered = true;
    } else {
      missing.accounts.push_back(account);
    }
  }
  if (missing.accounts.empty() && missing.keys.empty()) {
    evaluate(id, round, StateRead{id, round.attempt, DbOutcome::Done, {}, {}}, now, out);
  } else {
    out.emplace_back(std::move(missing));
  }
}

void LocalRounds::read_anew(RoundId id, Round& round, const Now& now, Effects& out) {
  for (const auto account : round.held) memory_.heads.forget(account);
  ++round.attempt;
  read(id, round, now, out);
}

Aftermath LocalRounds::on(const StateRead& event, const Now& now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Reading ||
      found->second.attempt != event.attempt) {
    return Aftermath::None;
  }
  switch (event.outcome) {
    case DbOutcome::Done:
      evaluate(event.round, found->second, event, now, out);
      return Aftermath::None;
    case DbOutcome::Disconnected:
    case DbOutcome::Lost:
      return Aftermath::ConnectionLost;  // interrupt() fails it with the others
    case DbOutcome::OldEpoch:
    case DbOutcome::Unavailable:
    case DbOutcome::Rejected:
    case DbOutcome::Stale:
    case DbOutcome::WasHere:
      fail(event.round, RoundFault::Unavailable, "the heads could not be read", out);
      return event.outcome == DbOutcome::OldEpoch ? Aftermath::Outrun : Aftermath::None;
  }
  std::abort();
}

void LocalRounds::evaluate(RoundId id, Round& round, const StateRead& reading, const Now& now,
                           Effects& out) {
  auto& draft = round.draft;
  for (const auto& [account, head] : reading.heads) {
    memory_.heads.put(account, head);
    draft.know(account, head);
  }
  for (const auto account : round.held) {
    if (account.is_world() && draft.head(account) == nullptr) {
      draft.open(account, unopened_world(account.world_currency()), Transfer{});
    }
  }
  StoredByKey stored;
  for (const auto& transfer : reading.stored) stored.emplace(transfer.transfer.id, &transfer);

  LocalEvaluation evaluation(draft, stored, now.calendar);
  for (auto& slot : round.slots) {
    if (slot.is_turned_away) continue;
    slot.answer =
        std::visit([&](const auto& what) { return evaluation.answer(what); }, slot.order.what);
  }
  draft.drop_unused_worlds();
  const bool is_sure = !draft.is_empty() && !evaluation.has_answered_unwritten();
  if (round.has_remembered && !is_sure) {
    read_anew(id, round, now, out);  // the memory may be that of an agent whose time is over
  } else if (!draft.is_empty()) {
    round.heads_after = draft.heads_after();
    round.state = State::Appending;
    out.emplace_back(Append{draft.take_batch(id, memory_.epoch, now.calendar)});
  } else {
    succeed(id, out);
  }
}

Aftermath LocalRounds::on(const AppendDone& event, const Now& now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Appending) return Aftermath::None;
  auto& round = found->second;
  switch (event.outcome) {
    case DbOutcome::Done:
      succeed(event.round, out);
      return Aftermath::None;
    case DbOutcome::Stale:
      ++memory_.counters.stale_heads;
      if (++round.stale > memory_.limits.stale_retries_max) {
        for (const auto account : round.held) memory_.heads.forget(account);
        fail(event.round, RoundFault::Stale, event.detail, out);
      } else {
        read_anew(event.round, round, now, out);
      }
      return Aftermath::None;
    case DbOutcome::WasHere:  // applied by an earlier delivery, or voided: whoever asks is told
      finish(event.round, messages::RoundUnknown{}, out);
      return Aftermath::None;
    case DbOutcome::Rejected:
      fail(event.round, RoundFault::Rejected, event.detail, out);
      return Aftermath::None;
    case DbOutcome::Unavailable:
    case DbOutcome::OldEpoch:
      fail(event.round, RoundFault::Unavailable, event.detail, out);
      return event.outcome == DbOutcome::OldEpoch ? Aftermath::Outrun : Aftermath::None;
    case DbOutcome::Disconnected:
    case DbOutcome::Lost:
      return Aftermath::ConnectionLost;  // interrupt() makes it Unknown
  }
  std::abort();
}

Aftermath LocalRounds::on(const LocalAsked& event, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Unknown) return Aftermath::None;
  if (!event.outcome) return Aftermath::ConnectionLost;
  switch (*event.outcome) {
    case messages::AskRoundOutcome::Applied:
      found->second.heads_after.clear();  // others may have written since
      succeed(event.round, out);
      return Aftermath::None;
    case messages::AskRoundOutcome::NotApplied:
      fail(event.round, RoundFault::Unavailable, "the database connection was lost", out);
      return Aftermath::None;
    case messages::AskRoundOutcome::Over:
      finish(event.round, messages::RoundUnknown{}, out);
      return Aftermath::None;
  }
  std::abort();
}

void LocalRounds::interrupt(Effects& out) {
  std::vector<RoundId> failed;
  for (auto& [id, round] : rounds_) {
    switch (round.state) {
      case State::Reading:
        failed.push_back(id);
        break;
      case State::Appending:
        round.state = State::Unknown;
        break;
      case State::Unknown:
        break;
    }
  }
  std::ranges::sort(failed);
  for (const auto id : failed) fail(id, RoundFault::Starting, "the agent takes over anew", out);
}

void LocalRounds::ask_unknown(Effects& out) const {
  std::vector<RoundId> unknown;
  for (const auto& [id, round] : rounds_) unknown.push_back(id);
  std::ranges::sort(unknown);
  for (const auto id : unknown) out.emplace_back(AskLocal{id});
}

bool LocalRounds::contains(RoundId id, TransferId transfer) const {
  const auto found = rounds_.find(id);
  return found != rounds_.end() && std::ranges::any_of(found->second.slots, [&](const Slot& slot) {
           return claim_of(slot.order) == transfer;
         });
}

void LocalRounds::succeed(RoundId id, Effects& out) {
  auto& round = rounds_.find(id)->second;
  messages::LocalRoundDone done;
  done.answers.reserve(round.slots.size());
  for (auto& slot : round.slots) {
    INVARIANT(slot.answer.has_value());
    if (std::holds_alternative<messages::Applied>(*slot.answer)) {
      ++memory_.counters.transfers_applied;
    }
    done.answers.push_back(std::move(*slot.answer));
  }
  for (const auto& [account, head] : round.heads_after) memory_.heads.put(account, head);
  ++memory_.counters.rounds_local;
  finish(id, std::move(done), out);
}

void LocalRounds::fail(RoundId id, RoundFault fault, std::string detail, Effects& out) {
  finish(id, messages::RoundFailed{fault, std::move(detail)}, out);
}

void LocalRounds::finish(RoundId id, LocalReply reply, Effects& out) {
  const auto found = rounds_.find(id);
  for (const auto account : found->second.held) memory_.holds.release(account, id);
  for (const auto& key : found->second.keys) memory_.release_key(key, id);
  out.emplace_back(Answer{found->second.request, std::move(reply)});
  rounds_.erase(found);
  remember_answered(id);
}

void LocalRounds::remember_answered(RoundId id) {
  constexpr int kPerRoundInFlight = 16;
  answered_.insert(id);
  answered_in_order_.push_back(id);
  const auto max = memory_.limits.rounds_in_flight_max * kPerRoundInFlight;
  if (answered_in_order_.size() <= static_cast<std::size_t>(max)) return;
  answered_.erase(answered_in_order_.front());
  answered_in_order_.pop_front();
}

}  // namespace koshel::agent
