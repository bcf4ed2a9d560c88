#include "shard-agent/logic/cross_rounds.hpp"

#include <algorithm>

#include "base/invariant.hpp"
#include "shard-agent/logic/soundness.hpp"

namespace koshel::agent {

using messages::RoundFault;
using messages::SettleOutcome;

namespace {

TransferId claim_of(const messages::ReserveOrder& order) {
  struct Visitor {
    TransferId operator()(const messages::Leg& leg) const { return leg.transfer.id; }
    TransferId operator()(const messages::OpenAccount& open) const { return open.opening; }
    TransferId operator()(const messages::Depart& depart) const {
      return {depart.account, {0, static_cast<std::uint64_t>(depart.move.value())}};
    }
    TransferId operator()(const messages::Arrive& arrive) const {
      return {arrive.account, {0, static_cast<std::uint64_t>(arrive.move.value())}};
    }
  };
  return std::visit(Visitor{}, order.what);
}

// What an account that is opened is paid in, as a transfer from this shard's own @world.
Transfer opening_of(const messages::OpenAccount& open, AccountId world) {
  return {open.opening, false, world, open.account, open.balance, "", open.asked_by};
}

bool is_ascending(const std::vector<std::int32_t>& places) {
  return std::ranges::adjacent_find(places, std::greater_equal<>()) == places.end();
}

bool is_yes(const std::optional<messages::Vote>& vote) {
  return vote && (std::holds_alternative<messages::Yes>(*vote) ||
                  std::holds_alternative<messages::Leaving>(*vote));
}

}  // namespace

void CrossRounds::reserve(Asked<messages::Reserve> asked, const Now& now, Effects& out) {
  const auto id = asked.message.round;
  if (prepared_or_reserved() >= memory_.limits.prepared_max) {
    out.emplace_back(
        Answer{asked.request, messages::ReserveReply(messages::RoundFailed{
                                  RoundFault::Overloaded, "no prepared slot is free"})});
    return;
  }
  auto& round = rounds_[id];
  round.request = asked.request;
  round.expires = now.steady + memory_.limits.reservation;
  round.slots.reserve(asked.message.orders.size());
  ReadState missing{id, 0, memory_.epoch, {}, {}};
  for (auto& order : asked.message.orders) {
    auto& slot = round.slots.emplace_back(Slot{std::move(order), {}, {}, {}});
    admit(id, round, slot, now.steady);
    if (slot.key) missing.keys.push_back(*slot.key);
  }
  for (const auto account : round.held) {
    if (round.opened.contains(account)) continue;
    if (const auto head = memory_.heads.find(account)) {
      round.draft.know(account, *head);
    } else {
      missing.accounts.push_back(account);
    }
  }
  if (missing.accounts.empty() && missing.keys.empty()) {
    vote(id, round, StateRead{id, 0, DbOutcome::Done, {}, {}}, now, out);
  } else {
    out.emplace_back(std::move(missing));
  }
}

// Takes the order's accounts, or gives its vote at once.
void CrossRounds::admit(RoundId id, Round& round, Slot& slot, Instant now) {
  const Holds::Request request{id, claim_of(slot.order), slot.order.times_busy};
  const auto take = [&](AccountId account) {
    if (memory_.holds.find(account) == nullptr) round.held.push_back(account);
    memory_.holds.take(account, id);
    slot.accounts.push_back(account);
  };
  if (const auto* open = std::get_if<messages::OpenAccount>(&slot.order.what)) {
    // A new account is held too: another round must not open it while this one is in doubt.
    if (const auto obstacle = memory_.find_obstacle(open->account, request, now)) {
      slot.vote = *obstacle;
      return;
    }
    take(open->account);
    round.opened.insert(open->account);
    if (open->balance.is_positive()) {
      const auto world = memory_.free_world(open->currency, request, now);
      if (!world) {
        slot.vote = messages::Busy{AccountId::any_world(open->currency), false};
        return;
      }
      take(*world);
    }
    return;
  }
  if (const auto account = moving_account(slot.order)) {
    if (const auto obstacle = memory_.find_obstacle(*account, request, now)) {
      slot.vote = *obstacle;
      return;
    }
    take(*account);
    const bool is_arriving = std::holds_alternative<messages::Arrive>(slot.order.what);
    (is_arriving ? round.opened : round.leaving).insert(*account);
    return;
  }
  const auto& leg = std::get<messages::Leg>(slot.order.what);
  const auto& transfer = leg.transfer;
  const bool needs_key = leg.side == messages::Side::Payer && transfer.is_keyed;
  if (needs_key && memory_.is_key_in_flight_elsewhere(transfer.id, id)) {
    slot.vote = messages::KeyInProgress{};
    return;
  }
  const auto account = leg.side == messages::Side::Payer ? transfer.from : transfer.to;
  if (const auto obstacle = memory_.find_obstacle(account, request, now)) {
    slot.vote = *obstacle;
    return;
  }
  take(account);
  if (needs_key && memory_.keys_in_flight.try_emplace(transfer.id, id).second) {
    slot.key = transfer.id;
  }
}

Aftermath CrossRounds::on(const StateRead& event, const Now& now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Reading) return Aftermath::None;
  if (event.outcome == DbOutcome::Done) {
    vote(event.round, found->second, event, now, out);
    return Aftermath::None;
  }
  if (event.outcome == DbOutcome::Disconnected || event.outcome == DbOutcome::Lost) {
    return Aftermath::ConnectionLost;
  }
  fail(event.round, RoundFault::Unavailable, "the heads could not be read", out);
  return event.outcome == DbOutcome::OldEpoch ? Aftermath::Outrun : Aftermath::None;
}

void CrossRounds::vote(RoundId id, Round& round, const StateRead& reading, const Now& now,
                       Effects& out) {
  for (const auto& [account, head] : reading.heads) {
    memory_.heads.put(account, head);
    round.draft.know(account, head);
  }
  round.stored.insert(round.stored.end(), reading.stored.begin(), reading.stored.end());
  StoredByKey stored;
  for (const auto& transfer : round.stored) stored.emplace(transfer.transfer.id, &transfer);

  VoteEvaluation evaluation(round.draft, stored);
  messages::Reserved reserved{memory_.epoch, {}};
  reserved.votes.reserve(round.slots.size());
  for (auto& slot : round.slots) {
    reserved.votes.push_back(slot.vote ? *slot.vote : evaluate(slot, evaluation));
  }
  if (!confirm_refusals(id, round, reserved.votes, out)) return;
  bool has_survivor = false;
  for (std::size_t i = 0; i < round.slots.size(); ++i) {
    round.slots[i].vote = reserved.votes[i];
    has_survivor = has_survivor || is_yes(round.slots[i].vote);
  }
  round.state = State::Reserved;
  round.expires = now.steady + memory_.limits.reservation;
  out.emplace_back(Answer{*round.request, messages::ReserveReply(std::move(reserved))});
  round.request.reset();
  if (!has_survivor || round.is_released) drop(id);  // nothing here will be prepared
}

messages::Vote CrossRounds::evaluate(const Slot& slot, VoteEvaluation& evaluation) {
  if (const auto* leg = std::get_if<messages::Leg>(&slot.order.what)) return evaluation.vote(*leg);
  if (const auto* depart = std::get_if<messages::Depart>(&slot.order.what)) {
    return evaluation.vote(*depart);
  }
  if (std::holds_alternative<messages::Arrive>(slot.order.what)) return messages::Yes{};
  return evaluation.vote(std::get<messages::OpenAccount>(slot.order.what), slot.accounts.back());
}

// A vote of yes is checked by the prepare, a refusal by nothing: it must not come from the memory
// of an agent whose time is over. False: what the refusals rely on is being read.
bool CrossRounds::confirm_refusals(RoundId id, Round& round,
                                   const std::vector<messages::Vote>& votes, Effects& out) {
  if (round.has_confirmed) return true;
  round.has_confirmed = true;
  ReadState doubtful{id, 1, memory_.epoch, {}, {}};
  for (std::size_t i = 0; i < votes.size(); ++i) {
    const auto& slot = round.slots[i];
    if (!slot.vote && std::holds_alternative<messages::Refused>(votes[i])) {
      doubtful.accounts.push_back(slot.accounts.back());  // a leg's only one, or @world
    }
  }
  if (doubtful.accounts.empty()) return true;
  out.emplace_back(std::move(doubtful));
  return false;
}

void CrossRounds::prepare(const Asked<messages::Prepare>& asked, const Now& now, Effects& out) {
  const auto& message = asked.message;
  const auto refuse = [&](RoundFault fault, std::string detail) {
    out.emplace_back(Answer{
        asked.request, messages::PrepareReply(messages::RoundFailed{fault, std::move(detail)})});
  };
  const auto found = rounds_.find(message.round);
  if (found == rounds_.end()) return refuse(RoundFault::Expired, "the reservation has gone");
  auto& round = found->second;
  if (round.state == State::Prepared && !round.slots.empty()) {
    out.emplace_back(Answer{asked.request, messages::PrepareReply(round.prepared)});
    return;  // delivered twice
  }
  if (round.state != State::Reserved) {
    out.emplace_back(Answer{asked.request, messages::PrepareReply(messages::RoundUnknown{})});
    return;  // delivered twice, or long after
  }
  if (round.expires <= now.steady) {
    drop(message.round);
    return refuse(RoundFault::Expired, "the reservation's time is over");
  }
  if (message.epoch != memory_.epoch) {
    return refuse(RoundFault::OldEpoch, "voted by an older agent");
  }
  const bool is_sound = std::ranges::all_of(message.survivors, [&](std::int32_t place) {
    return place >= 0 && static_cast<std::size_t>(place) < round.slots.size() &&
           is_yes(round.slots[static_cast<std::size_t>(place)].vote);
  });
  if (!is_sound || message.survivors.empty() || !is_ascending(message.survivors)) {
    return refuse(RoundFault::Rejected, "the survivors are not those that were voted yes");
  }
  if (!is_told_heads(round, message)) {
    return refuse(RoundFault::Rejected, "the heads are not those of accounts that arrive");
  }
  release_losers(message.round, round, message.survivors);
  PrepareRound effect;
  build(round, message, effect);
  round.request = asked.request;
  round.state = State::Preparing;
  round.heads_after = round.draft.heads_after();
  round.prepared.at = now.calendar;
  round.forgotten = take_settled();
  effect.batch = round.draft.take_batch(message.round, memory_.epoch, now.calendar);
  effect.held = round.held;
  effect.forgotten = round.forgotten;
  out.emplace_back(std::move(effect));
}

// Appends the survivors' entries in the order of the round.
void CrossRounds::build(Round& round, const messages::Prepare& prepare, PrepareRound& effect) {
  auto& draft = round.draft;
  for (const auto account : round.held) {
    const bool is_arriving = round.opened.contains(account);
    if (account.is_world() && !is_arriving && draft.head(account) == nullptr) {
      draft.open(account, unopened_world(account.world_currency()), Transfer{});
    }
  }
  for (std::size_t i = 0; i < prepare.survivors.size(); ++i) {
    const auto& slot = round.slots[static_cast<std::size_t>(prepare.survivors[i])];
    if (const auto account = moving_account(slot.order)) {
      build_move(round, slot, prepare.arriving.empty() ? nullptr : &prepare.arriving[i], effect);
      round.prepared.legs.push_back(draft.move(*account));
      continue;
    }
    if (const auto* leg = std::get_if<messages::Leg>(&slot.order.what)) {
      const auto account = slot.accounts.front();
      round.prepared.legs.push_back(leg->side == messages::Side::Payer
                                        ? draft.debit(account, leg->transfer)
                                        : draft.credit(account, leg->transfer));
      continue;
    }
    const auto& open = std::get<messages::OpenAccount>(slot.order.what);
    const auto world = slot.accounts.size() < 2 ? AccountId() : slot.accounts.back();
    const auto opening = opening_of(open, world);
    const Head limits{open.currency,    Version(),        Money(),
                      open.min_balance, open.max_balance, AccountStatus::Active};
    if (open.balance.is_positive()) draft.debit(world, opening);
    round.prepared.legs.push_back(draft.open(open.account, limits, opening));
  }
}

// Frees the accounts that no survivor needs, and the keys of who does not survive.
void CrossRounds::release_losers(RoundId id, Round& round,
                                 const std::vector<std::int32_t>& survivors) {
  boost::unordered_flat_map<AccountId, bool, std::hash<AccountId>> needed;
  for (const auto place : survivors) {
    for (const auto account : round.slots[static_cast<std::size_t>(place)].accounts) {
      needed.emplace(account, true);
    }
  }
  std::erase_if(round.held, [&](AccountId account) {
    if (needed.contains(account)) return false;
    memory_.holds.release(account, id);
    return true;
  });
  auto next = survivors.begin();
  for (std::size_t place = 0; place < round.slots.size(); ++place) {
    const bool survives = next != survivors.end() && static_cast<std::size_t>(*next) == place;
    if (survives) {
      ++next;
    } else {
      release_key(id, round.slots[place]);
    }
  }
}

Aftermath CrossRounds::on(const PrepareDone& event, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Preparing) return Aftermath::None;
  auto& round = found->second;
  switch (event.outcome) {
    case DbOutcome::Done:
      ++memory_.counters.rounds_prepared;
      round.state = State::Prepared;
      round.prepared_at_scan = scans_;
      out.emplace_back(Answer{*round.request, messages::PrepareReply(round.prepared)});
      round.request.reset();
      if (round.settle_wish) start_settling(event.round, round, *round.settle_wish, out);
      return Aftermath::None;
    case DbOutcome::Stale:
      ++memory_.counters.stale_heads;
      for (const auto account : round.held) memory_.heads.forget(account);
      fail(event.round, RoundFault::Stale, event.detail, out);
      return Aftermath::None;
    case DbOutcome::WasHere:
      fail(event.round, RoundFault::Voided, event.detail, out);
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
      return Aftermath::ConnectionLost;  // interrupt() answers; the take-over finds out
  }
  std::abort();
}

void CrossRounds::settle(const Asked<messages::Settle>& asked, Effects& out) {
  const auto& message = asked.message;
  const auto answer = [&](SettleOutcome outcome) {
    out.emplace_back(Answer{asked.request, messages::SettleDone{outcome}});
  };
  const auto [found, is_new] = rounds_.try_emplace(message.round);
  auto& round = found->second;
  if (is_new) {  // from before this agent's time: the database knows
    round.settle_request = asked.request;
    start_settling(message.round, round, message.is_commit, out);
    return;
  }
  switch (round.state) {
    case State::Reading:
    case State::Reserved:
      if (message.is_commit && round.state == State::Reserved) {
        // Settled before and reserved once more, or lost: the database knows.
        round.settle_request = asked.request;
        start_settling(message.round, round, true, out);
        return;
      }
      answer(message.is_commit ? SettleOutcome::Later : SettleOutcome::Settled);
      if (!message.is_commit) release(message.round);  // nothing was prepared here
      return;
    case State::Preparing:
      if (round.settle_request) {  // delivered twice: the later one waits
        out.emplace_back(Answer{*round.settle_request, messages::SettleDone{SettleOutcome::Later}});
      }
      round.settle_request = asked.request;
      round.settle_wish = message.is_commit;
      return;
    case State::Prepared:
      round.settle_request = asked.request;
      start_settling(message.round, round, message.is_commit, out);
      return;
    case State::Settling:
      if (round.settle_request) {
        answer(SettleOutcome::Later);
      } else {
        round.settle_request = asked.request;
      }
      return;
  }
}

void CrossRounds::start_settling(RoundId id, Round& round, bool is_commit, Effects& out) {
  round.state = State::Settling;
  round.settle_wish = is_commit;
  out.emplace_back(SettlePrepared{id, is_commit});
}

Aftermath CrossRounds::on(const SettlePreparedDone& event, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Settling) {
    return Aftermath::None;  // of before a take-over, which looks after all that is prepared
  }
  auto& round = found->second;
  if (round.settle_request) {
    out.emplace_back(Answer{*round.settle_request, messages::SettleDone{event.outcome}});
    round.settle_request.reset();
  }
  switch (event.outcome) {
    case SettleOutcome::Settled:
      if (round.is_recovering) {
        ++(*round.settle_wish ? memory_.counters.recovered_commit
                              : memory_.counters.recovered_abort);
      }
      if (*round.settle_wish) {
        memory_.counters.transfers_applied += static_cast<std::int64_t>(round.prepared.legs.size());
        for (const auto account : round.held) memory_.heads.forget(account);
        for (const auto& [account, head] : round.heads_after) {
          if (!round.leaving.contains(account)) memory_.heads.put(account, head);
        }
      }
      settled_.push_back(event.round);
      drop(event.round);
      break;
    case SettleOutcome::Lost:
      out.emplace_back(Alarm{"round " + std::to_string(event.round.incarnation.value()) + ":" +
                             std::to_string(event.round.sequence.value()) +
                             " is decided to commit, but this shard has neither its prepared "
                             "transaction nor its applied_rounds row: its half is lost"});
      for (const auto account : round.held) memory_.heads.forget(account);
      drop(event.round);
      break;
    case SettleOutcome::Later:
      round.state = State::Prepared;
      round.prepared_at_scan = scans_;
      break;
  }
  return event.is_disconnected ? Aftermath::ConnectionLost : Aftermath::None;
}

void CrossRounds::release(RoundId id) {
  const auto found = rounds_.find(id);
  if (found == rounds_.end()) return;
  found->second.is_released = true;  // its heads may just be read
  if (found->second.state == State::Reserved) drop(id);
}

bool CrossRounds::contains(RoundId id, TransferId transfer) const {
  const auto found = rounds_.find(id);
  return found != rounds_.end() && std::ranges::any_of(found->second.slots, [&](const Slot& slot) {
           return claim_of(slot.order) == transfer;
         });
}

void CrossRounds::fail(RoundId id, RoundFault fault, std::string detail, Effects& out) {
  auto& round = rounds_.find(id)->second;
  const messages::RoundFailed failed{fault, std::move(detail)};
  if (round.state == State::Reading) {
    out.emplace_back(Answer{*round.request, messages::ReserveReply(failed)});
  } else {
    out.emplace_back(Answer{*round.request, messages::PrepareReply(failed)});
    // Its holds row stands, though nothing was prepared; those it was to delete may stand too.
    settled_.push_back(id);
    settled_.insert(settled_.end(), round.forgotten.begin(), round.forgotten.end());
  }
  if (round.settle_request) {  // nothing is prepared: an abort has nothing left to do
    const auto outcome = *round.settle_wish ? SettleOutcome::Later : SettleOutcome::Settled;
    out.emplace_back(Answer{*round.settle_request, messages::SettleDone{outcome}});
  }
  drop(id);
}

void CrossRounds::release_key(RoundId id, Slot& slot) {
  if (slot.key) memory_.release_key(*slot.key, id);
  slot.key.reset();
}

void CrossRounds::drop(RoundId id) {
  const auto found = rounds_.find(id);
  INVARIANT(found != rounds_.end());
  for (const auto account : found->second.held) memory_.holds.release(account, id);
  for (auto& slot : found->second.slots) release_key(id, slot);
  rounds_.erase(found);
}

}  // namespace koshel::agent
