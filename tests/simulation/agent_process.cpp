#include "tests/simulation/agent_process.hpp"

#include "shard-agent/logic/db_outcome.hpp"
#include "tests/simulation/checker.hpp"

namespace koshel::simulation {

using agent::DbOutcome;
using agent::is_disconnect;
using agent::outcome_of;

namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(50);
constexpr auto kNotThisMove = "KO005";

PoolOptions pool_options(const World& world, std::string name, int connections, IdleLoss loss) {
  PoolOptions options;
  options.name = std::move(name);
  options.connections = connections;
  options.idle_loss = loss;
  options.break_connection = world.break_connection;
  return options;
}

const char* name_of(DbOutcome outcome) {
  switch (outcome) {
    case DbOutcome::Done:
      return "agent: statement done";
    case DbOutcome::Stale:
      return "agent: stale head";
    case DbOutcome::WasHere:
      return "agent: round was here";
    case DbOutcome::OldEpoch:
      return "agent: old epoch";
    case DbOutcome::Rejected:
      return "agent: rejected";
    case DbOutcome::Unavailable:
      return "agent: unavailable";
    case DbOutcome::Disconnected:
      return "agent: disconnected";
    case DbOutcome::Lost:
      return "agent: reply lost";
  }
  std::abort();
}

}  // namespace

AgentProcess::Body::Body(AgentProcess& process, World& world, World::Shard& shard)
    : machine(process.shard_, world.plan.agent),
      shard_pool(
          process, world.network, world.chance, *shard.server, shard.server_node,
          pool_options(world, session_name(Epoch(0)), world.plan.connections, IdleLoss::Tell)),
      moves_pool(process, world.network, world.chance, *shard.server, shard.server_node,
                 pool_options(world, session_name(Epoch(0)), 1, IdleLoss::Tell)),
      control(process, world.network, world.chance, *shard.server, shard.server_node,
              pool_options(world, "koshel-agent-control", 1, IdleLoss::Reconnect)),
      directory(process, world.network, world.chance, *world.directory_server, kDirectoryNode,
                pool_options(world, "koshel-agent-decisions", 2, IdleLoss::Reconnect)) {}

AgentProcess::AgentProcess(World& world, ShardId shard, std::string name)
    : Process(world.scheduler, world.shards.at(shard).agent_node, std::move(name)),
      world_(world),
      shard_(shard) {}

void AgentProcess::start() {
  Process::start();
  world_.log(name(), "starts");
  body_ = std::make_unique<Body>(*this, world_, own());
  post(Duration{}, [this] { tick(); });
}

void AgentProcess::die() {
  world_.log(name(), "dies");
  body_.reset();
  Process::die();
}

void AgentProcess::tick() {
  post(kTickInterval, [this] { tick(); });
  step(agent::Tick{});
}

void AgentProcess::step(agent::Event event) {
  const auto this_life = life();
  const agent::Now now{world_.scheduler.now(), world_.calendar()};
  auto effects = body_->machine.step(std::move(event), now);
  for (auto& effect : effects) {
    if (world_.dies_here()) {
      ++world_.faults["process died before an effect"];
      return die();
    }
    std::visit([this](auto&& what) { execute(std::move(what)); }, std::move(effect));
    if (!is_up() || life() != this_life) return;
  }
}

void AgentProcess::release(const messages::Release& release) {
  step(agent::Asked<messages::Release>{0, release});
}

// ---- effects

// Of an account that nobody asked for, ahead of what is there: an agent's memory may be wrong.
void AgentProcess::remember_wrong_head(std::vector<agent::AccountHead>& heads) {
  std::vector<agent::AccountHead> all;
  const auto& database = *own().database;
  database.accounts.scan(nullptr, [&](AccountId account, CurrencyId currency) {
    const auto& entry = database.head(account)->entry;
    all.push_back({account,
                   {currency, entry.version.next(), entry.balance, entry.min_balance,
                    entry.max_balance, entry.status}});
    return true;
  });
  if (all.empty()) return;
  const auto wrong = world_.chance.one_of(all);
  if (std::ranges::count(heads, wrong.account, &agent::AccountHead::account) > 0) return;
  ++world_.faults["wrong head remembered"];
  heads.push_back(wrong);
}

void AgentProcess::execute(agent::ReadState&& effect) {
  auto& database = *own().database;
  body_->shard_pool.post<ShardState>(
      [&database, effect](Backend& backend) { return database.read_state(backend, effect); },
      [this, round = effect.round, attempt = effect.attempt](Result<ShardState> read) {
        agent::StateRead event{round, attempt, outcome_of(read), {}, {}};
        if (read) {
          event.heads = std::move(read.value().heads);
          event.stored = std::move(read.value().stored);
          if (world_.chance.is_hit(world_.wrong_head)) remember_wrong_head(event.heads);
        }
        step(std::move(event));
      });
}

void AgentProcess::execute(agent::Append&& effect) {
  auto& database = *own().database;
  const auto round = effect.batch.round;
  body_->shard_pool.post<void>(
      [&database, batch = std::move(effect.batch)](Backend& backend) {
        return database.append(backend, batch);
      },
      [this, round](Result<void> done) {
        world_.reached(name_of(outcome_of(done)));
        world_.log(name(), "appended", round.incarnation.value(), round.sequence.value(),
                   name_of(outcome_of(done)));
        step(agent::AppendDone{round, outcome_of(done), done ? "" : done.error().context});
      });
}

void AgentProcess::execute(agent::PrepareRound&& effect) {
  auto& database = *own().database;
  const auto round = effect.batch.round;
  body_->shard_pool.post<void>(
      [&database, effect](Backend& backend) { return database.prepare(backend, effect); },
      [this, round](Result<void> done) {
        world_.reached(name_of(outcome_of(done)));
        world_.log(name(), "prepared", round.incarnation.value(), round.sequence.value(),
                   name_of(outcome_of(done)));
        step(agent::PrepareDone{round, outcome_of(done), done ? "" : done.error().context});
      });
}

void AgentProcess::execute(agent::SettlePrepared&& effect) {
  auto& database = *own().database;
  body_->shard_pool.post<messages::SettleOutcome>(
      [&database, effect](Backend& backend) { return database.settle(backend, effect); },
      [this, round = effect.round](Result<messages::SettleOutcome> done) {
        const auto outcome = done ? done.value() : messages::SettleOutcome::Later;
        world_.log(name(), "settled", round.incarnation.value(), round.sequence.value(),
                   static_cast<int>(outcome));
        if (outcome == messages::SettleOutcome::Later) world_.reached("agent: settled later");
        step(agent::SettlePreparedDone{round, outcome,
                                       !done && is_disconnect(outcome_of(done.error()))});
      });
}

void AgentProcess::execute(agent::AskLocal&& effect) {
  auto& database = *own().database;
  world_.reached("agent: asks for a local round");
  body_->shard_pool.post<messages::AskRoundOutcome>(
      [&database, effect](Backend& backend) { return database.ask_round(backend, effect.round); },
      [this, round = effect.round](Result<messages::AskRoundOutcome> asked) {
        step(agent::LocalAsked{round, asked ? std::optional(asked.value()) : std::nullopt});
      });
}

void AgentProcess::execute(agent::AskDecision&& effect) {
  auto& directory = *world_.directory;
  body_->directory.post<Decision>(
      [&directory, effect](Backend& backend) {
        return directory.decide(backend, effect.round, Decision::Abort, {});
      },
      [this, round = effect.round](Result<Decision> decision) {
        if (!decision) return step(agent::DecisionRead{round, std::nullopt});
        if (decision.value() == Decision::Fenced) world_.reached("agent: in doubt, fenced off");
        if (decision.value() == Decision::Abort) world_.reached("agent: in doubt, aborted");
        if (decision.value() == Decision::Commit) world_.reached("agent: in doubt, committed");
        step(agent::DecisionRead{round, decision.value() == Decision::Commit});
      });
}

void AgentProcess::execute(agent::ScanPrepared&& effect) {
  using Found = std::vector<agent::PreparedScanned::Found>;
  auto& database = *own().database;
  body_->shard_pool.post<Found>(
      [&database](Backend& backend) { return database.prepared_rounds(backend); },
      [this, scan = effect.scan](Result<Found> read) {
        agent::PreparedScanned event{scan, std::nullopt, is_disconnect(outcome_of(read))};
        if (read) event.prepared = std::move(read.value());
        step(std::move(event));
      });
}

void AgentProcess::execute(agent::ForgetHolds&& effect) {
  auto& database = *own().database;
  body_->shard_pool.post<void>(
      [&database, effect](Backend& backend) {
        return database.forget_holds(backend, effect.rounds);
      },
      [this, epoch = body_->machine.epoch(), rounds = effect.rounds](Result<void> done) {
        step(agent::HoldsForgotten{epoch, outcome_of(done), rounds});
      });
}

void AgentProcess::execute(agent::ReadFences&&) {
  using directory::Fences;
  auto& directory = *world_.directory;
  body_->directory.post<Fences>(
      [&directory](Backend& backend) { return directory.fences(backend); },
      [this](Result<Fences> read) {
        agent::FencesRead event;
        if (read) {
          event.fences.emplace(agent::FencesRead::Fences{
              read.value().last, {}, read.value().last_move, read.value().open_moves});
          for (const auto& [incarnation, fence, is_closed] : read.value().incarnations) {
            event.fences->incarnations.push_back({incarnation, fence, is_closed});
          }
        }
        step(std::move(event));
      });
}

void AgentProcess::execute(agent::ForgetRounds&& effect) {
  auto& database = *own().database;
  constexpr std::size_t kRowsMax = 20;
  body_->moves_pool.post<bool>(
      [&database, effect](Backend& backend) { return database.forget(backend, effect, kRowsMax); },
      [this, epoch = effect.epoch](Result<bool> done) {
        if (done) world_.reached("agent: forgot rounds");
        step(agent::RoundsForgotten{epoch, outcome_of(done), done && done.value()});
      });
}

void AgentProcess::execute(agent::TakeOver&& effect) {
  auto& database = *own().database;
  const TakeOverWish wish{name() + "/" + std::to_string(life()), effect.known};
  body_->control.post<TakeOverDone>(
      [&database, wish](Backend& backend) { return database.take_over(backend, wish); },
      [this](Result<TakeOverDone> done) {
        if (!done) return step(agent::TakenOver{std::nullopt, {}, false});
        auto& [epoch, in_doubt] = done.value();
        if (!epoch) {
          world_.reached("agent: outrun while taking over");
          return step(agent::TakenOver{std::nullopt, {}, true});
        }
        world_.log(name(), "takes over with epoch", epoch->value(), "in doubt", in_doubt.size());
        if (!in_doubt.empty()) world_.reached("agent: took over rounds in doubt");
        body_->shard_pool.reconnect_as(session_name(*epoch));
        body_->moves_pool.reconnect_as(session_name(*epoch));
        step(agent::TakenOver{epoch, std::move(in_doubt), false});
      });
}

void AgentProcess::execute(agent::Answer&& effect) {
  const auto waiting = body_->waiting.find(effect.request);
  if (waiting == body_->waiting.end()) return;
  auto answer = std::move(waiting->second);
  body_->waiting.erase(waiting);
  answer(std::move(effect.message));
}

void AgentProcess::execute(agent::Alarm&& effect) {
  world_.checker->on_alarm(effect.text);
}

void AgentProcess::execute(agent::Stop&&) {
  world_.reached("agent: stopped, another serves");
  die();
}

// ---- reading

template <class R, class Work>
void AgentProcess::run_on(Pool& pool, Work work, std::function<void(Result<R>)> reply) {
  if (!body_->machine.is_serving()) {
    return reply(Error{Fault::Unavailable, "the agent takes over its shard"});
  }
  const auto epoch = body_->machine.epoch();
  pool.post<R>(std::move(work), [this, epoch, reply](Result<R> done) {
    const auto this_life = life();
    if (!done && is_disconnect(outcome_of(done.error()))) step(agent::SessionLost{epoch});
    if (!is_up() || life() != this_life) return;
    reply(std::move(done));
  });
}

template <class R, class Work>
void AgentProcess::read(Work work, std::function<void(Result<R>)> reply) {
  run_on<R>(body_->shard_pool, std::move(work), std::move(reply));
}

void AgentProcess::ask_round(RoundId round,
                             std::function<void(Result<messages::AskRoundDone>)> reply) {
  auto& database = *own().database;
  read<messages::AskRoundOutcome>(
      [&database, round](Backend& backend) { return database.ask_round(backend, round); },
      [reply](Result<messages::AskRoundOutcome> asked) {
        if (!asked) return reply(asked.error());
        reply(messages::AskRoundDone{asked.value()});
      });
}

void AgentProcess::find(messages::FindTransfer find,
                        std::function<void(Result<messages::FindTransferDone>)> reply) {
  if (body_->machine.may_have_left(find.account)) {
    return reply(messages::FindTransferDone{std::nullopt, false, false});
  }
  auto& database = *own().database;
  bool may_come = false;
  for (const auto& id : find.ids) {
    may_come = may_come || body_->machine.may_bring(id, find.account);
  }
  const auto epoch = body_->machine.epoch();
  read<messages::FindTransferDone>(
      [&database, find, epoch](Backend& backend) {
        return database.find_transfer(backend, epoch, find);
      },
      [may_come, reply](Result<messages::FindTransferDone> done) {
        if (done) done.value().is_in_progress = may_come && !done.value().stored;
        reply(std::move(done));
      });
}

void AgentProcess::read_heads(std::vector<AccountId> accounts,
                              std::function<void(Result<messages::HeadsRead>)> reply) {
  auto& database = *own().database;
  agent::ReadState wanted{{}, 0, body_->machine.epoch(), {}, {}};
  for (const auto account : accounts) {
    if (!body_->machine.may_have_left(account)) wanted.accounts.push_back(account);
  }
  read<ShardState>(
      [&database, wanted](Backend& backend) { return database.read_state(backend, wanted); },
      [accounts, reply](Result<ShardState> state) {
        if (!state) return reply(state.error());
        messages::HeadsRead done;
        for (const auto account : accounts) {
          const auto found =
              std::ranges::find(state.value().heads, account, &agent::AccountHead::account);
          done.heads.push_back(found == state.value().heads.end() ? std::nullopt
                                                                  : std::optional(found->head));
        }
        reply(std::move(done));
      });
}

void AgentProcess::read_entries(messages::ReadEntries wanted,
                                std::function<void(Result<messages::EntriesRead>)> reply) {
  if (body_->machine.may_have_left(wanted.account)) return reply(messages::EntriesRead{false, {}});
  auto& database = *own().database;
  const auto epoch = body_->machine.epoch();
  read<messages::EntriesRead>(
      [&database, wanted, epoch](Backend& backend) {
        return database.read_entries(backend, epoch, wanted);
      },
      std::move(reply));
}

void AgentProcess::read_worlds(std::function<void(Result<std::vector<AccountId>>)> reply) {
  auto& database = *own().database;
  read<std::vector<AccountId>>([&database](Backend& backend) { return database.worlds(backend); },
                               std::move(reply));
}

// ---- moving accounts

void AgentProcess::begin(messages::BeginArrival begin,
                         std::function<void(Result<messages::ArrivalBegun>)> reply) {
  using Copied = std::vector<messages::CopiedTo>;
  auto& database = *own().database;
  const auto epoch = body_->machine.epoch();
  run_on<Copied>(
      body_->moves_pool,
      [&database, begin, epoch](Backend& backend) {
        return database.begin_arrival(backend, epoch, begin);
      },
      [this, reply](Result<Copied> copied) {
        const bool is_refused = !copied && copied.error().sqlstate == kNotThisMove;
        if (is_refused) world_.reached("mover: accounts cannot come yet");
        if (is_refused) return reply(messages::ArrivalBegun{false, {}});
        if (!copied) return reply(copied.error());
        reply(messages::ArrivalBegun{true, std::move(copied.value())});
      });
}

void AgentProcess::read_chunk(messages::ReadChunk wanted,
                              std::function<void(Result<messages::Chunk>)> reply) {
  auto& database = *own().database;
  const auto epoch = body_->machine.epoch();
  run_on<MovingChunk>(
      body_->moves_pool,
      [&database, wanted, epoch](Backend& backend) {
        return database.read_chunk(backend, epoch, wanted);
      },
      [this, reply](Result<MovingChunk> read) {
        if (!read) return reply(read.error());
        auto& [entries, copied, is_complete] = read.value();
        const auto count = static_cast<std::int32_t>(entries.size());
        reply(messages::Chunk{world_.seal(std::move(entries)), count, std::move(copied),
                              is_complete});
      });
}

void AgentProcess::write_chunk(messages::WriteChunk chunk,
                               std::function<void(Result<messages::ChunkWritten>)> reply) {
  auto& database = *own().database;
  const auto epoch = body_->machine.epoch();
  run_on<void>(
      body_->moves_pool,
      [&database, move = chunk.move, entries = world_.open(chunk.entries),
       epoch](Backend& backend) { return database.write_chunk(backend, epoch, move, entries); },
      [this, reply](const Result<void>& written) {
        const bool is_refused = !written && written.error().sqlstate == kNotThisMove;
        if (is_refused) world_.reached("mover: a chunk does not fit");
        if (is_refused) return reply(messages::ChunkWritten{false});
        if (!written) return reply(written.error());
        reply(messages::ChunkWritten{true});
      });
}

void AgentProcess::clean(messages::CleanMove clean,
                         std::function<void(Result<messages::MoveCleaned>)> reply) {
  auto& database = *own().database;
  const auto epoch = body_->machine.epoch();
  run_on<bool>(
      body_->moves_pool,
      [&database, clean, epoch](Backend& backend) {
        return database.clean_move(backend, epoch, clean);
      },
      [reply](Result<bool> cleaned) {
        if (!cleaned) return reply(cleaned.error());
        reply(messages::MoveCleaned{cleaned.value()});
      });
}

}  // namespace koshel::simulation
