// CoordinatorProcess, third part: what the rebalancer wants done, and the rounds that move users,
// as coordinator/io/move_effects.cpp carries them out.

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/checker.hpp"
#include "tests/simulation/coordinator_process.hpp"

namespace koshel::simulation {

using coordinator::ChunkCopied;
using coordinator::CopyChunk;
using directory::OpenMove;

void CoordinatorProcess::do_as_mover(std::function<void()> what) {
  const bool is_healed = world_.healed_at != Instant::max();
  if (is_healed || !world_.chance.is_hit(world_.plan.sleep_before_move)) return what();
  ++world_.faults["mover stopped before a step"];
  stop();
  const auto at_most = world_.plan.rebalance.lease * 4;
  scheduler().after(world_.chance.between(Duration{}, at_most), [this] { wake(); });
  post(Duration{}, std::move(what));
}

// ---- copying

void CoordinatorProcess::execute(coordinator::BeginArrival&& effect) {
  do_as_mover([this, begin = std::move(effect)] {
    read_agent<messages::ArrivalBegun>(
        begin.target,
        [message = begin.begin](AgentProcess& agent, auto reply) {
          agent.begin(message, std::move(reply));
        },
        [this, move = begin.begin.move](Result<messages::ArrivalBegun> reply) {
          step(coordinator::ArrivalBegun{move, std::move(reply)});
        });
  });
}

void CoordinatorProcess::copy_chunk(const CopyChunk& copy, std::function<void(Copied)> done) {
  const auto write = [this, copy, done](Result<messages::Chunk> chunk) {
    if (!chunk) return done(chunk.error());
    auto& [entries, count, copied, is_complete] = chunk.value();
    ChunkCopied::Progress progress{true, is_complete, count, std::move(copied)};
    if (count == 0) return done(progress);
    const messages::WriteChunk message{copy.move, std::move(entries)};
    do_as_mover([this, copy, done, progress, message] {
      read_agent<messages::ChunkWritten>(
          copy.target,
          [message](AgentProcess& agent, auto reply) {
            agent.write_chunk(message, std::move(reply));
          },
          [done, progress](const Result<messages::ChunkWritten>& written) mutable {
            if (!written) return done(written.error());
            progress.is_fitting = written.value().is_fitting;
            done(progress);
          });
    });
  };
  read_agent<messages::Chunk>(
      copy.source,
      [message = copy.read](AgentProcess& agent, auto reply) {
        agent.read_chunk(message, std::move(reply));
      },
      write);
}

void CoordinatorProcess::execute(CopyChunk&& effect) {
  do_as_mover([this, copy = std::move(effect)] {
    copy_chunk(copy, [this, move = copy.move](Copied done) {
      step(ChunkCopied{move, std::move(done)});
    });
  });
}

// All that the accounts of one move have got since they were copied.
void CoordinatorProcess::copy_rest(const CopyChunk& copy, std::function<void(Result<void>)> done) {
  copy_chunk(copy, [this, copy, done](const Copied& copied) {
    if (!copied) return done(copied.error());
    const auto& progress = copied.value();
    if (!progress.is_fitting) return done(Error{Fault::Retryable, "the move is over"});
    if (progress.is_complete) return done(success());
    auto next = copy;
    for (auto& after : next.read.after) {
      const auto found =
          std::ranges::find(progress.copied, after.account, &messages::CopiedTo::account);
      if (found != progress.copied.end()) after.version = found->version;
    }
    copy_rest(next, done);
  });
}

// Move by move.
void CoordinatorProcess::hand_over(coordinator::HandOver rest) {
  if (rest.parts.empty()) return step(coordinator::HandedOver{rest.round, success()});
  const auto move = rest.parts.front().move;
  CopyChunk copy{move, rest.source, rest.target, {{}, world_.plan.rebalance.entries_per_chunk}};
  for (const auto& part : rest.parts) {
    if (part.move == move) copy.read.after.push_back(part.copied);
  }
  std::erase_if(rest.parts, [move](const auto& part) { return part.move == move; });
  copy_rest(copy, [this, rest](const Result<void>& done) {
    if (done) return hand_over(rest);
    world_.reached("mover: accounts cannot be handed over");
    step(coordinator::HandedOver{rest.round, done});
  });
}

void CoordinatorProcess::execute(coordinator::HandOver&& effect) {
  world_.reached("mover: hands held accounts over");
  do_as_mover([this, effect] { hand_over(effect); });
}

void CoordinatorProcess::execute(coordinator::CheckArrived&& effect) {
  do_as_mover([this, check = std::move(effect)] {
    read_agent<messages::HeadsRead>(
        check.target,
        [accounts = check.accounts](AgentProcess& agent, auto reply) {
          agent.read_heads(accounts, std::move(reply));
        },
        [this, move = check.move](Result<messages::HeadsRead> reply) {
          if (!reply) return step(coordinator::ArrivedChecked{move, reply.error()});
          const bool is_owner = std::ranges::none_of(
              reply.value().heads, [](const auto& head) { return head == std::nullopt; });
          if (!is_owner) world_.reached("mover: a target does not own what was cut over to it");
          step(coordinator::ArrivedChecked{move, is_owner});
        });
  });
}

void CoordinatorProcess::execute(coordinator::CleanMove&& effect) {
  do_as_mover([this, clean = std::move(effect)] {
    read_agent<messages::MoveCleaned>(
        clean.shard,
        [message = clean.clean](AgentProcess& agent, auto reply) {
          agent.clean(message, std::move(reply));
        },
        [this, move = clean.clean.move](Result<messages::MoveCleaned> reply) {
          step(coordinator::MoveCleaned{move, std::move(reply)});
        });
  });
}

// ---- the directory

void CoordinatorProcess::execute(coordinator::MoveUsers&& effect) {
  world_.checker->on_decision_asked({body_->incarnation, effect.round}, true);
  do_as_mover([this, moving = std::move(effect)] { move_users(moving); });
}

void CoordinatorProcess::move_users(const coordinator::MoveUsers& moving) {
  auto& directory = *world_.directory;
  const RoundId round{body_->incarnation, moving.round};
  ask_directory<void>(
      [&directory, round, moving](Backend& backend) {
        return directory.move_users(backend, round, moving.participants, moving);
      },
      [this, round, parts = moving.parts](Result<void> moved) {
        for (const auto& part : parts) body_->routes.forget(part.account);
        Result<coordinator::MoveUsersOutcome> outcome = coordinator::MoveUsersOutcome::Moved;
        if (!moved && moved.error().sqlstate == "KO010") {
          world_.reached("mover: a round of moves is decided by others");
          outcome = coordinator::MoveUsersOutcome::Decided;
        } else if (!moved && moved.error().sqlstate == "KO012") {
          world_.reached("mover: moves are not as believed");
          outcome = coordinator::MoveUsersOutcome::NotAsBelieved;
        } else if (!moved) {
          outcome = moved.error();
        }
        world_.log(name(), "asked for moves in round", round.incarnation.value(),
                   round.sequence.value(),
                   outcome ? std::to_string(static_cast<int>(outcome.value()))
                           : outcome.error().context + outcome.error().sqlstate);
        step(coordinator::UsersMoved{round.sequence, std::move(outcome)});
      });
}

void CoordinatorProcess::execute(coordinator::BeatRebalance&& effect) {
  auto& directory = *world_.directory;
  const auto beat = [this, &directory, effect] {
    ask_directory<directory::RebalanceHold>(
        [&directory, own = body_->incarnation, effect](Backend& backend) {
          return directory.beat_rebalance(backend, own, effect);
        },
        [this, effect](Result<directory::RebalanceHold> hold) {
          const bool was_holder = body_->machine->is_moving_users();
          step(coordinator::RebalanceBeaten{std::move(hold)});
          const bool is_holder = is_up() && machine() != nullptr && machine()->is_moving_users();
          if (!was_holder && is_holder) {
            world_.log(name(), "moves users from now on");
            world_.reached(effect.seen_beat < 0 ? "mover: takes a free rebalance"
                                                : "mover: takes another's rebalance over");
          } else if (was_holder && !is_holder) {
            world_.reached("mover: lost the rebalance, or it has ended");
          }
        });
  };
  body_->machine->is_moving_users() ? do_as_mover(beat) : beat();
}

void CoordinatorProcess::execute(coordinator::ReadMoves&&) {
  auto& directory = *world_.directory;
  do_as_mover([this, &directory] {
    ask_directory<std::vector<OpenMove>>(
        [&directory](Backend& backend) { return directory.open_moves(backend); },
        [this](Result<std::vector<OpenMove>> moves) {
          step(coordinator::MovesRead{std::move(moves)});
        });
  });
}

void CoordinatorProcess::taken(Taken move) {
  if (move && move.value()) {
    world_.reached("mover: takes a move");
    world_.log(name(), "takes move", move.value()->move.value(), "of",
               move.value()->accounts.size(), "users from", move.value()->source.value(), "to",
               move.value()->target.value());
  }
  step(coordinator::MoveTaken{std::move(move)});
}

void CoordinatorProcess::execute(coordinator::TakeMove&& effect) {
  auto& directory = *world_.directory;
  do_as_mover([this, &directory, effect] {
    ask_directory<std::optional<OpenMove>>(
        [&directory, own = body_->incarnation, effect](Backend& backend) {
          return directory.take_move(backend, own, effect.users_max);
        },
        [this](Taken move) { taken(std::move(move)); });
  });
}

void CoordinatorProcess::execute(coordinator::TakeLeftovers&&) {
  auto& directory = *world_.directory;
  do_as_mover([this, &directory] {
    using Counts = std::map<ShardId, std::int64_t>;
    ask_directory<ShardRows>(
        [&directory](Backend& backend) { return directory.shards_in_service(backend); },
        [this, &directory](const Result<ShardRows>& shards) {
          if (!shards) return taken(shards.error());
          body_->shards = shards.value();
          ask_directory<Counts>(
              [&directory](Backend& backend) { return directory.users_per_shard(backend); },
              [this](const Result<Counts>& users) {
                if (!users) return taken(users.error());
                find_leftovers(users.value());
              },
              read_deadline());
        },
        read_deadline());
  });
}

void CoordinatorProcess::find_leftovers(const std::map<ShardId, std::int64_t>& users) {
  std::optional<ShardId> target;
  std::vector<ShardId> empty;
  for (const auto& [shard, row] : body_->shards) {
    if (row.state == ShardService::Active && !target) target = shard;
    if (row.state == ShardService::Draining && !users.contains(shard)) empty.push_back(shard);
  }
  if (!target) return taken(std::nullopt);
  take_worlds(std::move(empty), *target);
}

void CoordinatorProcess::take_worlds(std::vector<ShardId> empty, ShardId target) {
  if (empty.empty()) return taken(std::nullopt);
  const auto source = empty.front();
  empty.erase(empty.begin());
  take_worlds_of(source, std::move(empty), target);
}

void CoordinatorProcess::take_worlds_of(ShardId source, std::vector<ShardId> others,
                                        ShardId target) {
  using Worlds = std::vector<AccountId>;
  read_agent<Worlds>(
      source, [](AgentProcess& agent, auto reply) { agent.read_worlds(std::move(reply)); },
      [this, source, others, target](const Result<Worlds>& worlds) {
        if (!worlds) return taken(worlds.error());
        if (worlds.value().empty()) return take_worlds(others, target);
        auto& directory = *world_.directory;
        ask_directory<std::optional<OpenMove>>(
            [&directory, own = body_->incarnation, source, target,
             accounts = worlds.value()](Backend& backend) {
              return directory.take_accounts(backend, own, source, target, accounts);
            },
            [this, others, target](Taken move) {
              if (move && !move.value()) return take_worlds(others, target);
              if (move) world_.reached("mover: takes what is left on a drained shard");
              taken(std::move(move));
            });
      });
}

void CoordinatorProcess::execute(coordinator::EndMove&& effect) {
  auto& directory = *world_.directory;
  do_as_mover([this, &directory, effect] {
    ask_directory<void>([&directory, own = body_->incarnation, effect](
                            Backend& backend) { return directory.end_move(backend, own, effect); },
                        [this, effect](Result<void> done) {
                          if (done) {
                            world_.reached(effect.is_cut_over ? "mover: a move is done"
                                                              : "mover: a move is undone");
                          }
                          step(coordinator::MoveEnded{effect.move, std::move(done)});
                        });
  });
}

void CoordinatorProcess::execute(coordinator::EndRebalance&& effect) {
  auto& directory = *world_.directory;
  do_as_mover([this, &directory, effect] {
    ask_directory<bool>(
        [&directory, own = body_->incarnation, effect](Backend& backend) {
          return directory.end_rebalance(backend, own, effect.error);
        },
        [this, effect](Result<bool> is_over) {
          if (is_over && is_over.value()) {
            world_.log(name(), "ends the rebalance", effect.error);
            world_.reached(effect.error.empty() ? "mover: a rebalance is over"
                                                : "mover: a rebalance has failed");
          }
          step(coordinator::RebalanceEnded{std::move(is_over)});
        });
  });
}

}  // namespace koshel::simulation
