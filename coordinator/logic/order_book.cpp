#include "coordinator/logic/order_book.hpp"

#include <algorithm>
#include <boost/unordered/unordered_flat_set.hpp>

#include "base/invariant.hpp"

namespace koshel::coordinator {

const Transfer* transfer_of(const Order& order) {
  if (const auto* transfer = std::get_if<TransferOrder>(&order)) return &transfer->transfer;
  if (const auto* refusal = std::get_if<RefusalOrder>(&order)) return &refusal->remember.transfer;
  return nullptr;
}

namespace {

using std::chrono::milliseconds;

constexpr Duration kBusyPauseMax = milliseconds(20);
constexpr Duration kFaultPause = milliseconds(50);
constexpr Duration kMovingPause = milliseconds(10);
// Of a round's message: an agent reads twice as much (`agent.http.body_bytes_max`), not more.
constexpr std::size_t kRoundBytesMax = std::size_t{8} << 20;

Duration busy_pause(int times) {
  return std::min<Duration>(milliseconds(1) * (1 << std::min(times - 1, 5)), kBusyPauseMax);
}

// `account` lives on `shard` now; @world goes where the other side is.
void send_to(Order& order, AccountId account, ShardId shard) {
  if (auto* transfer = std::get_if<TransferOrder>(&order)) {
    const auto& sides = transfer->transfer;
    if (sides.from == account || sides.from.is_world()) transfer->from_shard = shard;
    if (sides.to == account || sides.to.is_world()) transfer->to_shard = shard;
  } else if (auto* limits = std::get_if<LimitOrder>(&order)) {
    limits->shard = shard;
  } else if (auto* refusal = std::get_if<RefusalOrder>(&order)) {
    refusal->shard = shard;
  }
}

// At most, as JSON: of metadata each byte may be escaped.
std::size_t bytes_of(const Order& order) {
  constexpr std::size_t kWithoutMetadata = 1000;
  const auto* transfer = transfer_of(order);
  return kWithoutMetadata + (transfer != nullptr ? 2 * transfer->metadata.size() : 0);
}

bool is_keyed(const Order& order) {
  const auto* transfer = transfer_of(order);
  return transfer != nullptr && transfer->is_keyed;
}

}  // namespace

LaneId lane_of(const Order& order) {
  const auto lane = own_lane_of(order);
  return lane.kind == LaneKind::Cross ? kCrossLane : lane;
}

LaneId own_lane_of(const Order& order) {
  struct Visitor {
    LaneId operator()(const TransferOrder& o) const {
      if (o.from_shard == o.to_shard) return {LaneKind::Local, o.from_shard, ShardId()};
      return {LaneKind::Cross, std::min(o.from_shard, o.to_shard),
              std::max(o.from_shard, o.to_shard)};
    }
    LaneId operator()(const LimitOrder& o) const { return {LaneKind::Local, o.shard, ShardId()}; }
    LaneId operator()(const RefusalOrder& o) const { return {LaneKind::Local, o.shard, ShardId()}; }
    LaneId operator()(const OpenOrder& o) const { return {LaneKind::Opening, o.shard, ShardId()}; }
    LaneId operator()(const MoveOrder& o) const { return {LaneKind::Moving, o.source, o.target}; }
  };
  return std::visit(Visitor{}, order);
}

Shards shards_of(const Order& order) {
  struct Visitor {
    Shards operator()(const TransferOrder& o) const {
      if (o.from_shard == o.to_shard) return {o.from_shard};
      return {o.from_shard, o.to_shard};
    }
    Shards operator()(const LimitOrder& o) const { return {o.shard}; }
    Shards operator()(const RefusalOrder& o) const { return {o.shard}; }
    Shards operator()(const OpenOrder& o) const { return {o.shard}; }
    Shards operator()(const MoveOrder& o) const { return {o.source, o.target}; }
  };
  return std::visit(Visitor{}, order);
}

std::vector<AccountId> accounts_of(const Order& order) {
  struct Visitor {
    std::vector<AccountId> operator()(const TransferOrder& o) const {
      if (o.transfer.from.is_world()) return {o.transfer.to};
      if (o.transfer.to.is_world()) return {o.transfer.from};
      return {o.transfer.from, o.transfer.to};
    }
    std::vector<AccountId> operator()(const LimitOrder& o) const { return {o.change.account}; }
    std::vector<AccountId> operator()(const RefusalOrder& o) const {
      return {o.remember.transfer.from};
    }
    std::vector<AccountId> operator()(const OpenOrder& o) const { return {o.open.account}; }
    std::vector<AccountId> operator()(const MoveOrder& o) const { return {o.account}; }
  };
  return std::visit(Visitor{}, order);
}

bool OrderBook::submit(OrderId id, Order order, Instant deadline, Instant now) {
  if (!std::holds_alternative<MoveOrder>(order)) last_from_client_ = now;
  const auto lane_id = lane_for(order);
  auto& lane = lanes_[lane_id];
  if (lane.size == 0) lane.flow = LaneFlow();
  if (!has_room(lane, deadline, now)) return false;
  auto& entry = entries_[id];
  entry.order = std::move(order);
  entry.submitted = now;
  entry.deadline = deadline;
  entry.lane = lane_id;
  ++lane.size;
  deadlines_.emplace(deadline, id);
  enqueue(id, entry);
  return true;
}

LaneId OrderBook::lane_for(const Order& order) const {
  const auto touches_suspect = [&] {
    return std::ranges::any_of(shards_of(order), [&](ShardId shard) { return is_suspect(shard); });
  };
  return !suspects_.empty() && touches_suspect() ? own_lane_of(order) : lane_of(order);
}

void OrderBook::trust(ShardId shard, Instant begun) {
  const auto found = suspects_.find(shard);
  if (found != suspects_.end() && begun >= found->second) suspects_.erase(found);
}

void OrderBook::suspect(ShardId shard, Instant now) {
  if (!suspects_.insert_or_assign(shard, now).second) return;
  for (const auto id : std::exchange(lanes_[kCrossLane].queue, {})) {
    const auto found = entries_.find(id);
    if (found != entries_.end()) queue_of(found->second).push_back(id);
  }
}

bool OrderBook::has_room(const Lane& lane, Instant deadline, Instant now) const {
  if (lane.size >= limits_.orders_max - entries_.size()) return false;
  const auto oldest = lane.queue.empty() ? entries_.end() : entries_.find(lane.queue.front());
  const auto since = oldest == entries_.end() ? now : oldest->second.submitted;
  return lane.flow.can_serve(lane.size, since, deadline, now);
}

void OrderBook::enqueue(OrderId id, Entry& entry) {
  entry.stage = Stage::Waiting;
  entry.round = Sequence();
  queue_of(entry).push_back(id);
}

std::deque<OrderId>& OrderBook::queue_of(Entry& entry) {
  --lanes_[entry.lane].size;
  entry.lane = lane_for(entry.order);
  auto& lane = lanes_[entry.lane];
  if (lane.size == 0) lane.flow = LaneFlow();  // what was, is over
  ++lane.size;
  return lane.queue;
}

void OrderBook::claim(OrderId id, const Order& order, Sequence round) {
  for (const auto account : accounts_of(order)) {
    in_flight_.try_emplace(account, InFlight{round, {}});
  }
  const auto* transfer = transfer_of(order);
  if (transfer == nullptr) return;
  under_way_.insert_or_assign(transfer->id, UnderWay{id, round});
  transfers_of_[round].push_back(transfer->id);
}

void OrderBook::end(Sequence round) {
  const auto transfers = transfers_of_.find(round);
  if (transfers == transfers_of_.end()) return;
  for (const auto& id : transfers->second) {
    const auto found = under_way_.find(id);  // one that did not survive may be in another round
    if (found != under_way_.end() && found->second.round == round) under_way_.erase(found);
  }
  transfers_of_.erase(transfers);
}

// Another attempt with the same key, which may yet commit, though its client may have gone.
bool OrderBook::is_key_with_another(OrderId id, const Order& order) const {
  if (!is_keyed(order)) return false;
  const auto found = under_way_.find(transfer_of(order)->id);
  return found != under_way_.end() && found->second.order != id;
}

// An order waits on the first of its accounts that a round has; a key is used once in a round.
bool OrderBook::park_if_in_flight(OrderId id, Entry& entry, Sequence round) {
  for (const auto account : accounts_of(entry.order)) {
    const auto found = in_flight_.find(account);
    if (found == in_flight_.end() || found->second.round == round) continue;
    auto& parked = found->second.parked;
    if (parked.size() % 1024 == 1023) {  // while a round hangs, clients come and go
      std::erase_if(parked, [this](OrderId other) { return !entries_.contains(other); });
    }
    parked.push_back(id);
    entry.is_parked = true;
    return true;
  }
  return false;
}

std::vector<OrderId> OrderBook::take(const LaneId& lane, Sequence round, int orders_max,
                                     Instant now) {
  std::vector<OrderId> taken;
  auto youngest = Instant::min();
  boost::unordered_flat_set<TransferId, std::hash<TransferId>> keys;
  boost::unordered_flat_set<std::string> names;
  std::vector<OrderId> second_uses;  // of a key or a name, which a round has once
  auto& [queue, size, flow] = lanes_[lane];
  std::size_t bytes = 0;
  while (!queue.empty() && static_cast<int>(taken.size()) < orders_max) {
    const auto id = queue.front();
    const auto found = entries_.find(id);
    if (found == entries_.end()) {  // answered while it waited
      queue.pop_front();
      continue;
    }
    auto& entry = found->second;
    if (!taken.empty() && entry.round_max <= static_cast<int>(taken.size())) break;
    bytes += bytes_of(entry.order);
    if (!taken.empty() && bytes > kRoundBytesMax) break;
    queue.pop_front();
    if (park_if_in_flight(id, entry, round)) continue;
    const auto* open = std::get_if<OpenOrder>(&entry.order);
    const bool is_second =
        (is_keyed(entry.order) && !keys.insert(transfer_of(entry.order)->id).second) ||
        (open != nullptr && !names.insert(open->name).second);
    if (is_second) {
      second_uses.push_back(id);
      continue;
    }
    claim(id, entry.order, round);
    entry.round = round;
    entry.stage = Stage::Reserving;
    orders_max = std::min(orders_max, entry.round_max);
    taken.push_back(id);
    youngest = std::max(youngest, entry.submitted);
  }
  if (!taken.empty()) flow.on_taken(youngest, now);
  // Those of a key are parked by the next round: the accounts are this one's.
  queue.insert(queue.begin(), second_uses.begin(), second_uses.end());
  return taken;
}

OrderBook::Entry* OrderBook::find(OrderId id, Sequence round) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second.round != round) return nullptr;
  return &found->second;
}

void OrderBook::release(Sequence round, const std::vector<AccountId>& accounts) {
  std::vector<OrderId> woken;
  for (const auto account : accounts) {
    const auto found = in_flight_.find(account);
    if (found == in_flight_.end() || found->second.round != round) continue;
    woken.insert(woken.end(), found->second.parked.begin(), found->second.parked.end());
    in_flight_.erase(found);
  }
  std::ranges::sort(woken, std::greater<>());  // the oldest ends up first in its lane
  for (const auto id : woken) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) continue;
    found->second.is_parked = false;
    queue_of(found->second).push_front(id);
  }
}

void OrderBook::finish(OrderId id, Outcome outcome, Effects& out) {
  lanes_[entries_.at(id).lane].flow.on_answered();
  give_up(id, std::move(outcome), out);
}

// Answers an order that no round will.
void OrderBook::give_up(OrderId id, Outcome outcome, Effects& out) {
  const auto found = entries_.find(id);
  INVARIANT(found != entries_.end());
  --lanes_[found->second.lane].size;
  entries_.erase(found);
  out.emplace_back(Finish{id, std::move(outcome)});
}

void OrderBook::set_back(OrderId id, Setback setback, Instant now, Effects& out) {
  auto& entry = entries_.at(id);
  entry.setback = setback;
  if (setback == Setback::BusyInDoubt) entry.has_met_its_key = is_keyed(entry.order);
  if (setback == Setback::Busy) entry.has_met_its_key = false;  // the agent looks for keys first
  entry.stage = Stage::Waiting;
  entry.round = Sequence();
  Duration pause{};
  switch (setback) {
    case Setback::Busy:
    case Setback::BusyInDoubt:
    case Setback::ShardOverloaded:
      pause = busy_pause(++entry.times_busy);
      break;
    case Setback::Retry:
    case Setback::Stale:
      break;
    case Setback::Moving:
      pause = kMovingPause;
      break;
    case Setback::ShardFault:
    case Setback::DirectoryFault:
      pause = kFaultPause * (1 << std::min(entry.faults, 5));
      ++entry.faults;
      break;
  }
  if (++entry.retries > limits_.retries_max || entry.faults > limits_.faults_max) {
    give_up(id, outcome_of(setback, id, entry), out);
  } else if (pause == Duration{}) {
    queue_of(entry).push_front(id);
  } else {
    delayed_.emplace(now + pause, id);
  }
}

void OrderBook::set_lane_back(const LaneId& lane, Setback setback, Instant now, Effects& out) {
  auto waiting = std::exchange(lanes_[lane].queue, {});
  for (const auto id : waiting) {
    if (entries_.contains(id)) set_back(id, setback, now, out);
  }
}

void OrderBook::replace(OrderId id, Order order) {
  auto& entry = entries_.at(id);
  entry.order = std::move(order);
  enqueue(id, entry);
}

void OrderBook::await_route(OrderId id, AccountId account, Effects& out) {
  auto& entry = entries_.at(id);
  entry.stage = Stage::Waiting;
  entry.round = Sequence();
  const bool is_first = !awaiting_route_.contains(account);
  awaiting_route_.emplace(account, id);
  if (is_first) out.emplace_back(ReadRoutes{{account}});
}

void OrderBook::reroute(const RoutesRead& read, Instant now, Effects& out) {
  for (const auto account : read.asked) {
    const auto [begin, end] = awaiting_route_.equal_range(account);
    std::vector<OrderId> waiting;
    for (auto at = begin; at != end; ++at) waiting.push_back(at->second);
    awaiting_route_.erase(begin, end);
    for (const auto id : waiting) {
      const auto found = entries_.find(id);
      if (found == entries_.end()) continue;
      auto& entry = found->second;
      if (!read.routes) {
        set_back(id, Setback::DirectoryFault, now, out);
        continue;
      }
      const auto route = read.routes.value().find(account);
      if (route == read.routes.value().end()) {
        give_up(id, Failed{FailCode::Internal}, out);  // users are never deleted
        continue;
      }
      send_to(entry.order, account, route->second);
      set_back(id, Setback::Moving, now, out);
    }
  }
}

void OrderBook::tick(Instant now, Effects& out) {
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    const auto id = delayed_.begin()->second;
    delayed_.erase(delayed_.begin());
    const auto found = entries_.find(id);
    if (found != entries_.end()) queue_of(found->second).push_back(id);
  }
  while (!deadlines_.empty() && deadlines_.top().first <= now) {
    const auto id = deadlines_.top().second;
    deadlines_.pop();
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second.stage == Stage::Decided) continue;
    auto& lane = lanes_[found->second.lane];
    lane.flow.on_late(found->second.submitted, now);
    give_up(id, outcome_at_deadline(id, found->second), out);
    drop_answered(lane.queue);
  }
}

// A lane that stands still must not keep the numbers of orders that are gone.
void OrderBook::drop_answered(std::deque<OrderId>& queue) {
  while (!queue.empty() && !entries_.contains(queue.front())) queue.pop_front();
}

Outcome OrderBook::outcome_at_deadline(OrderId id, const Entry& entry) const {
  if (entry.stage == Stage::Sent || entry.may_be_done) return Failed{FailCode::OutcomeUnknown};
  if (entry.setback) return outcome_of(*entry.setback, id, entry);
  if (is_key_with_another(id, entry.order)) return KeyInProgress{};
  if (entry.stage == Stage::Reserving) return Failed{FailCode::ShardUnavailable};
  return Failed{entry.is_parked ? FailCode::Contention : FailCode::Overloaded};
}

Outcome OrderBook::outcome_of(Setback setback, OrderId id, const Entry& entry) const {
  if (entry.may_be_done) return Failed{FailCode::OutcomeUnknown};
  // The round in doubt may be another attempt with the same key, whatever came after.
  if (entry.has_met_its_key || is_key_with_another(id, entry.order)) return KeyInProgress{};
  switch (setback) {
    case Setback::Busy:
    case Setback::BusyInDoubt:
    case Setback::Retry:
    case Setback::Stale:
    case Setback::Moving:
      return Failed{FailCode::Contention};
    case Setback::ShardFault:
      return Failed{FailCode::ShardUnavailable};
    case Setback::ShardOverloaded:
      return Failed{FailCode::Overloaded};
    case Setback::DirectoryFault:
      return Failed{FailCode::DirectoryUnavailable};
  }
  std::abort();
}

std::vector<LaneId> OrderBook::lanes_waiting() const {
  std::vector<LaneId> waiting;
  for (const auto& [id, lane] : lanes_) {
    if (!lane.queue.empty()) waiting.push_back(id);
  }
  return waiting;
}

std::size_t OrderBook::parked() const {
  std::size_t count = 0;
  for (const auto& [account, in_flight] : in_flight_) count += in_flight.parked.size();
  return count;
}

}  // namespace koshel::coordinator
