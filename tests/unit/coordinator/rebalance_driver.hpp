#pragma once
// A coordinator that is to move users: answers its beats with a rebalance as a test wants it, and
// the effects of the mover one by one. Moves go from shard 1 to shard 2, which has versions 1 to 5
// of every account once it has been told to expect them.

#include "tests/unit/coordinator/coordinator_driver.hpp"

namespace koshel::coordinator {

using directory::RebalanceState;

inline constexpr ShardId kSource(1);
inline constexpr ShardId kTarget(2);
inline constexpr MoveId kMove(70);
inline constexpr MoveId kOtherMove(71);
inline constexpr Version kCopied(5);

inline const RebalanceLimits kRebalanceLimits{.users_per_move = 10,
                                              .entries_per_chunk = 100,
                                              .moves_in_flight = 2,
                                              .beside_orders_percent = 25,
                                              .beside_orders_users = 1,
                                              .beside_orders_entries = 10,
                                              .beat = milliseconds(500),
                                              .lease = seconds(5),
                                              .retry = seconds(1),
                                              .retries_max = 5,
                                              .cut_over_max = seconds(3)};

inline std::vector<AccountId> accounts(std::vector<std::int64_t> numbers) {
  std::vector<AccountId> ids;
  for (const auto number : numbers) ids.emplace_back(number);
  return ids;
}

inline OpenMove open_move(MoveId move, const std::vector<std::int64_t>& waiting,
                          const std::vector<std::int64_t>& cut_over = {}) {
  OpenMove open{move, kSource, kTarget, {}};
  for (const auto number : waiting) open.accounts.push_back({AccountId(number), false});
  for (const auto number : cut_over) open.accounts.push_back({AccountId(number), true});
  return open;
}

struct ChunkOptions {
  bool is_fitting = true;
  bool is_complete = false;
  std::int64_t entries = 0;
  std::vector<messages::CopiedTo> copied = {};
};

class Rebalancing : public testing::Test {
 protected:
  explicit Rebalancing(const BookLimits& book = {}) : driver({}, book, kRebalanceLimits) {}

  // ---- the rebalance as the directory has it

  RebalanceState state = RebalanceState::Running;
  std::optional<int> users_per_second;
  std::optional<Incarnation> holder = kIncarnation;
  std::int64_t beats = 7;

  // The next beat, with what it was answered.
  BeatRebalance beat() {
    driver.pass(kRebalanceLimits.beat);
    auto effect = driver.take_one<BeatRebalance>();
    answer_beat();
    return effect;
  }
  void answer_beat() {
    if (holder == kIncarnation) ++beats;
    driver.give(RebalanceBeaten{directory::RebalanceHold{state, users_per_second, holder, beats}});
  }
  void turn_to(RebalanceState next) {
    state = next;
    beat();
  }

  // Holds the rebalance, and knows that these moves are open.
  void hold(std::vector<OpenMove> open = {}) {
    beat();
    read(std::move(open));
  }
  // The same, and that there is nothing else in the plan.
  void hold_the_last(std::vector<OpenMove> open) {
    hold(std::move(open));
    take_none();
  }

  // ---- what becomes of effects

  void read(std::vector<OpenMove> open) {
    driver.take_one<ReadMoves>();
    driver.give(MovesRead{std::move(open)});
  }
  void take(const OpenMove& move) {
    driver.take_one<TakeMove>();
    driver.give(MoveTaken{std::optional(move)});
  }
  void take_none() {
    driver.take_one<TakeMove>();
    driver.give(MoveTaken{std::optional<OpenMove>()});
  }
  void take_no_leftovers() {
    driver.take_one<TakeLeftovers>();
    driver.give(MoveTaken{std::optional<OpenMove>()});
  }
  BeginArrival begin() {
    auto effect = driver.take_one<BeginArrival>();
    messages::ArrivalBegun begun{true, {}};
    for (const auto account : effect.begin.accounts) begun.copied.push_back({account, kCopied});
    driver.give(ArrivalBegun{effect.begin.move, begun});
    return effect;
  }
  CopyChunk copy(const ChunkOptions& chunk) {
    auto effect = driver.take_one<CopyChunk>();
    driver.give(ChunkCopied{effect.move, ChunkCopied::Progress{chunk.is_fitting, chunk.is_complete,
                                                               chunk.entries, chunk.copied}});
    return effect;
  }
  // Up to the rounds that cut over.
  void begin_and_copy() {
    begin();
    copy({.is_complete = true});
  }
  void arrive(bool is_owner = true) {
    const auto check = driver.take_one<CheckArrived>();
    driver.give(ArrivedChecked{check.move, is_owner});
  }
  bool cleans_nothing() {
    return driver.take<CheckArrived>().empty() && driver.take<CleanMove>().empty();
  }
  // At the source after the target has said that it owns the accounts.
  CleanMove clean(bool is_complete = true) {
    for (const auto& check : driver.take<CheckArrived>()) {
      driver.give(ArrivedChecked{check.move, true});
    }
    auto effect = driver.take_one<CleanMove>();
    driver.give(MoveCleaned{effect.clean.move, messages::MoveCleaned{is_complete}});
    return effect;
  }
  EndMove end() {
    auto effect = driver.take_one<EndMove>();
    driver.give(MoveEnded{effect.move, success()});
    return effect;
  }
  void clean_and_end() {
    clean();
    end();
  }

  // The round that has been begun, up to the decision, which is left to the caller.
  RoundInFlight bring_to_decision() {
    RoundInFlight round;
    std::size_t size = 0;
    for (const auto& sent : driver.sent<messages::Reserve>()) {
      round.round = sent.round;
      round.shards.push_back(sent.shard);
      size = sent.message.orders.size();
    }
    Head head;
    head.version = kCopied;
    driver.vote(round.round, kSource, {size, messages::Leaving{head}});
    driver.vote(round.round, kTarget, {size, messages::Yes{}});
    driver.sent<messages::Prepare>();
    for (const auto shard : round.shards) {
      driver.reply_prepare(round.round, shard, prepared_of(shard, size));
    }
    return round;
  }
  void cut_over() {
    const auto round = bring_to_decision();
    driver.take_one<MoveUsers>();
    driver.give(UsersMoved{round.round, MoveUsersOutcome::Moved});
    driver.sent<messages::Settle>();
    driver.settle_all(round);
  }

  CoordinatorDriver driver;
};

}  // namespace koshel::coordinator
