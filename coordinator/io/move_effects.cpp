// CoordinatorService, second part: what the rebalancer wants done, and the rounds that move users.

#include <algorithm>

#include "coordinator/io/coordinator_service.hpp"
#include "platform/log.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::with_points;

void CoordinatorService::execute(HandOver&& effect) {
  spawn(hand_over(std::move(effect)));
}
void CoordinatorService::execute(MoveUsers&& effect) {
  spawn(move_users(std::move(effect)));
}
void CoordinatorService::execute(BeatRebalance&& effect) {
  spawn(beat_rebalance(std::move(effect)));
}
void CoordinatorService::execute(ReadMoves&&) {
  spawn(read_moves());
}
void CoordinatorService::execute(TakeMove&& effect) {
  spawn(take_move(effect));
}
void CoordinatorService::execute(TakeLeftovers&&) {
  spawn(take_leftovers());
}
void CoordinatorService::execute(BeginArrival&& effect) {
  spawn(begin_arrival(std::move(effect)));
}
void CoordinatorService::execute(CopyChunk&& effect) {
  spawn(copy(std::move(effect)));
}
void CoordinatorService::execute(CheckArrived&& effect) {
  spawn(check_arrived(std::move(effect)));
}
void CoordinatorService::execute(CleanMove&& effect) {
  spawn(clean_move(std::move(effect)));
}
void CoordinatorService::execute(EndMove&& effect) {
  spawn(end_move(std::move(effect)));
}
void CoordinatorService::execute(EndRebalance&& effect) {
  spawn(end_rebalance(std::move(effect)));
}

// ---- copying

// From the source to the target, without looking into it.
asio::awaitable<Result<ChunkCopied::Progress>> CoordinatorService::copy_chunk(CopyChunk copy) {
  auto reading = with_points<"coordinator.read_chunk">(
      ask_agent<messages::Chunk>(copy.source, "/v1/moves/read", std::move(copy.read)));
  auto chunk = co_await std::move(reading);
  if (!chunk) co_return chunk.error();
  auto& [entries, count, copied, is_complete] = chunk.value();
  if (count == 0) co_return ChunkCopied::Progress{true, is_complete, 0, {}};
  messages::WriteChunk write{copy.move, std::move(entries)};
  auto writing = with_points<"coordinator.write_chunk">(
      ask_agent<messages::ChunkWritten>(copy.target, "/v1/moves/write", std::move(write)));
  const auto written = co_await std::move(writing);
  if (!written) co_return written.error();
  co_return ChunkCopied::Progress{written.value().is_fitting, is_complete, count,
                                  std::move(copied)};
}

asio::awaitable<void> CoordinatorService::copy(CopyChunk copy) {
  const auto move = copy.move;
  const auto target = copy.target;
  auto pending = copy_chunk(std::move(copy));
  auto done = co_await std::move(pending);
  if (done) {
    spdlog::info("move {}: {} entries copied to {}", move.value(), done.value().entries,
                 shards_.name(target));
  } else {
    spdlog::warn("move {}: a chunk could not be copied: {}", move.value(), done.error().context);
  }
  step(ChunkCopied{move, std::move(done)});
}

// All that the accounts of one move have got since they were copied; they are held, so it ends.
asio::awaitable<Result<void>> CoordinatorService::copy_rest(HandOver hand_over) {
  CopyChunk copy{hand_over.parts.front().move, hand_over.source, hand_over.target, {}};
  copy.read.limit = config_.rebalance.entries_per_chunk;
  for (const auto& part : hand_over.parts) copy.read.after.push_back(part.copied);
  for (;;) {
    auto pending = copy_chunk(copy);
    const auto done = co_await std::move(pending);
    if (!done) co_return done.error();
    if (!done.value().is_fitting) co_return Error{Fault::Retryable, "the move is over"};
    if (done.value().is_complete) co_return success();
    for (auto& after : copy.read.after) {
      const auto found =
          std::ranges::find(done.value().copied, after.account, &messages::CopiedTo::account);
      if (found != done.value().copied.end()) after.version = found->version;
    }
  }
}

asio::awaitable<void> CoordinatorService::hand_over(HandOver hand_over) {
  Result<void> done = success();
  while (done && !hand_over.parts.empty()) {  // move by move; most rounds are of one
    const auto move = hand_over.parts.front().move;
    const auto others = std::ranges::stable_partition(
        hand_over.parts, [move](const HandOver::Part& part) { return part.move == move; });
    HandOver of_move{hand_over.round,
                     hand_over.source,
                     hand_over.target,
                     {hand_over.parts.begin(), others.begin()}};
    hand_over.parts.erase(hand_over.parts.begin(), others.begin());
    auto pending = copy_rest(std::move(of_move));
    done = co_await std::move(pending);
  }
  if (!done) {
    spdlog::warn("round {}:{} cannot move its accounts now: {}", incarnation_.value(),
                 hand_over.round.value(), done.error().context);
  }
  step(HandedOver{hand_over.round, std::move(done)});
}

asio::awaitable<void> CoordinatorService::begin_arrival(BeginArrival begin) {
  const auto move = begin.begin.move;
  auto pending = with_points<"coordinator.begin_arrival">(
      ask_agent<messages::ArrivalBegun>(begin.target, "/v1/moves/begin", std::move(begin.begin)));
  auto reply = co_await std::move(pending);
  step(ArrivalBegun{move, std::move(reply)});
}

asio::awaitable<void> CoordinatorService::check_arrived(CheckArrived check) {
  auto pending = ask_agent<messages::HeadsRead>(check.target, "/v1/accounts/heads",
                                                messages::ReadHeads{check.accounts});
  const auto heads = co_await std::move(pending);
  if (!heads) {
    step(ArrivedChecked{check.move, heads.error()});
    co_return;
  }
  const auto is_owner = std::ranges::none_of(heads.value().heads,
                                             [](const auto& head) { return head == std::nullopt; });
  if (!is_owner) {
    spdlog::warn("move {}: {} does not own accounts that were cut over to it", check.move.value(),
                 shards_.name(check.target));
  }
  step(ArrivedChecked{check.move, is_owner});
}

asio::awaitable<void> CoordinatorService::clean_move(CleanMove clean) {
  const auto move = clean.clean.move;
  auto pending = with_points<"coordinator.clean_move">(
      ask_agent<messages::MoveCleaned>(clean.shard, "/v1/moves/clean", std::move(clean.clean)));
  auto reply = co_await std::move(pending);
  step(MoveCleaned{move, std::move(reply)});
}

// ---- the directory

asio::awaitable<void> CoordinatorService::move_users(MoveUsers move) {
  directory::DecisionLog::MovingUsers moving{move.source, move.target, {}, {}};
  for (const auto& [id, account] : move.parts) {
    moving.moves.push_back(id);
    moving.accounts.push_back(account);
  }
  auto pending = with_points<"coordinator.move_users">(
      log_.move_users({incarnation_, move.round}, std::move(move.participants), std::move(moving)));
  auto moved = co_await std::move(pending);
  for (const auto& part : move.parts) routes_.forget(part.account);
  const bool is_answered = moved.has_value();
  if (!moved) {
    spdlog::warn("round {}:{}: moving users: {}", incarnation_.value(), move.round.value(),
                 moved.error().context);
  }
  step(UsersMoved{move.round, std::move(moved)});
  if (is_answered) co_return;
  // The machine takes the directory for down until somebody has read it.
  auto refreshing = refresh(read_deadline());
  co_await std::move(refreshing);
}

asio::awaitable<void> CoordinatorService::beat_rebalance(BeatRebalance beat) {
  auto pending = with_points<"coordinator.beat_rebalance">(
      rebalance_.beat(incarnation_, beat.seen_beat, beat.entries, std::move(beat.error)));
  auto hold = co_await std::move(pending);
  const bool was_holder = machine_.is_moving_users();
  step(RebalanceBeaten{std::move(hold)});
  if (machine_.is_moving_users() != was_holder) {
    spdlog::info(was_holder ? "no longer moving users" : "moving users from now on");
  }
}

asio::awaitable<void> CoordinatorService::read_moves() {
  auto pending = with_points<"coordinator.read_moves">(rebalance_.open_moves());
  auto moves = co_await std::move(pending);
  step(MovesRead{std::move(moves)});
}

asio::awaitable<void> CoordinatorService::take_move(TakeMove take) {
  auto pending =
      with_points<"coordinator.take_move">(rebalance_.take_move(incarnation_, take.users_max));
  auto move = co_await std::move(pending);
  if (move && move.value()) {
    const auto& taken = *move.value();
    spdlog::info("move {}: {} users from {} to {}", taken.move.value(), taken.accounts.size(),
                 shards_.name(taken.source), shards_.name(taken.target));
  }
  step(MoveTaken{std::move(move)});
}

// A shard that drains and has no users left may still have accounts of @world, which goes to the
// first shard that takes users.
asio::awaitable<Result<std::optional<OpenMove>>> CoordinatorService::find_leftovers() {
  auto pending_shards = directory_.shards(read_deadline());
  const auto shards = co_await std::move(pending_shards);
  if (!shards) co_return shards.error();
  auto pending_users = directory_.users_per_shard(read_deadline());
  const auto users = co_await std::move(pending_users);
  if (!users) co_return users.error();
  const auto target =
      std::ranges::find(shards.value(), directory::ShardState::Active, &directory::Shard::state);
  for (const auto& shard : shards.value()) {
    const bool has_users =
        std::ranges::count(users.value(), shard.id, &directory::ShardUsers::shard) > 0;
    if (shard.state != directory::ShardState::Draining || has_users) continue;
    if (target == shards.value().end()) continue;
    auto finding = agent(shard.id);
    const std::shared_ptr<AgentClient> client = co_await std::move(finding);
    if (!client) co_return Error{Fault::Unavailable, "shard " + shard.name + " has no agent"};
    auto pending = client->status(std::chrono::steady_clock::now() + config_.agent_timeout);
    auto status = co_await std::move(pending);
    if (!status) co_return status.error();
    if (status.value().worlds.empty()) continue;
    auto taking = rebalance_.take_accounts(incarnation_, shard.id, target->id,
                                           std::move(status.value().worlds));
    auto taken = co_await std::move(taking);
    if (!taken || taken.value()) co_return taken;
  }
  co_return std::nullopt;
}

asio::awaitable<void> CoordinatorService::take_leftovers() {
  auto pending = with_points<"coordinator.take_leftovers">(find_leftovers());
  auto move = co_await std::move(pending);
  step(MoveTaken{std::move(move)});
}

asio::awaitable<void> CoordinatorService::end_move(EndMove end) {
  auto pending = with_points<"coordinator.end_move">(
      rebalance_.end_move(incarnation_, end.move, std::move(end.accounts), end.is_cut_over));
  auto done = co_await std::move(pending);
  step(MoveEnded{end.move, std::move(done)});
}

asio::awaitable<void> CoordinatorService::end_rebalance(EndRebalance end) {
  if (!end.error.empty()) spdlog::error("the rebalance has failed: {}", end.error);
  auto pending =
      with_points<"coordinator.end_rebalance">(rebalance_.end(incarnation_, std::move(end.error)));
  auto is_over = co_await std::move(pending);
  if (is_over && is_over.value()) {
    const auto& pauses = machine_.pauses();
    spdlog::info(
        "the rebalance is over; {} accounts were cut over here, each in {:.1f} ms, {:.1f} at most",
        pauses.count,
        pauses.count == 0 ? 0 : 1000 * pauses.seconds / static_cast<double>(pauses.count),
        std::chrono::duration<double, std::milli>(pauses.longest).count());
  }
  step(RebalanceEnded{std::move(is_over)});
}

}  // namespace koshel::coordinator
