#include "shard-agent/io/agent_service.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <filesystem>
#include <random>

#include "platform/crash_points.hpp"
#include "platform/log.hpp"
#include "platform/spawn.hpp"
#include "shard-agent/logic/db_outcome.hpp"

namespace koshel::agent {

namespace asio = boost::asio;
using platform::with_points;

namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(20);

// A control session must never be mistaken for one that appends.
platform::DatabaseConfig control_config(platform::DatabaseConfig config) {
  config.connections = 1;
  return config;
}

template <class T>
std::string detail_of(const Result<T>& result) {
  return result ? "" : result.error().context;
}

// So that an agent can tell its own last take-over from another's.
std::string made_up_name() {
  std::random_device chance;
  std::string name;
  for (int i = 0; i < 4; ++i) name += std::to_string(chance()) + (i < 3 ? "-" : "");
  return name;
}

}  // namespace

AgentLimits limits_of(const platform::AgentConfig& config, const ServerLimits& server) {
  AgentLimits limits;
  limits.heads_cached_max = static_cast<std::size_t>(config.heads_cached_max);
  limits.rounds_in_flight_max = config.rounds_in_flight_max;
  limits.prepared_max = std::max(1, server.prepared_transactions_max - config.prepared_headroom);
  limits.worlds_max = config.worlds_max;
  limits.stale_retries_max = config.stale_retries_max;
  limits.busy_patience = config.busy_patience;
  limits.keep_for_patient = config.keep_for_patient;
  limits.reservation = config.reservation;
  limits.scan_interval = config.scan_interval;
  limits.in_doubt_age = config.in_doubt_age;
  limits.forget_interval = config.forget_interval;
  return limits;
}

AgentService::AgentService(asio::io_context& loop, Setup setup)
    : loop_(loop),
      setup_(std::move(setup)),
      agent_(made_up_name()),
      shard_(loop.get_executor(), setup_.config.shard, session_name(Epoch(0)),
             platform::IdleLoss::Tell),
      moves_(loop.get_executor(), setup_.config.shard, session_name(Epoch(0)),
             platform::IdleLoss::Tell),
      control_(loop.get_executor(), control_config(setup_.config.shard), "koshel-agent-control"),
      directory_(loop.get_executor(), setup_.config.directory, "koshel-agent-decisions",
                 platform::IdleLoss::Reconnect,
                 [wanted = setup_.identity.cluster_id](pqxx::connection& connection) {
                   return directory::check_cluster_id(connection, wanted);
                 }),
      log_(directory_),
      machine_(setup_.identity.shard, limits_of(setup_.config.agent, setup_.server)) {}

Now AgentService::now() const {
  return {std::chrono::steady_clock::now(),
          std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())};
}

asio::awaitable<void> AgentService::run() {
  asio::steady_timer timer(loop_);
  for (;;) {
    step(Tick{});
    timer.expires_after(kTickInterval);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

void AgentService::step(Event event) {
  for (auto& effect : machine_.step(std::move(event), now())) {
    std::visit([this](auto&& what) { execute(std::move(what)); }, std::move(effect));
  }
}

template <class Reply, class Message>
asio::awaitable<Reply> AgentService::ask_machine(Message message) {
  auto initiate = [this, message = std::move(message)](auto handler) mutable {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    const auto request = ++last_request_;
    waiting_.emplace(request, [this, shared](AnswerMessage answer) {
      // Posted, since the answer may come while the question is still being asked.
      asio::post(loop_, [shared, reply = std::get<Reply>(std::move(answer))]() mutable {
        (*shared)(std::move(reply));
      });
    });
    step(Asked<Message>{request, std::move(message)});
  };
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void(Reply)>(
      std::move(initiate), asio::use_awaitable);
  co_return co_await std::move(pending);
}

asio::awaitable<messages::LocalReply> AgentService::ask(messages::LocalRound round) {
  return ask_machine<messages::LocalReply>(std::move(round));
}
asio::awaitable<messages::ReserveReply> AgentService::ask(messages::Reserve reserve) {
  return ask_machine<messages::ReserveReply>(std::move(reserve));
}
asio::awaitable<messages::PrepareReply> AgentService::ask(messages::Prepare prepare) {
  return ask_machine<messages::PrepareReply>(std::move(prepare));
}
asio::awaitable<messages::SettleDone> AgentService::ask(messages::Settle settle) {
  return ask_machine<messages::SettleDone>(settle);
}
void AgentService::release(messages::Release release) {
  step(Asked<messages::Release>{0, release});
}

// ---- effects

void AgentService::execute(ReadState&& effect) {
  const auto round = effect.round;
  const auto attempt = effect.attempt;
  auto work = [effect = std::move(effect)](pqxx::connection& connection) {
    return read_state(connection, effect);
  };
  shard_.post(with_points<"agent.read">(std::move(work)),
              [this, round, attempt](Result<ShardState> read) {
                StateRead event{round, attempt, outcome_of(read), {}, {}};
                if (read) {
                  event.heads = std::move(read.value().heads);
                  event.stored = std::move(read.value().stored);
                }
                step(std::move(event));
              });
}

void AgentService::execute(Append&& effect) {
  const auto round = effect.batch.round;
  auto work = [batch = std::move(effect.batch)](pqxx::connection& connection) {
    append(connection, batch);
  };
  shard_.post(with_points<"agent.append">(std::move(work)), [this, round](Result<void> done) {
    step(AppendDone{round, outcome_of(done), detail_of(done)});
  });
}

void AgentService::execute(PrepareRound&& effect) {
  const auto round = effect.batch.round;
  auto work = [effect = std::move(effect), identity = setup_.identity](
                  pqxx::connection& connection) { prepare(connection, identity, effect); };
  shard_.post(with_points<"agent.prepare">(std::move(work)), [this, round](Result<void> done) {
    step(PrepareDone{round, outcome_of(done), detail_of(done)});
  });
}

void AgentService::execute(SettlePrepared&& effect) {
  const auto round = effect.round;
  auto work = [effect, identity = setup_.identity](pqxx::connection& connection) {
    return settle(connection, identity, effect);
  };
  auto then = [this, round](Result<messages::SettleOutcome> done) {
    if (!done) {
      spdlog::warn("round {}:{} could not be settled now: {}", round.incarnation.value(),
                   round.sequence.value(), done.error().context);
    }
    step(SettlePreparedDone{round, done ? done.value() : messages::SettleOutcome::Later,
                            !done && is_disconnect(outcome_of(done.error()))});
  };
  if (effect.is_commit) {
    shard_.post(with_points<"agent.commit">(std::move(work)), std::move(then));
  } else {
    shard_.post(with_points<"agent.rollback">(std::move(work)), std::move(then));
  }
}

void AgentService::execute(AskLocal&& effect) {
  const auto round = effect.round;
  auto work = [round](pqxx::connection& connection) { return agent::ask_round(connection, round); };
  shard_.post(with_points<"agent.ask_local">(std::move(work)),
              [this, round](Result<messages::AskRoundOutcome> asked) {
                step(LocalAsked{round, asked ? std::optional(asked.value()) : std::nullopt});
              });
}

void AgentService::execute(AskDecision&& effect) {
  asio::co_spawn(loop_, read_decision(effect.round), platform::end_on_failure);
}

asio::awaitable<void> AgentService::read_decision(RoundId round) {
  // What stands is what counts; if nothing stood, an abort stands from now on.
  auto pending = with_points<"agent.ask_log">(log_.decide(round, directory::Decision::Abort, {}));
  const auto decision = co_await std::move(pending);
  if (!decision) {
    spdlog::warn("round {}:{} stays in doubt, the decision log cannot be asked: {}",
                 round.incarnation.value(), round.sequence.value(), decision.error().context);
    step(DecisionRead{round, std::nullopt});
    co_return;
  }
  const bool is_commit = decision.value() == directory::Decision::Commit;
  spdlog::info("round {}:{} was in doubt; the log says {}", round.incarnation.value(),
               round.sequence.value(), directory::to_string(decision.value()));
  step(DecisionRead{round, is_commit});
}

void AgentService::execute(ScanPrepared&& effect) {
  auto work = [identity = setup_.identity](pqxx::connection& connection) {
    return prepared_rounds(connection, identity);
  };
  shard_.post(with_points<"agent.scan">(std::move(work)),
              [this, scan = effect.scan](Result<std::vector<messages::PreparedRound>> read) {
                PreparedScanned event{scan, std::nullopt, is_disconnect(outcome_of(read))};
                if (read) {
                  event.prepared.emplace();
                  oldest_prepared_seconds_ = 0;
                  prepared_now_ = read.value().size();
                  for (const auto& round : read.value()) {
                    event.prepared->push_back({Gid::parse(round.gid)->round, round.age_seconds});
                    oldest_prepared_seconds_ =
                        std::max(oldest_prepared_seconds_, round.age_seconds);
                  }
                }
                step(std::move(event));
              });
}

void AgentService::execute(ForgetHolds&& effect) {
  auto work = [rounds = effect.rounds, identity = setup_.identity](pqxx::connection& connection) {
    forget_holds(connection, identity, rounds);
  };
  auto then = [this, epoch = machine_.epoch(),
               rounds = std::move(effect.rounds)](Result<void> done) {
    if (!done) spdlog::debug("holds rows stay for now: {}", done.error().context);
    step(HoldsForgotten{epoch, outcome_of(done), rounds});
  };
  shard_.post(with_points<"agent.forget_holds">(std::move(work)), std::move(then));
}

void AgentService::execute(ReadFences&&) {
  asio::co_spawn(loop_, read_fences(), platform::end_on_failure);
}

asio::awaitable<void> AgentService::read_fences() {
  auto pending = with_points<"agent.read_fences">(log_.fences());
  const auto fences = co_await std::move(pending);
  FencesRead event;
  if (fences) {
    event.fences.emplace(FencesRead::Fences{
        fences.value().last, {}, fences.value().last_move, fences.value().open_moves});
    for (const auto& [incarnation, fence, is_closed] : fences.value().incarnations) {
      event.fences->incarnations.push_back({incarnation, fence, is_closed});
    }
  } else {
    spdlog::debug("no round is forgotten for now: {}", fences.error().context);
  }
  step(std::move(event));
}

void AgentService::execute(ForgetRounds&& effect) {
  const auto epoch = effect.epoch;
  auto work = [effect = std::move(effect)](pqxx::connection& connection) {
    return forget_rounds(connection, effect);
  };
  moves_.post(with_points<"agent.forget_rounds">(std::move(work)),
              [this, epoch](Result<bool> done) {
                if (!done) spdlog::debug("no round is forgotten for now: {}", done.error().context);
                step(RoundsForgotten{epoch, outcome_of(done), done && done.value()});
              });
}

void AgentService::execute(TakeOver&& effect) {
  auto work = [identity = setup_.identity, wish = TakeOverWish{agent_, effect.known}](
                  pqxx::connection& connection) { return take_over(connection, identity, wish); };
  control_.post(with_points<"agent.take_over">(std::move(work)), [this](Result<TakeOverDone> done) {
    if (!done) {
      spdlog::warn("cannot take over the shard yet: {}", done.error().context);
      step(TakenOver{std::nullopt, {}});
      return;
    }
    auto& [epoch, in_doubt] = done.value();
    if (!epoch) {
      step(TakenOver{std::nullopt, {}, true});
      return;
    }
    spdlog::info("serving shard {} with epoch {}, {} rounds in doubt", setup_.identity.shard_name,
                 epoch->value(), in_doubt.size());
    shard_.reconnect_as(session_name(*epoch));
    moves_.reconnect_as(session_name(*epoch));
    step(TakenOver{epoch, std::move(in_doubt)});
  });
}

void AgentService::execute(Answer&& effect) {
  const auto waiting = waiting_.find(effect.request);
  if (waiting == waiting_.end()) return;
  auto answer = std::move(waiting->second);
  waiting_.erase(waiting);
  answer(std::move(effect.message));
}

void AgentService::execute(Alarm&& effect) {
  spdlog::critical("{}", effect.text);
}

void AgentService::execute(Stop&& effect) {
  setup_.on_stop(effect.reason);
}

// ---- reading

// Reads run on the sessions of the epoch and nowhere else: while a take-over waits for old sessions
// to be gone, none may be opened, and one that a read finds lost is news for the machine.
template <class Work>
auto AgentService::read(platform::PgPool& pool, Work work)
    -> asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>> {
  if (!machine_.is_serving()) {
    co_return Error{Fault::Unavailable, "the agent takes over its shard"};
  }
  const auto epoch = machine_.epoch();
  auto pending = pool.run(std::move(work));
  auto done = co_await std::move(pending);
  if (!done && is_disconnect(outcome_of(done.error()))) step(SessionLost{epoch});
  co_return done;
}

asio::awaitable<Result<messages::AskRoundDone>> AgentService::ask_round(messages::AskRound ask) {
  auto work = [round = ask.round](pqxx::connection& connection) {
    return messages::AskRoundDone{agent::ask_round(connection, round)};
  };
  auto pending = read(shard_, std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<messages::HeadsRead>> AgentService::read_heads(
    messages::ReadHeads read_heads) {
  ReadState wanted{{}, 0, machine_.epoch(), {}, {}};
  for (const auto account : read_heads.accounts) {
    if (!machine_.may_have_left(account)) wanted.accounts.push_back(account);
  }
  auto work = [wanted](pqxx::connection& connection) { return read_state(connection, wanted); };
  auto pending = read(shard_, std::move(work));
  auto state = co_await std::move(pending);
  if (!state) co_return state.error();
  boost::unordered_flat_map<AccountId, Head, std::hash<AccountId>> heads;
  for (const auto& [account, head] : state.value().heads) heads.emplace(account, head);
  messages::HeadsRead done;
  done.heads.reserve(read_heads.accounts.size());
  for (const auto account : read_heads.accounts) {
    const auto found = heads.find(account);
    done.heads.push_back(found == heads.end() ? std::nullopt : std::optional(found->second));
  }
  co_return done;
}

asio::awaitable<Result<messages::FindTransferDone>> AgentService::find(
    messages::FindTransfer find) {
  if (machine_.may_have_left(find.account)) {
    co_return messages::FindTransferDone{std::nullopt, false, false};
  }
  // Before the database is read: a round that ends in between has its entries there.
  bool may_come = false;
  for (const auto& id : find.ids) may_come = may_come || machine_.may_bring(id, find.account);
  auto work = [find, epoch = machine_.epoch()](pqxx::connection& connection) {
    return find_transfer(connection, epoch, find);
  };
  auto pending = read(shard_, std::move(work));
  auto done = co_await std::move(pending);
  if (done) done.value().is_in_progress = may_come && !done.value().stored;
  co_return done;
}

asio::awaitable<Result<messages::EntriesRead>> AgentService::read_entries(
    messages::ReadEntries wanted) {
  if (machine_.may_have_left(wanted.account)) co_return messages::EntriesRead{false, {}};
  auto work = [wanted, epoch = machine_.epoch()](pqxx::connection& connection) {
    return agent::read_entries(connection, epoch, wanted);
  };
  auto pending = read(shard_, std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<messages::AgentStatus>> AgentService::status() {
  messages::AgentStatus status{setup_.identity.cluster,
                               setup_.identity.shard_name,
                               setup_.identity.shard,
                               machine_.epoch(),
                               machine_.is_serving(),
                               KOSHEL_VERSION,
                               {},
                               0,
                               0,
                               {},
                               {}};
  auto work = [identity = setup_.identity](pqxx::connection& connection) {
    return std::pair(prepared_rounds(connection, identity), read_room(connection));
  };
  auto pending = read(shard_, std::move(work));
  auto done = co_await std::move(pending);
  if (!done) co_return done.error();
  auto& [prepared, room] = done.value();
  status.prepared = std::move(prepared);
  status.prepared_free = std::max(0, room.prepared_free - setup_.config.agent.prepared_headroom);
  status.ledger_bytes = room.ledger_bytes;
  status.worlds = std::move(room.worlds);
  std::error_code unseen;
  const auto disk = std::filesystem::space(room.data_directory, unseen);
  if (!unseen) status.disk_free_bytes = static_cast<std::int64_t>(disk.available);
  co_return status;
}

// ---- moving accounts

asio::awaitable<Result<messages::ArrivalBegun>> AgentService::begin(messages::BeginArrival begin) {
  auto work = [begin = std::move(begin), epoch = machine_.epoch()](pqxx::connection& connection) {
    return begin_arrival(connection, epoch, begin);
  };
  return read(moves_, with_points<"agent.begin_arrival">(std::move(work)));
}

asio::awaitable<Result<messages::Chunk>> AgentService::read_chunk(messages::ReadChunk wanted) {
  auto work = [wanted = std::move(wanted), epoch = machine_.epoch()](pqxx::connection& connection) {
    return agent::read_chunk(connection, epoch, wanted);
  };
  return read(moves_, with_points<"agent.read_chunk">(std::move(work)));
}

asio::awaitable<Result<messages::ChunkWritten>> AgentService::write_chunk(
    messages::WriteChunk chunk) {
  auto work = [chunk = std::move(chunk), epoch = machine_.epoch()](pqxx::connection& connection) {
    return agent::write_chunk(connection, epoch, chunk);
  };
  return read(moves_, with_points<"agent.write_chunk">(std::move(work)));
}

asio::awaitable<Result<messages::MoveCleaned>> AgentService::clean(messages::CleanMove clean) {
  auto work = [clean = std::move(clean), epoch = machine_.epoch()](pqxx::connection& connection) {
    return clean_move(connection, epoch, clean);
  };
  return read(moves_, with_points<"agent.clean_move">(std::move(work)));
}

}  // namespace koshel::agent
