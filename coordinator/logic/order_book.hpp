#pragma once
// Every order that has no answer yet: where it waits, how often it came back, when it must end.
// Orders wait in lanes; one whose account is in a round of this coordinator is parked on that
// account and comes back when the round lets go, so agents are not asked for what is known to be
// held. Bounded.
//
//   stage      means                                              at its deadline
//   Waiting    in a lane, parked, delayed, or its route is read   Contention, Overloaded, ...
//   Reserving  in a round that has prepared nothing               as Waiting
//   Sent       in a round that may have committed                 OutcomeUnknown
//   Decided    decided to commit                                  the round answers Settling

#include <boost/unordered/unordered_flat_map.hpp>
#include <deque>
#include <map>
#include <queue>
#include <unordered_map>

#include "coordinator/logic/events.hpp"
#include "coordinator/logic/lane_flow.hpp"

namespace koshel::coordinator {

// Why an order goes back to where it came from.
enum class Setback : std::int8_t {
  Busy,         // an account is held by a round of another coordinator
  BusyInDoubt,  // ... by a round in doubt
  Retry,        // the round's other orders stood in the way, or it was split
  Stale,        // a head was not as the agent believed
  Moving,       // the route is new, or about to be
  ShardFault,   // a shard cannot be reached or serve
  ShardOverloaded,
  DirectoryFault,
};

enum class Stage : std::int8_t { Waiting, Reserving, Sent, Decided };

struct BookLimits {
  std::size_t orders_max = 65'536;
  int retries_max = 100;
  int faults_max = 3;  // tries against a shard or directory that does not answer
};

class OrderBook {
 public:
  explicit OrderBook(const BookLimits& limits) : limits_(limits) {}

  struct Entry {
    Order order;
    Instant submitted;
    Instant deadline;
    LaneId lane;
    Stage stage = Stage::Waiting;
    Sequence round;  // 0: in none
    int times_busy = 0;
    int retries = 0;
    int faults = 0;
    int round_max = INT32_MAX;  // smaller after a round with this order was rejected
    std::optional<Setback> setback;
    bool is_parked = false;
    bool may_be_done = false;  // an earlier round with it was applied; what it brought is not known
    bool has_met_its_key = false;  // in another round, or may have; and has not found it free since
  };

  // False: the book is full, or the order's lane has its share of it, since a lane that stands still
  // must leave room for the others; or so many wait in the lane that its turn would come too late.
  bool submit(OrderId id, Order order, Instant deadline, Instant now);

  // Up to `orders_max` orders of the lane for `round`, whose accounts become its own.
  std::vector<OrderId> take(const LaneId& lane, Sequence round, int orders_max, Instant now);
  // The order if it is still in that round, else null (it has been answered meanwhile).
  Entry* find(OrderId id, Sequence round);
  void set_stage(OrderId id, Stage stage) { entries_.at(id).stage = stage; }

  // The round lets go of accounts: who was parked on them is back in its lane, at its head.
  void release(Sequence round, const std::vector<AccountId>& accounts);
  // The round is over: its transfers are no longer under way here.
  void end(Sequence round);
  // True while a round has the transfer, even if its client was answered already.
  bool is_under_way(TransferId id) const { return under_way_.contains(id); }

  // The order's round has answered it.
  void finish(OrderId id, Outcome outcome, Effects& out);
  // Back to its lane, now or after a pause that grows; finished when its retries are used up.
  void set_back(OrderId id, Setback setback, Instant now, Effects& out);
  // The same for all that wait in the lane, since it cannot go on.
  void set_lane_back(const LaneId& lane, Setback setback, Instant now, Effects& out);
  // The order becomes another one (a refusal to be remembered) and waits again.
  void replace(OrderId id, Order order);
  // A shard that did not answer as it should is suspect: what touches it has lanes of its own, so that
  // nobody else waits for it; until it has carried out what was begun afterwards.
  void suspect(ShardId shard, Instant now);
  void trust(ShardId shard, Instant begun);
  bool is_suspect(ShardId shard) const { return suspects_.contains(shard); }
  std::size_t suspects() const { return suspects_.size(); }
  // Waits for its route; comes back with reroute().
  void await_route(OrderId id, AccountId account, Effects& out);
  void reroute(const RoutesRead& read, Instant now, Effects& out);

  // Delays that are over, deadlines that have passed.
  void tick(Instant now, Effects& out);

  std::vector<LaneId> lanes_waiting() const;
  std::size_t waiting(const LaneId& lane) const { return lanes_.at(lane).queue.size(); }
  // When the newest order came that was a client's. nullopt: none ever did.
  std::optional<Instant> last_from_client() const { return last_from_client_; }
  std::size_t size() const { return entries_.size(); }
  std::size_t parked() const;

 private:
  struct InFlight {
    Sequence round;
    std::vector<OrderId> parked;
  };
  struct Lane {
    std::deque<OrderId> queue;  // with numbers of orders that were answered meanwhile
    std::size_t size = 0;       // orders without an answer, in the queue or not
    LaneFlow flow;
  };
  bool has_room(const Lane& lane, Instant deadline, Instant now) const;
  void enqueue(OrderId id, Entry& entry);
  void give_up(OrderId id, Outcome outcome, Effects& out);
  bool park_if_in_flight(OrderId id, Entry& entry, Sequence round);
  void claim(OrderId id, const Order& order, Sequence round);
  bool is_key_with_another(OrderId id, const Order& order) const;
  LaneId lane_for(const Order& order) const;
  // Of the order's lane as things are now, where it is counted from now on.
  std::deque<OrderId>& queue_of(Entry& entry);
  void drop_answered(std::deque<OrderId>& queue);
  Outcome outcome_at_deadline(OrderId id, const Entry& entry) const;
  Outcome outcome_of(Setback setback, OrderId id, const Entry& entry) const;

  BookLimits limits_;
  std::unordered_map<OrderId, Entry> entries_;
  std::optional<Instant> last_from_client_;
  std::map<LaneId, Lane> lanes_;
  std::map<ShardId, Instant> suspects_;  // since when at the last
  boost::unordered_flat_map<AccountId, InFlight, std::hash<AccountId>> in_flight_;
  std::multimap<Instant, OrderId> delayed_;
  std::multimap<AccountId, OrderId> awaiting_route_;
  struct UnderWay {
    OrderId order = 0;
    Sequence round;
  };
  boost::unordered_flat_map<TransferId, UnderWay, std::hash<TransferId>> under_way_;
  std::unordered_map<Sequence, std::vector<TransferId>> transfers_of_;
  using Deadline = std::pair<Instant, OrderId>;
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
};

// The transfer that the order is about; null: it is about none.
const Transfer* transfer_of(const Order& order);

// The accounts, other than @world, that a round holds for the order.
std::vector<AccountId> accounts_of(const Order& order);

}  // namespace koshel::coordinator
