#include "tests/simulation/coordinator_process.hpp"

#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/checker.hpp"

namespace koshel::simulation {

namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(20);
constexpr auto kRefreshInterval = std::chrono::milliseconds(1'000);

PoolOptions pool_options(const World& world) {
  PoolOptions options;
  options.name = "koshel-coordinator";
  options.connections = world.plan.connections;
  options.break_connection = world.break_connection;
  return options;
}

}  // namespace

CoordinatorProcess::Body::Body(CoordinatorProcess& process, World& world)
    : directory(process, world.network, world.chance, *world.directory_server, kDirectoryNode,
                pool_options(world)),
      routes(world.plan.routes_max) {}

CoordinatorProcess::CoordinatorProcess(World& world, NodeId node, std::string name)
    : Process(world.scheduler, node, std::move(name)), world_(world) {}

void CoordinatorProcess::start() {
  Process::start();
  world_.log(name(), "starts");
  body_ = std::make_unique<Body>(*this, world_);
  take_incarnation();
}

void CoordinatorProcess::die() {
  world_.log(name(), "dies");
  body_.reset();
  Process::die();
}

void CoordinatorProcess::take_incarnation() {
  auto& directory = *world_.directory;
  ask_directory<Incarnation>(
      [&directory](Backend& backend) { return directory.next_incarnation(backend); },
      [this](Result<Incarnation> taken) {
        if (!taken) {
          return post(std::chrono::milliseconds(500), [this] { take_incarnation(); });
        }
        const auto& plan = world_.plan;
        body_->incarnation = taken.value();
        body_->machine.emplace(taken.value(), plan.book, plan.rounds, plan.log, plan.rebalance);
        refresh();
        tick();
      });
}

void CoordinatorProcess::tick() {
  post(kTickInterval, [this] { tick(); });
  step(coordinator::Tick{});
}

void CoordinatorProcess::refresh() {
  auto& directory = *world_.directory;
  ask_directory<ShardRows>(
      [&directory](Backend& backend) { return directory.shards_in_service(backend); },
      [this](Result<ShardRows> read) {
        INVARIANT(body_->machine.has_value());
        if (read) body_->shards = std::move(read.value());
        post(read ? kRefreshInterval : kRefreshInterval / 5, [this] { refresh(); });
        step(coordinator::DirectoryHealth{read.has_value()});
      },
      read_deadline());
}

void CoordinatorProcess::step(coordinator::Event event) {
  const auto this_life = life();
  auto effects = body_->machine->step(std::move(event), world_.scheduler.now());
  for (auto& effect : effects) {
    if (world_.dies_here()) {
      ++world_.faults["process died before an effect"];
      return die();
    }
    std::visit([this](auto&& what) { execute(std::move(what)); }, std::move(effect));
    if (!is_up() || life() != this_life) return;
  }
}

void CoordinatorProcess::submit(coordinator::Order order, Instant deadline,
                                std::function<void(coordinator::Outcome)> done) {
  const auto id = ++body_->last_order;
  body_->waiting.emplace(id, std::move(done));
  step(coordinator::Submit{{{id, std::move(order), deadline}}});
}

void CoordinatorProcess::execute(coordinator::Finish&& effect) {
  const auto waiting = body_->waiting.find(effect.order);
  INVARIANT(waiting != body_->waiting.end());
  auto done = std::move(waiting->second);
  body_->waiting.erase(waiting);
  done(std::move(effect.outcome));
}

void CoordinatorProcess::execute(coordinator::Alarm&& effect) {
  world_.checker->on_alarm(effect.text);
}

void CoordinatorProcess::execute(coordinator::Stop&&) {
  world_.reached("coordinator: closed by another, stopped");
  world_.checker->on_closed(name());
  die();
}

// ---- agents

// An agent that is started while another runs takes the address now and then.
Network::Listener CoordinatorProcess::listener(ShardId shard) {
  return [this, shard]() -> Process* {
    std::vector<Process*> up;
    for (const auto& agent : world_.shards.at(shard).agents) {
      if (agent->is_up()) up.push_back(agent.get());
    }
    return up.empty() ? nullptr : world_.chance.one_of(up);
  };
}

template <class Reply, class Message>
void CoordinatorProcess::ask_agent(ShardId shard, Message message,
                                   std::function<void(Result<Reply>)> done) {
  const auto node = world_.shards.at(shard).agent_node;
  world_.network.call<Reply>(
      *this, node, listener(shard), world_.plan.agent_timeout,
      [message = std::move(message)](Process& process, std::function<void(Reply)> reply) {
        static_cast<AgentProcess&>(process).ask<Reply>(message, std::move(reply));
      },
      std::move(done));
}

void CoordinatorProcess::execute(coordinator::Send<messages::LocalRound>&& effect) {
  ask_agent<messages::LocalReply>(effect.shard, std::move(effect.message),
                                  [this, round = effect.round](Result<messages::LocalReply> reply) {
                                    step(coordinator::LocalReplied{round, std::move(reply)});
                                  });
}

void CoordinatorProcess::execute(coordinator::Send<messages::Reserve>&& effect) {
  ask_agent<messages::ReserveReply>(
      effect.shard, std::move(effect.message),
      [this, shard = effect.shard, round = effect.round](Result<messages::ReserveReply> reply) {
        step(coordinator::ReserveReplied{round, shard, std::move(reply)});
      });
}

// Between its prepares and its decision, which is when others may have to act for it.
void CoordinatorProcess::fall_asleep() {
  const bool is_healed = world_.healed_at != Instant::max();
  if (is_healed || !world_.chance.is_hit(world_.plan.sleep_after_prepare)) return;
  ++world_.faults["coordinator stopped after a prepare"];
  stop();
  const auto at_most = world_.plan.log.dead_after * 3;
  scheduler().after(world_.chance.between(Duration{}, at_most), [this] { wake(); });
}

void CoordinatorProcess::execute(coordinator::Send<messages::Prepare>&& effect) {
  fall_asleep();
  ask_agent<messages::PrepareReply>(
      effect.shard, std::move(effect.message),
      [this, shard = effect.shard, round = effect.round](Result<messages::PrepareReply> reply) {
        if (reply && std::holds_alternative<messages::RoundFailed>(reply.value())) {
          world_.reached("coordinator: a prepare was refused");
        }
        step(coordinator::PrepareReplied{round, shard, std::move(reply)});
      });
}

void CoordinatorProcess::execute(coordinator::Send<messages::Settle>&& effect) {
  ask_agent<messages::SettleDone>(
      effect.shard, effect.message,
      [this, shard = effect.shard, round = effect.round](Result<messages::SettleDone> reply) {
        step(coordinator::SettleReplied{round, shard, std::move(reply)});
      });
}

void CoordinatorProcess::execute(coordinator::Send<messages::Release>&& effect) {
  const auto node = world_.shards.at(effect.shard).agent_node;
  world_.network.call<int>(
      *this, node, listener(effect.shard), world_.plan.agent_timeout,
      [message = effect.message](Process& process, const std::function<void(int)>& reply) {
        static_cast<AgentProcess&>(process).release(message);
        reply(0);
      },
      [](const Result<int>&) {});
}

void CoordinatorProcess::execute(coordinator::Send<messages::AskRound>&& effect) {
  world_.reached("coordinator: asks for a round");
  read_agent<messages::AskRoundDone>(
      effect.shard,
      [round = effect.message.round](AgentProcess& agent, auto reply) {
        agent.ask_round(round, std::move(reply));
      },
      [this, round = effect.round](Result<messages::AskRoundDone> reply) {
        if (reply && reply.value().outcome == messages::AskRoundOutcome::Over) {
          world_.reached("coordinator: the round asked for is over");
        }
        step(coordinator::AskReplied{round, std::move(reply)});
      });
}

void CoordinatorProcess::execute(coordinator::FindOrder&& effect) {
  world_.reached("coordinator: looks for an order's transfer");
  read_agent<messages::FindTransferDone>(
      effect.shard,
      [find = effect.find](AgentProcess& agent, auto reply) { agent.find(find, std::move(reply)); },
      [this, order = effect.order, round = effect.round](Result<messages::FindTransferDone> reply) {
        step(coordinator::FindReplied{order, round, std::move(reply)});
      });
}

void CoordinatorProcess::execute(coordinator::Confirm&& effect) {
  world_.reached("coordinator: confirms a commit");
  ask_agent<messages::SettleDone>(
      effect.shard, messages::Settle{effect.round, true},
      [this, shard = effect.shard, round = effect.round](Result<messages::SettleDone> reply) {
        world_.log(name(), "confirms", round.incarnation.value(), round.sequence.value(), "at",
                   shard.value(),
                   reply ? std::to_string(static_cast<int>(reply.value().outcome))
                         : reply.error().context);
        step(coordinator::ConfirmReplied{round, shard, std::move(reply)});
      });
}

// ---- the directory

void CoordinatorProcess::execute(coordinator::Decide&& effect) {
  auto& directory = *world_.directory;
  const RoundId round{body_->incarnation, effect.round};
  world_.checker->on_decision_asked(round, effect.wish == Decision::Commit);
  if (effect.participants.size() > 2) world_.reached("coordinator: a round of many shards");
  ask_directory<Decision>(
      [&directory, round, effect](Backend& backend) {
        return directory.decide(backend, round, effect.wish, effect.participants);
      },
      [this, round](Result<Decision> decision) {
        if (!decision) world_.reached("coordinator: the decision is in doubt");
        if (decision && decision.value() == Decision::Fenced) {
          world_.reached("coordinator: the decision is fenced off");
        }
        if (decision && decision.value() == Decision::Abort) {
          world_.reached("coordinator: the decision was abort");
        }
        world_.log(name(), "asked the log about round", round.incarnation.value(),
                   round.sequence.value(),
                   decision ? std::to_string(static_cast<int>(decision.value()))
                            : decision.error().context + decision.error().sqlstate);
        step(coordinator::Decided{round.sequence, std::move(decision)});
      });
}

void CoordinatorProcess::execute(coordinator::CreateUsers&& effect) {
  auto& directory = *world_.directory;
  const RoundId round{body_->incarnation, effect.round};
  world_.checker->on_decision_asked(round, true);
  ask_directory<void>(
      [&directory, round, effect](Backend& backend) {
        return directory.create_users(backend, round, effect.participants, effect.users);
      },
      [this, round](Result<void> created) {
        Result<CreateUsersOutcome> outcome = CreateUsersOutcome::Created;
        if (!created && created.error().sqlstate == "KO010") {
          outcome = CreateUsersOutcome::Decided;
        } else if (!created && created.error().sqlstate == "KO011") {
          outcome = CreateUsersOutcome::NameTaken;
        } else if (!created && created.error().sqlstate == "KO013") {
          world_.reached("coordinator: a shard takes no new users");
          outcome = CreateUsersOutcome::ShardClosed;
        } else if (!created) {
          outcome = created.error();
        }
        world_.log(name(), "asked for users in round", round.incarnation.value(),
                   round.sequence.value(),
                   outcome ? std::to_string(static_cast<int>(outcome.value()))
                           : outcome.error().context + outcome.error().sqlstate);
        step(coordinator::UsersCreated{round.sequence, std::move(outcome)});
      });
}

void CoordinatorProcess::execute(coordinator::ReadRoutes&& effect) {
  auto& directory = *world_.directory;
  ask_directory<std::vector<NamedRoute>>(
      [&directory, effect](Backend& backend) {
        return directory.routes_by_account(backend, effect.accounts);
      },
      [this, asked = effect.accounts](Result<std::vector<NamedRoute>> routes) {
        if (!routes) return step(coordinator::RoutesRead{asked, routes.error()});
        std::map<AccountId, ShardId> shards;
        for (const auto& [name, route] : routes.value()) {
          body_->routes.learn(name, route);
          shards.emplace(route.account, route.shard);
        }
        step(coordinator::RoutesRead{asked, std::move(shards)});
      },
      read_deadline());
}

void CoordinatorProcess::execute(coordinator::ReadNames&& effect) {
  auto& directory = *world_.directory;
  ask_directory<std::vector<NamedRoute>>(
      [&directory, effect](Backend& backend) {
        return directory.routes_by_name(backend, effect.names);
      },
      [this, round = effect.round](Result<std::vector<NamedRoute>> routes) {
        if (!routes) return step(coordinator::NamesRead{round, routes.error()});
        std::vector<std::string> existing;
        for (auto& named : routes.value()) existing.push_back(named.name);
        step(coordinator::NamesRead{round, std::move(existing)});
      },
      read_deadline());
}

void CoordinatorProcess::execute(coordinator::KeepLog&& effect) {
  auto& directory = *world_.directory;
  ask_directory<directory::LogState>(
      [&directory, own = body_->incarnation, effect](Backend& backend) {
        return directory.keep(backend, own, effect.fence);
      },
      [this](Result<directory::LogState> kept) { step(coordinator::LogKept{std::move(kept)}); });
}

// The one that is closed may wake up in that very moment and decide.
void CoordinatorProcess::wake_sleepers() {
  constexpr auto kMoment = std::chrono::milliseconds(8);
  for (auto& other : world_.coordinators) {
    if (!other->is_stopped() || !world_.chance.is_hit(world_.plan.wake_when_closed)) continue;
    ++world_.faults["sleeper woken when closed"];
    scheduler().after(world_.chance.between(Duration{}, kMoment),
                      [sleeper = other.get()] { sleeper->wake(); });
  }
}

void CoordinatorProcess::execute(coordinator::CloseIncarnation&& effect) {
  using Commits = std::vector<directory::CommittedRound>;
  auto& directory = *world_.directory;
  world_.reached("coordinator: closes another's incarnation");
  wake_sleepers();
  ask_directory<Commits>(
      [&directory, effect, limit = world_.plan.close_limit](Backend& backend) {
        return directory.close(backend, effect.incarnation, limit);
      },
      [this, silent = effect.incarnation](Result<Commits> commits) {
        if (commits && !commits.value().empty()) world_.reached("coordinator: adopts commits");
        step(coordinator::IncarnationClosed{silent, std::move(commits)});
      });
}

void CoordinatorProcess::execute(coordinator::Forget&& effect) {
  auto& directory = *world_.directory;
  ask_directory<void>(
      [&directory, effect](Backend& backend) {
        return directory.forget(backend, effect.incarnation, effect.rounds);
      },
      [](const Result<void>&) {});
}

}  // namespace koshel::simulation
