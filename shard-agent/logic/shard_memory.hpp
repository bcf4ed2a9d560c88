#pragma once
// What all rounds of an agent share: heads, holds, keys in flight, the epoch. Lost at every
// take-over, because nothing in it is needed for correctness.

#include <boost/unordered/unordered_flat_map.hpp>

#include "shard-agent/logic/events.hpp"
#include "shard-agent/logic/head_cache.hpp"
#include "shard-agent/logic/holds.hpp"

namespace koshel::agent {

struct AgentLimits {
  std::size_t heads_cached_max = 1'000'000;
  int rounds_in_flight_max = 256;
  int prepared_max = 60;  // slots of max_prepared_transactions that rounds may use
  int worlds_max = 16;
  int stale_retries_max = 3;
  int busy_patience = 5;
  Duration keep_for_patient = std::chrono::milliseconds(250);
  Duration reservation = std::chrono::seconds(5);
  Duration scan_interval = std::chrono::seconds(1);
  Duration in_doubt_age = std::chrono::seconds(5);
  Duration forget_interval = std::chrono::seconds(10);
  Duration take_over_retry = std::chrono::milliseconds(500);
};

struct AgentCounters {  // for metrics; monotonic
  std::int64_t transfers_applied = 0;
  std::int64_t rounds_local = 0;
  std::int64_t rounds_prepared = 0;
  std::int64_t busy = 0;
  std::int64_t stale_heads = 0;
  std::int64_t recovered_commit = 0;
  std::int64_t recovered_abort = 0;
  std::int64_t reservations_expired = 0;
  std::int64_t take_overs = 0;
  std::int64_t prepared_scans = 0;
};

// What an event means for the agent as a whole.
enum class Aftermath : std::int8_t {
  None,
  ConnectionLost,  // the agent has to take over anew
  Outrun,          // a newer agent serves the shard
};

struct ShardMemory {
  explicit ShardMemory(ShardId own_shard, const AgentLimits& own_limits)
      : shard(own_shard),
        limits(own_limits),
        heads(own_limits.heads_cached_max),
        holds({own_limits.busy_patience, own_limits.keep_for_patient}) {}

  // Where accounts of a round are decided upon: false and the reason if one of them is not free.
  std::optional<messages::Busy> find_obstacle(AccountId account, const Holds::Request& request,
                                              Instant now) {
    if (holds.is_free_for(account, request, now)) return std::nullopt;
    ++counters.busy;
    const auto* hold = holds.find(account);
    return messages::Busy{account, hold != nullptr && hold->reason == HoldReason::InDoubt};
  }

  // A free @world account of this shard for the round; nullopt when all are held. Who is patient
  // enough then gets the first one kept, not all of them.
  std::optional<AccountId> free_world(CurrencyId currency, const Holds::Request& request,
                                      Instant now) {
    for (int slot = 0; slot < limits.worlds_max; ++slot) {
      const auto world = AccountId::world(shard, currency, slot);
      if (holds.is_free(world, request, now)) return world;
    }
    holds.is_free_for(AccountId::world(shard, currency, 0), request, now);
    ++counters.busy;
    return std::nullopt;
  }

  bool is_key_in_flight_elsewhere(TransferId id, RoundId round) const {
    const auto found = keys_in_flight.find(id);
    return found != keys_in_flight.end() && found->second != round;
  }

  // A round that was interrupted may end after another has claimed its keys.
  void release_key(TransferId id, RoundId round) {
    const auto found = keys_in_flight.find(id);
    if (found != keys_in_flight.end() && found->second == round) keys_in_flight.erase(found);
  }

  ShardId shard;
  AgentLimits limits;
  Epoch epoch;
  HeadCache heads;
  Holds holds;
  boost::unordered_flat_map<TransferId, RoundId, std::hash<TransferId>> keys_in_flight;
  AgentCounters counters;
};

}  // namespace koshel::agent
