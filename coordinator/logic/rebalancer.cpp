#include "coordinator/logic/rebalancer.hpp"

#include <algorithm>

namespace koshel::coordinator {

using directory::RebalanceState;

namespace {

std::vector<AccountId> accounts_of(const OpenMove& move, bool is_cut_over) {
  std::vector<AccountId> accounts;
  for (const auto& account : move.accounts) {
    if (account.is_cut_over == is_cut_over) accounts.push_back(account.account);
  }
  return accounts;
}

}  // namespace

// ---- who holds the rebalance

void Rebalancer::tick(Instant now, Effects& out) {
  if (!is_beating_ && now >= next_beat_) {
    is_beating_ = true;
    const bool is_still = !is_holder_ && seen_beat_ >= 0 && now - seen_at_ >= limits_.lease;
    told_ = std::exchange(entries_, 0);
    out.emplace_back(BeatRebalance{is_still ? seen_beat_ : -1, told_, error_});
  }
  advance(now, out);
}

void Rebalancer::on(const RebalanceBeaten& event, Instant now, Effects& out) {
  is_beating_ = false;
  next_beat_ = now + limits_.beat;
  if (!event.hold) {  // whoever takes it over must have seen this one's beats stand still
    if (event.hold.error().fault == Fault::Unavailable) entries_ += told_;
    return;
  }
  const auto& hold = event.hold.value();
  // Each beat of a holder adds one. Where more were added another one may have held it in between
  // and have ended it, or begun the next.
  const bool is_unbroken = hold.beat == seen_beat_ + 1;
  if (hold.beat != seen_beat_) {
    seen_beat_ = hold.beat;
    seen_at_ = now;
  }
  const bool is_active = hold.state == RebalanceState::Running ||
                         hold.state == RebalanceState::Paused ||
                         hold.state == RebalanceState::Cancelling;
  const bool is_held = is_active && hold.holder == own_;
  if (is_held != is_holder_ || (is_held && !is_unbroken)) drop();
  is_holder_ = is_held;
  state_ = hold.state;
  users_per_second_ = hold.users_per_second;
  advance(now, out);
}

// Orders that are under way end by themselves; what they did is read when it is needed.
void Rebalancer::drop() {
  moves_.clear();
  has_read_ = is_ending_ = false;
  is_read_void_ = is_reading_;
  is_take_void_ = is_taking_;
  is_planned_ = has_leftovers_ = true;
  failures_ = 0;
  error_.clear();
}

void Rebalancer::fail(const Error& error) {
  ++failures_;
  error_ = error.context;
}

// ---- what comes next

void Rebalancer::advance(Instant now, Effects& out) {
  if (!is_holder_ || is_ending_ || now < again_at_) return;
  if (failures_ > limits_.retries_max) {
    is_ending_ = true;
    out.emplace_back(EndRebalance{error_});
    return;
  }
  if (is_reading_) return;
  const bool has_doubtful =
      std::ranges::any_of(moves_, [](const auto& each) { return is_to_read(each.second); });
  if (!has_read_ || has_doubtful) {
    is_reading_ = true;
    out.emplace_back(ReadMoves{});
    return;
  }
  if (is_running() || is_cancelling()) {
    for (auto& [id, move] : moves_) advance(move, out, now);
    take(now, out);
  }
}

void Rebalancer::advance(Move& move, Effects& out, Instant now) {
  if (move.is_busy || move.is_doubtful || !move.orders.empty() || now < move.again_at) return;
  if (!may_step(now)) return;
  step_began_ = now;
  const auto waiting = accounts_of(move.open, false);
  if (waiting.empty() && !move.is_arrived) {
    move.is_busy = true;
    out.emplace_back(CheckArrived{move.open.move, move.open.target, accounts_of(move.open, true)});
  } else if (waiting.empty()) {
    clean(move, move.open.source, true, now, out);
  } else if (is_cancelling()) {
    clean(move, move.open.target, false, now, out);
  } else if (!move.is_begun) {
    move.is_busy = true;
    out.emplace_back(BeginArrival{move.open.target, {move.open.move, waiting}});
  } else if (!move.is_copied) {
    move.is_busy = true;
    const auto entries = std::min(move.entries_max, entries_max(now));
    CopyChunk copy{move.open.move, move.open.source, move.open.target, {{}, entries}};
    for (const auto& [account, version] : move.copied)
      copy.read.after.push_back({account, version});
    out.emplace_back(std::move(copy));
  } else {
    cut_over(move, now);
  }
}

// ---- how fast

bool Rebalancer::is_beside_orders(Instant now) const {
  const auto last = book_.last_from_client();
  return last && now - *last < kQuiet;
}

bool Rebalancer::may_step(Instant now) const {
  if (!is_beside_orders(now)) return true;
  return now >= next_step_ && std::ranges::none_of(moves_, [](const auto& each) {
           return each.second.is_busy || !each.second.orders.empty();
         });
}

void Rebalancer::end_step(Instant now) {
  const auto took = now - step_began_;
  next_step_ = now + std::min(took * 100 / limits_.beside_orders_percent - took, kPauseMax);
}

int Rebalancer::entries_max(Instant now) const {
  return is_beside_orders(now) ? std::min(limits_.entries_per_chunk, limits_.beside_orders_entries)
                               : limits_.entries_per_chunk;
}

// ---- the steps

// Those that went leave their source; those that shall not come after all, their target.
void Rebalancer::clean(Move& move, ShardId shard, bool is_leaving, Instant now, Effects& out) {
  move.is_busy = true;
  out.emplace_back(CleanMove{
      shard, {move.open.move, is_leaving, accounts_of(move.open, is_leaving), entries_max(now)}});
}

void Rebalancer::cut_over(Move& move, Instant now) {
  const auto at_once = is_beside_orders(now) ? limits_.beside_orders_users : INT32_MAX;
  for (const auto& [account, version] : move.copied) {
    if (static_cast<int>(move.orders.size()) >= at_once) break;
    const auto id = ++last_order_;
    const MoveOrder order{move.open.move, account, move.open.source, move.open.target, version};
    if (book_.submit(id, order, now + limits_.cut_over_max, now)) move.orders.emplace(id, account);
  }
  if (move.orders.empty()) doubt(move, now + limits_.retry);  // too many other orders wait
}

void Rebalancer::take(Instant now, Effects& out) {
  const bool is_empty = moves_.empty();
  if (is_taking_) return;
  if (is_running() && is_planned_) {
    const bool has_room = static_cast<int>(moves_.size()) < limits_.moves_in_flight;
    if (!has_room || now < next_take_) return;
    is_taking_ = true;
    out.emplace_back(
        TakeMove{std::min(limits_.users_per_move, users_per_second_.value_or(INT32_MAX))});
  } else if (is_running() && has_leftovers_ && is_empty) {
    is_taking_ = true;
    out.emplace_back(TakeLeftovers{});
  } else if (is_empty && entries_ > 0) {
    next_beat_ = now;  // the last of them are to be told first
  } else if (is_empty && !is_beating_) {
    is_ending_ = true;
    out.emplace_back(EndRebalance{});
  }
}

// ---- what has become of it

void Rebalancer::add(const OpenMove& open) {
  auto& move = moves_[open.move];
  move = Move{};
  move.open = open;
  move.entries_max = limits_.entries_per_chunk;
}

void Rebalancer::doubt(Move& move, Instant again_at) {
  move.is_doubtful = true;
  move.is_begun = move.is_copied = false;
  move.again_at = again_at;
}

Rebalancer::Move* Rebalancer::find(MoveId id) {
  const auto found = moves_.find(id);
  return found == moves_.end() ? nullptr : &found->second;
}

// The move, if its effect was under way.
Rebalancer::Move* Rebalancer::resume(MoveId id, Instant now) {
  auto* move = find(id);
  if (move == nullptr || !move->is_busy) return nullptr;
  move->is_busy = false;
  end_step(now);
  return move;
}

void Rebalancer::on(const MovesRead& event, Instant now, Effects& out) {
  if (!is_reading_) return;
  is_reading_ = false;
  if (std::exchange(is_read_void_, false)) return advance(now, out);
  if (!event.moves) {
    fail(event.moves.error());
    again_at_ = now + limits_.retry;
    return;
  }
  std::set<MoveId> open;
  for (const auto& read : event.moves.value()) {
    open.insert(read.move);
    auto* known = find(read.move);
    if (known == nullptr) {
      if (!has_read_) add(read);  // else it was taken while this was read
    } else if (is_to_read(*known)) {
      const auto again_at = known->again_at;
      add(read);
      moves_.at(read.move).again_at = again_at;
    }
  }
  std::erase_if(moves_, [&](const auto& each) {
    return is_to_read(each.second) && !open.contains(each.first);
  });
  has_read_ = true;
  advance(now, out);
}

void Rebalancer::on(const MoveTaken& event, Instant now, Effects& out) {
  if (!is_taking_) return;
  is_taking_ = false;
  if (std::exchange(is_take_void_, false)) {
    has_read_ = false;  // what was taken may have come after the moves were read
    return advance(now, out);
  }
  if (!event.move) {
    // It may have been taken all the same: then it is there when the moves are read.
    has_read_ = false;
    fail(event.move.error());
    again_at_ = now + limits_.retry;
    return;
  }
  succeed();
  if (const auto& taken = event.move.value()) {
    add(*taken);
    if (users_per_second_) {
      const auto users = static_cast<double>(taken->accounts.size());
      next_take_ = std::max(now, next_take_) +
                   std::chrono::duration_cast<Duration>(
                       std::chrono::duration<double>(users / *users_per_second_));
    }
  } else if (is_planned_) {
    is_planned_ = false;
  } else {
    has_leftovers_ = false;
  }
  advance(now, out);
}

void Rebalancer::on(const ArrivalBegun& event, Instant now, Effects& out) {
  auto* move = resume(event.move, now);
  if (move == nullptr) return;
  if (!event.reply || !event.reply.value().is_possible) {
    fail(event.reply ? Error{Fault::Retryable, "a target does not expect accounts that move"}
                     : event.reply.error());
    doubt(*move, now + limits_.retry);
  } else {
    move->is_begun = true;
    move->copied.clear();
    for (const auto& [account, version] : event.reply.value().copied) {
      move->copied.emplace(account, version);
    }
  }
  advance(now, out);
}

void Rebalancer::on(const ChunkCopied& event, Instant now, Effects& out) {
  auto* move = resume(event.move, now);
  if (move == nullptr) return;
  if (!event.done) {
    fail(event.done.error());
    move->entries_max = std::max(1, move->entries_max / 4);  // it may have been too large
    move->again_at = now + limits_.retry;
  } else if (!event.done.value().is_fitting) {
    fail({Fault::Retryable, "copied entries do not fit at their target"});
    doubt(*move, now + limits_.retry);
  } else {
    const auto& done = event.done.value();
    if (!done.is_complete) succeed();  // the last one comes again with every try to cut over
    entries_ += done.entries;
    entries_copied_ += done.entries;
    for (const auto& [account, version] : done.copied) move->copied[account] = version;
    move->is_copied = done.is_complete;
    move->entries_max = std::min(limits_.entries_per_chunk, move->entries_max * 2);
  }
  advance(now, out);
}

void Rebalancer::on(const Finish& finish, Instant now, Effects& out) {
  for (auto& [id, move] : moves_) {
    const auto order = move.orders.find(finish.order);
    if (order == move.orders.end()) continue;
    const auto account = order->second;
    move.orders.erase(order);
    if (move.orders.empty()) end_step(now);
    if (std::holds_alternative<CutOver>(finish.outcome)) {
      succeed();
      move.copied.erase(account);
      for (auto& each : move.open.accounts) {
        if (each.account == account) each.is_cut_over = true;
      }
    } else {
      const auto* failed = std::get_if<Failed>(&finish.outcome);
      const bool is_busy = failed != nullptr && failed->code == FailCode::Contention;
      if (!is_busy) fail({Fault::Retryable, "accounts could not be cut over"});
      doubt(move, now + (is_busy ? kSoon : limits_.retry));
    }
    break;
  }
  advance(now, out);
}

// A mover that slept may ask about accounts that have gone on since: the directory knows. And a round
// that is decided may lose its half, if a database forgets what it has prepared: then the source has
// the only copy.
void Rebalancer::on(const ArrivedChecked& event, Instant now, Effects& out) {
  auto* move = resume(event.move, now);
  if (move == nullptr) return;
  if (!event.is_owner) {
    fail(event.is_owner.error());
    move->again_at = now + limits_.retry;
  } else if (!event.is_owner.value()) {
    fail({Fault::Retryable,
          "a target does not own accounts that were cut over to it; their source keeps its copy"});
    doubt(*move, now + limits_.retry);
  } else {
    succeed();
    move->is_arrived = true;
  }
  advance(now, out);
}

void Rebalancer::on(const MoveCleaned& event, Instant now, Effects& out) {
  auto* move = resume(event.move, now);
  if (move == nullptr) return;
  const auto left = accounts_of(move->open, false);
  if (!event.reply) {
    fail(event.reply.error());
    move->again_at = now + limits_.retry;
  } else if (!event.reply.value().is_complete) {
    // More is left; or a round that is not settled yet has taken the accounts over after all.
    if (!left.empty()) doubt(*move, now);
    move->again_at = now + kSoon;
  } else {
    succeed();
    move->is_busy = true;
    const bool is_cut_over = left.empty();
    out.emplace_back(EndMove{event.move, accounts_of(move->open, is_cut_over), is_cut_over});
  }
  advance(now, out);
}

void Rebalancer::on(const MoveEnded& event, Instant now, Effects& out) {
  auto* move = resume(event.move, now);
  if (move == nullptr) return;
  if (!event.done) fail(event.done.error());
  doubt(*move, event.done ? now : now + limits_.retry);
  const bool is_whole =
      accounts_of(move->open, false).empty() || accounts_of(move->open, true).empty();
  if (event.done && is_whole) {
    succeed();
    moves_.erase(event.move);
  }
  advance(now, out);
}

void Rebalancer::on(const RebalanceEnded& event, Instant now, Effects& out) {
  if (!is_ending_) return;
  is_ending_ = false;
  if (event.is_over && event.is_over.value()) {
    is_holder_ = false;
    state_ = RebalanceState::Idle;
    drop();
    return;
  }
  if (!event.is_over) fail(event.is_over.error());
  is_planned_ = has_leftovers_ = true;
  has_read_ = false;
  again_at_ = now + limits_.retry;
  advance(now, out);
}

}  // namespace koshel::coordinator
