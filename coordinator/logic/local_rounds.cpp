#include "coordinator/logic/local_rounds.hpp"

#include <algorithm>

#include "base/invariant.hpp"

namespace koshel::coordinator {

using messages::RoundFault;

namespace {

messages::LocalOrder message_of(const OrderBook::Entry& entry) {
  messages::LocalOrder order;
  order.times_busy = entry.times_busy;
  if (const auto* transfer = std::get_if<TransferOrder>(&entry.order)) {
    order.what = transfer->transfer;
  } else if (const auto* limits = std::get_if<LimitOrder>(&entry.order)) {
    order.what = limits->change;
  } else {
    order.what = std::get<RefusalOrder>(entry.order).remember;
  }
  return order;
}

}  // namespace

Setback setback_of(RoundFault fault) {
  switch (fault) {
    case RoundFault::Stale:
    case RoundFault::Expired:
    case RoundFault::OldEpoch:
      return Setback::Stale;
    case RoundFault::Rejected:
    case RoundFault::Voided:
      return Setback::Retry;
    case RoundFault::Overloaded:
      return Setback::ShardOverloaded;
    case RoundFault::Starting:
    case RoundFault::Unavailable:
      return Setback::ShardFault;
  }
  std::abort();
}

bool LocalRounds::start(const LaneId& lane, Sequence sequence, int orders_max, Instant now,
                        Effects& out) {
  auto orders = book_.take(lane, sequence, orders_max, now);
  if (orders.empty()) return false;
  auto& round = rounds_[sequence];
  round.lane = lane;
  messages::LocalRound message{{incarnation_, sequence}, {}};
  message.orders.reserve(orders.size());
  for (const auto id : orders) {
    const auto* entry = book_.find(id, sequence);
    message.orders.push_back(message_of(*entry));
    const auto accounts = accounts_of(entry->order);
    round.accounts.insert(round.accounts.end(), accounts.begin(), accounts.end());
    book_.set_stage(id, Stage::Sent);
  }
  round.orders = std::move(orders);
  out.emplace_back(Send<messages::LocalRound>{lane.first, sequence, std::move(message)});
  return true;
}

void LocalRounds::on(const LocalReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Sent) return;
  auto& round = found->second;
  if (!event.reply) {
    if (event.reply.error().fault == Fault::InDoubt) {
      ask(event.round, round, out);
    } else {
      set_all_back(event.round, Setback::ShardFault, now, out);
    }
    return;
  }
  const auto& reply = event.reply.value();
  if (const auto* failed = std::get_if<messages::RoundFailed>(&reply)) {
    fail(event.round, *failed, now, out);
  } else if (std::holds_alternative<messages::RoundUnknown>(reply)) {
    ask(event.round, round, out);
  } else {
    auto answers = std::get<messages::LocalRoundDone>(reply).answers;
    if (answers.size() != round.orders.size()) {
      ask(event.round, round, out);  // not our protocol: trust the database alone
      return;
    }
    for (std::size_t i = 0; i < answers.size(); ++i) {
      answer(round.orders[i], event.round, std::move(answers[i]), now, out);
    }
    end(event.round);
  }
}

void LocalRounds::answer(OrderId id, Sequence round, messages::LocalAnswer&& answer, Instant now,
                         Effects& out) {
  const auto* entry = book_.find(id, round);
  if (entry == nullptr) return;  // answered at its deadline
  struct Visitor {
    OrderBook& book;
    OrderId id;
    bool may_be_done;
    Instant now;
    Effects& out;
    void operator()(messages::Applied& a) { book.finish(id, Committed{a.from, a.to, a.at}, out); }
    void operator()(messages::Changed& c) { book.finish(id, Changed{c.head}, out); }
    void operator()(messages::Refused& r) { book.finish(id, Refused{r.refusal}, out); }
    void operator()(messages::Replayed& r) {
      book.finish(id, Replayed{std::move(r.stored), may_be_done}, out);
    }
    void operator()(messages::KeyReused&) { book.finish(id, KeyReused{}, out); }
    // Until the deadline it is waited for: the other attempt's answer will be this one's too.
    void operator()(messages::KeyInProgress&) { book.set_back(id, Setback::BusyInDoubt, now, out); }
    void operator()(messages::Busy& b) {
      book.set_back(id, b.is_in_doubt ? Setback::BusyInDoubt : Setback::Busy, now, out);
    }
    void operator()(messages::Moved& m) { book.await_route(id, m.account, out); }
  };
  std::visit(Visitor{book_, id, entry->may_be_done, now, out}, answer);
}

// Rejected: the culprit is found by halves; alone in its round it is told that this is our defect.
void LocalRounds::fail(Sequence id, const messages::RoundFailed& failed, Instant now,
                       Effects& out) {
  if (failed.fault != RoundFault::Rejected) {
    set_all_back(id, setback_of(failed.fault), now, out);
    return;
  }
  const auto& orders = rounds_.at(id).orders;
  out.emplace_back(Alarm{"a round was rejected by its shard: " + failed.detail});
  for (const auto order : orders) {
    auto* entry = book_.find(order, id);
    if (entry == nullptr) continue;
    if (orders.size() == 1) {
      book_.finish(order, Failed{FailCode::Internal}, out);
    } else {
      entry->round_max = static_cast<int>(orders.size() + 1) / 2;
      book_.set_back(order, Setback::Retry, now, out);
    }
  }
  end(id);
}

void LocalRounds::set_all_back(Sequence id, Setback setback, Instant now, Effects& out) {
  const auto& orders = rounds_.at(id).orders;
  for (auto order = orders.rbegin(); order != orders.rend(); ++order) {  // the oldest to the front
    if (book_.find(*order, id) != nullptr) book_.set_back(*order, setback, now, out);
  }
  end(id);
}

void LocalRounds::ask(Sequence id, Round& round, Effects& out) {
  round.state = State::Asking;
  round.ask_at = Instant::max();
  out.emplace_back(
      Send<messages::AskRound>{round.lane.first, id, messages::AskRound{{incarnation_, id}}});
}

void LocalRounds::on(const AskReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Asking) return;
  if (!event.reply) {
    ask_later(found->second, now);
  } else if (event.reply.value().outcome == messages::AskRoundOutcome::NotApplied) {
    set_all_back(event.round, Setback::ShardFault, now, out);
  } else {
    find_orders(event.round, found->second, out);
  }
}

// The round was applied, or is over without a trace: what it was to bring is there by now or never
// comes. A transfer that is not there can be tried again.
void LocalRounds::find_orders(Sequence id, Round& round, Effects& out) {
  round.state = State::Finding;
  round.has_unfound = false;
  for (const auto order : round.orders) {
    auto* entry = book_.find(order, id);
    if (entry == nullptr) continue;
    const auto* asked = transfer_of(entry->order);
    if (asked == nullptr) {
      // Set a second time, limits might undo what has been set after them.
      book_.finish(order, Failed{FailCode::OutcomeUnknown}, out);
      continue;
    }
    const auto wanted = asked->id;
    ++round.finding;
    out.emplace_back(FindOrder{order, id, round.lane.first, {wanted.anchor(), {wanted}}});
  }
  if (round.finding == 0) end(id);
}

void LocalRounds::on(const FindReplied& event, Instant now, Effects& out) {
  const auto found = rounds_.find(event.round);
  if (found == rounds_.end() || found->second.state != State::Finding) return;
  auto& round = found->second;
  if (auto* entry = book_.find(event.order, event.round)) {
    if (!event.reply) {
      round.has_unfound = true;
    } else if (!event.reply.value().is_owned) {
      find_elsewhere(event.order, *entry, out);
    } else if (const auto& stored = event.reply.value().stored) {
      const bool is_same = is_same_request(*transfer_of(entry->order), *stored);
      const bool is_own = !entry->has_met_its_key;
      book_.finish(event.order, is_same ? Outcome(Replayed{*stored, is_own}) : Outcome(KeyReused{}),
                   out);
    } else if (event.reply.value().is_in_progress) {  // in another round: this one is over
      book_.set_back(event.order, Setback::BusyInDoubt, now, out);
    } else {
      book_.set_back(event.order, Setback::Retry, now, out);
    }
  }
  INVARIANT(round.finding > 0);
  if (--round.finding > 0) return;
  if (round.has_unfound) {
    ask_later(round, now);
  } else {
    end(event.round);
  }
}

// What the round brought has gone along with its account. Where that lives now the order is tried
// again under its own id, as if that were a key: it is done, and then found, or was never done.
void LocalRounds::find_elsewhere(OrderId id, OrderBook::Entry& entry, Effects& out) {
  entry.may_be_done = true;
  if (auto* transfer = std::get_if<TransferOrder>(&entry.order)) transfer->transfer.is_keyed = true;
  book_.await_route(id, transfer_of(entry.order)->id.anchor(), out);
}

void LocalRounds::ask_later(Round& round, Instant now) {
  constexpr auto kPause = std::chrono::milliseconds(100);
  round.state = State::Asking;
  round.ask_at = now + kPause;
}

bool LocalRounds::is_asking(const LaneId& lane) const {
  return std::ranges::any_of(rounds_, [&](const auto& each) {
    return each.second.lane == lane && each.second.state == State::Asking;
  });
}

void LocalRounds::tick(Instant now, Effects& out) {
  for (auto& [id, round] : rounds_) {
    if (round.state == State::Asking && round.ask_at <= now) ask(id, round, out);
  }
}

Sequence LocalRounds::finished(Sequence last) const {
  for (const auto& [id, round] : rounds_) last = std::min(last, Sequence(id.value() - 1));
  return last;
}

void LocalRounds::end(Sequence id) {
  const auto found = rounds_.find(id);
  book_.release(id, found->second.accounts);
  book_.end(id);
  ended_.push_back(found->second.lane);
  rounds_.erase(found);
}

}  // namespace koshel::coordinator
