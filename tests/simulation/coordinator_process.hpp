#pragma once
// A coordinator in the simulation: the real machine and route cache, its effects carried out as
// coordinator/io/coordinator_service.cpp does, and before them as much of the HTTP API as clients
// need: names to routes, orders in, answers out.

#include <unordered_map>

#include "directory/logic/route_cache.hpp"
#include "tests/simulation/agent_process.hpp"
#include "tests/simulation/requests.hpp"
#include "tests/simulation/world.hpp"

namespace koshel::simulation {

class CoordinatorProcess final : public Process {
 public:
  CoordinatorProcess(World& world, NodeId node, std::string name);

  void start() override;
  void die() override;
  bool is_serving() const { return is_running() && body_ && body_->machine.has_value(); }

  // ---- what clients ask

  void transfer(const TransferRequest& request, std::function<void(Told)> reply);
  void find(TransferId id, std::function<void(Told)> reply);
  void create_user(const UserRequest& request, std::function<void(Told)> reply);
  void change_limits(const LimitRequest& request, std::function<void(Told)> reply);
  void read_user(const std::string& name, std::function<void(Told)> reply);
  void read_history(const HistoryRequest& request, std::function<void(Told)> reply);

  const coordinator::CoordinatorMachine* machine() const {
    return body_ && body_->machine ? &*body_->machine : nullptr;
  }

 private:
  struct Body {
    Body(CoordinatorProcess& process, World& world);
    Pool directory;
    directory::RouteCache routes;
    std::optional<coordinator::CoordinatorMachine> machine;
    Incarnation incarnation;
    coordinator::OrderId last_order = 0;
    std::unordered_map<coordinator::OrderId, std::function<void(coordinator::Outcome)>> waiting;
    std::size_t next_shard = 0;
    ShardRows shards;  // in service
  };

  void take_incarnation();
  void fall_asleep();
  void wake_sleepers();
  void tick();
  void refresh();
  void step(coordinator::Event event);
  void submit(coordinator::Order order, Instant deadline,
              std::function<void(coordinator::Outcome)> done);

  template <class Reply, class Message>
  void ask_agent(ShardId shard, Message message, std::function<void(Result<Reply>)> done);
  template <class Reply>
  void read_agent(ShardId shard,
                  std::function<void(AgentProcess&, std::function<void(Result<Reply>)>)> ask,
                  std::function<void(Result<Reply>)> done);
  Network::Listener listener(ShardId shard);

  void execute(coordinator::Send<messages::LocalRound>&& effect);
  void execute(coordinator::Send<messages::Reserve>&& effect);
  void execute(coordinator::Send<messages::Prepare>&& effect);
  void execute(coordinator::Send<messages::Settle>&& effect);
  void execute(coordinator::Send<messages::Release>&& effect);
  void execute(coordinator::Send<messages::AskRound>&& effect);
  void execute(coordinator::FindOrder&& effect);
  void execute(coordinator::Decide&& effect);
  void execute(coordinator::CreateUsers&& effect);
  void execute(coordinator::ReadRoutes&& effect);
  void execute(coordinator::ReadNames&& effect);
  void execute(coordinator::Finish&& effect);
  void execute(coordinator::Alarm&& effect);
  void execute(coordinator::KeepLog&& effect);
  void execute(coordinator::CloseIncarnation&& effect);
  void execute(coordinator::Confirm&& effect);
  void execute(coordinator::Forget&& effect);
  void execute(coordinator::HandOver&& effect);
  void execute(coordinator::MoveUsers&& effect);
  void execute(coordinator::BeatRebalance&& effect);
  void execute(coordinator::ReadMoves&& effect);
  void execute(coordinator::TakeMove&& effect);
  void execute(coordinator::TakeLeftovers&& effect);
  void execute(coordinator::BeginArrival&& effect);
  void execute(coordinator::CopyChunk&& effect);
  void execute(coordinator::CheckArrived&& effect);
  void execute(coordinator::CleanMove&& effect);
  void execute(coordinator::EndMove&& effect);
  void execute(coordinator::EndRebalance&& effect);
  void execute(coordinator::Stop&& effect);

  // Now, or when the process wakes up, long after others have had to act for it.
  void do_as_mover(std::function<void()> what);
  using Copied = Result<coordinator::ChunkCopied::Progress>;
  void copy_chunk(const coordinator::CopyChunk& copy, std::function<void(Copied)> done);
  void copy_rest(const coordinator::CopyChunk& copy, std::function<void(Result<void>)> done);
  void hand_over(coordinator::HandOver rest);
  void move_users(const coordinator::MoveUsers& moving);
  using Taken = Result<std::optional<directory::OpenMove>>;
  void find_leftovers(const std::map<ShardId, std::int64_t>& users);
  void take_worlds(std::vector<ShardId> empty, ShardId target);
  void take_worlds_of(ShardId source, std::vector<ShardId> others, ShardId target);
  void taken(Taken move);

  template <class R, class Work>
  void ask_directory(Work work, std::function<void(Result<R>)> done,
                     Instant deadline = Instant::max());
  Instant read_deadline() const { return world_.scheduler.now() + std::chrono::seconds(2); }
  void with_routes(std::vector<std::string> names, Instant deadline,
                   std::function<void(Result<std::map<std::string, directory::Route>>)> done);
  void with_route(AccountId account, std::function<void(Result<directory::Route>)> done);
  // Follows a user that moves, until the deadline.
  template <class Reply>
  void ask_owner(directory::Route route,
                 std::function<void(AgentProcess&, std::function<void(Result<Reply>)>)> ask,
                 std::function<bool(const Reply&)> is_moved, Instant deadline,
                 std::function<void(Result<Reply>)> done);
  void start_transfer(const TransferRequest& request,
                      const std::map<std::string, directory::Route>& routes,
                      const std::function<void(Told)>& reply);

  World& world_;
  std::unique_ptr<Body> body_;
};

template <class Reply>
void CoordinatorProcess::read_agent(
    ShardId shard, std::function<void(AgentProcess&, std::function<void(Result<Reply>)>)> ask,
    std::function<void(Result<Reply>)> done) {
  const auto node = world_.shards.at(shard).agent_node;
  using Answer = std::optional<Reply>;  // nullopt: 503, the database cannot be read now
  world_.network.call<Answer>(
      *this, node, listener(shard), world_.plan.agent_timeout,
      [ask = std::move(ask)](Process& process, std::function<void(Answer)> reply) {
        ask(static_cast<AgentProcess&>(process), [reply](Result<Reply> read) {
          reply(read ? Answer(std::move(read.value())) : std::nullopt);
        });
      },
      [done = std::move(done)](Result<Answer> answer) {
        if (!answer) return done(answer.error());
        if (!answer.value()) return done(Error{Fault::Unavailable, "the agent cannot read"});
        done(std::move(*answer.value()));
      });
}

template <class R, class Work>
void CoordinatorProcess::ask_directory(Work work, std::function<void(Result<R>)> done,
                                       Instant deadline) {
  body_->directory.post<R>(std::move(work), std::move(done), deadline);
}

}  // namespace koshel::simulation
