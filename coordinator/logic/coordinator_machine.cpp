#include "coordinator/logic/coordinator_machine.hpp"

#include <algorithm>

namespace koshel::coordinator {

CoordinatorMachine::CoordinatorMachine(Incarnation incarnation, const BookLimits& book,
                                       const RoundLimits& rounds, const LogLimits& log,
                                       const RebalanceLimits& rebalance)
    : limits_(rounds),
      book_(book),
      log_(incarnation, log),
      local_(book_, incarnation),
      cross_(book_, log_, incarnation, rounds),
      rebalancer_(incarnation, book_, rebalance) {}

namespace {

// Outcomes of orders that no client has submitted.
std::vector<Finish> take_own(Effects& out) {
  std::vector<Finish> own;
  std::erase_if(out, [&](Effect& effect) {
    auto* finish = std::get_if<Finish>(&effect);
    if (finish == nullptr || !Rebalancer::is_own(finish->order)) return false;
    own.push_back(std::move(*finish));
    return true;
  });
  return own;
}

}  // namespace

Effects CoordinatorMachine::step(Event event, Instant now) {
  Effects out;
  std::visit([&](auto&& what) { handle(std::move(what), now, out); }, std::move(event));
  // What has become of the rebalancer's own orders may make it submit more.
  for (;;) {
    dispatch(now, out);
    const auto own = take_own(out);
    if (own.empty()) break;
    for (const auto& finish : own) rebalancer_.on(finish, now, out);
  }
  counters_.orders_finished += std::ranges::count_if(
      out, [](const Effect& effect) { return std::holds_alternative<Finish>(effect); });
  return out;
}

void CoordinatorMachine::handle(Submit&& event, Instant now, Effects& out) {
  for (auto& [id, order, deadline] : event.orders) {
    // Another attempt with the key may yet commit: to say that nothing happened would be too much.
    const auto* asked = transfer_of(order);
    const bool is_key_under_way =
        asked != nullptr && asked->is_keyed && book_.is_under_way(asked->id);
    if (book_.submit(id, std::move(order), deadline, now)) continue;
    ++counters_.orders_overloaded;
    out.emplace_back(Finish{
        id, is_key_under_way ? Outcome(KeyInProgress{}) : Outcome(Failed{FailCode::Overloaded})});
  }
}

void CoordinatorMachine::handle(LocalReplied&& event, Instant now, Effects& out) {
  local_.on(event, now, out);
}
void CoordinatorMachine::handle(ReserveReplied&& event, Instant now, Effects& out) {
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(PrepareReplied&& event, Instant now, Effects& out) {
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(SettleReplied&& event, Instant now, Effects& out) {
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(AskReplied&& event, Instant now, Effects& out) {
  if (local_.has(event.round)) {
    local_.on(event, now, out);
  } else {
    cross_.on(event, now, out);
  }
}
void CoordinatorMachine::handle(FindReplied&& event, Instant now, Effects& out) {
  local_.on(event, now, out);
}
void CoordinatorMachine::handle(Decided&& event, Instant now, Effects& out) {
  if (!event.decision) is_directory_up_ = false;  // until its health says otherwise
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(UsersCreated&& event, Instant now, Effects& out) {
  if (!event.outcome) is_directory_up_ = false;
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(RoutesRead&& event, Instant now, Effects& out) {
  ++counters_.redirects;
  book_.reroute(event, now, out);
}
void CoordinatorMachine::handle(NamesRead&& event, Instant now, Effects& out) {
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(DirectoryHealth&& event, Instant now, Effects& out) {
  is_directory_up_ = event.is_up;
  if (!is_directory_up_) cross_.give_up_reserving(Setback::DirectoryFault, now, out);
}
void CoordinatorMachine::handle(LogKept&& event, Instant now, Effects& out) {
  log_.on(event, now, out);
}
void CoordinatorMachine::handle(IncarnationClosed&& event, Instant, Effects& out) {
  log_.on(event, out);
}
void CoordinatorMachine::handle(ConfirmReplied&& event, Instant, Effects& out) {
  log_.on(event, out);
}
void CoordinatorMachine::handle(HandedOver&& event, Instant now, Effects& out) {
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(UsersMoved&& event, Instant now, Effects& out) {
  if (!event.outcome) is_directory_up_ = false;
  cross_.on(event, now, out);
}
void CoordinatorMachine::handle(RebalanceBeaten&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(MovesRead&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(MoveTaken&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(ArrivalBegun&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(ChunkCopied&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(ArrivedChecked&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(MoveCleaned&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(MoveEnded&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(RebalanceEnded&& event, Instant now, Effects& out) {
  rebalancer_.on(event, now, out);
}
void CoordinatorMachine::handle(Tick&&, Instant now, Effects& out) {
  book_.tick(now, out);
  local_.tick(now, out);
  cross_.tick(now, out);
  if (!log_.is_over()) rebalancer_.tick(now, out);
  log_.tick(cross_.finished(local_.finished(last_sequence_)), now, out);
}

// A lane takes what is queued the moment it may have another round in flight. No timer gathers:
// orders that are too few for a round beside another one go when that one has ended, or is so old
// that it may be stuck.
void CoordinatorMachine::dispatch(Instant now, Effects& out) {
  for (const auto& lane : local_.take_ended()) --in_flight_[lane].rounds;
  for (const auto& lane : cross_.take_ended()) --in_flight_[lane].rounds;
  for (const auto& lane : book_.lanes_waiting()) {
    if (lane.kind != LaneKind::Local && (!is_directory_up_ || log_.is_over())) {
      book_.set_lane_back(lane, Setback::DirectoryFault, now, out);  // not even prepared
      continue;
    }
    if (local_.is_asking(lane) || (lane.kind != LaneKind::Local && log_.is_full())) {
      book_.set_lane_back(lane, Setback::ShardFault, now, out);
      continue;
    }
    const auto max =
        lane.kind == LaneKind::Local ? limits_.local_in_flight : limits_.cross_in_flight;
    auto& in_flight = in_flight_[lane];
    const auto may_start = [&] {
      if (in_flight.rounds == 0) return true;
      return in_flight.rounds < max && (book_.waiting(lane) >= limits_.beside_orders_min ||
                                        now - in_flight.newest_since >= limits_.beside_after);
    };
    while (may_start() && start_round(lane, now, out)) {
      ++in_flight.rounds;
      in_flight.newest_since = now;
    }
  }
}

bool CoordinatorMachine::start_round(const LaneId& lane, Instant now, Effects& out) {
  const auto sequence = last_sequence_.next();
  const bool is_local = lane.kind == LaneKind::Local;
  const bool has_started = is_local
                               ? local_.start(lane, sequence, limits_.local_orders_max, now, out)
                               : cross_.start(lane, sequence, limits_.cross_orders_max, now, out);
  if (!has_started) return false;
  last_sequence_ = sequence;
  ++(is_local ? counters_.rounds_local : counters_.rounds_cross);
  return true;
}

}  // namespace koshel::coordinator
