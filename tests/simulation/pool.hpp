#pragma once
// platform's PgPool in the simulation: a bounded number of connections, each with one program at a
// time, and the same Errors for the same mishaps. Dies with its process; what its connections run
// goes on.

#include <deque>
#include <memory>

#include "base/sqlstate.hpp"
#include "tests/simulation/network.hpp"
#include "tests/simulation/postgres/server.hpp"

namespace koshel::simulation {

enum class IdleLoss : std::int8_t { Reconnect, Tell };

struct PoolOptions {
  std::string name;
  int connections = 4;
  std::size_t waiting_max = 256;
  IdleLoss idle_loss = IdleLoss::Reconnect;
  Duration connect_timeout = std::chrono::seconds(5);
  Duration silence_max = std::chrono::seconds(8);  // then TCP gives the connection up
  double break_connection = 0;                     // of each job
};

class Pool {
 public:
  Pool(Process& owner, Network& network, Chance& chance, Server& server, NodeId server_node,
       PoolOptions options);
  ~Pool();

  // `work(backend)` is a Task of R; `done(Result<R>)` is called in the owner's life.
  template <class R, class Work, class Done>
  void post(Work work, Done done, Instant deadline = Instant::max());
  void reconnect_as(std::string name);

 private:
  struct State;
  // What a job needs of a connection, and what it does when it gets none.
  struct Job {
    std::function<void(int slot, BackendId backend)> send;
    std::function<void(const Error&)> fail;
  };
  template <class R, class Work>
  static Task<void> drive(Server& server, BackendId id, Work work,
                          std::function<void(Result<R>)> reply);
  void enqueue(Job job);

  std::shared_ptr<State> state_;
};

struct Pool::State : std::enable_shared_from_this<Pool::State> {
  struct Slot {
    BackendId backend = 0;
    int generation = 0;
    bool is_busy = false;
    bool was_lost = false;  // while it was idle
  };
  State(Process& the_owner, Network& the_network, Chance& the_chance, Server& the_server,
        NodeId the_node, PoolOptions the_options)
      : owner(the_owner),
        network(the_network),
        chance(the_chance),
        server(the_server),
        node(the_node),
        options(std::move(the_options)),
        slots(static_cast<std::size_t>(options.connections)) {}

  void pump();
  void start(int number, Job job);
  void connect(int number, Job job);
  void watch_idle(int number, Backend& backend);
  void free(int number, const Error* failure);
  void drop(Slot& slot);

  Process& owner;
  Network& network;
  Chance& chance;
  Server& server;
  NodeId node;
  PoolOptions options;
  std::vector<Slot> slots;
  std::deque<Job> queue;
  int generation = 0;
};

template <class R, class Work>
Task<void> Pool::drive(Server& server, BackendId id, Work work,
                       std::function<void(Result<R>)> reply) {
  auto& backend = *server.find(id);
  std::optional<Result<R>> result;
  try {
    auto task = work(backend);
    if constexpr (std::is_void_v<R>) {
      co_await std::move(task);
      result.emplace(success());
    } else {
      auto value = co_await std::move(task);
      result.emplace(std::move(value));
    }
  } catch (const SqlError& error) {
    result.emplace(Error{fault_of_sqlstate(error.sqlstate), error.detail, error.sqlstate});
  } catch (const SessionEnded&) {
    backend.is_ending = true;
    co_return;
  }
  server.rollback(backend);
  if (std::exchange(backend.has_warned, false) && *result) {
    result.emplace(Error{Fault::InDoubt, "a commit did not wait for the standby"});
  }
  if (!backend.is_client_gone) reply(std::move(*result));
}

template <class R, class Work, class Done>
void Pool::post(Work work, Done done, Instant deadline) {
  struct Call {
    bool is_over = false;
    Done done;
  };
  auto call = std::make_shared<Call>(Call{false, std::move(done)});
  const auto finish = [call](Result<R> result) {
    if (!std::exchange(call->is_over, true)) call->done(std::move(result));
  };
  auto& owner = state_->owner;
  if (deadline != Instant::max()) {
    owner.post(std::max(Duration{}, deadline - owner.scheduler().now()), [finish] {
      finish(Error{Fault::Unavailable, "no answer by the deadline"});
    });
  }
  Job job;
  job.fail = [finish](const Error& error) { finish(error); };
  job.send = [work, finish, weak = std::weak_ptr<State>(state_)](int slot, BackendId backend) {
    const auto state = weak.lock();
    if (!state) return;
    // The connection's one answer: what the server says, or that it is broken.
    auto is_answered = std::make_shared<bool>(false);
    const auto answer = [weak, slot, finish, is_answered](Duration after, Result<R> result) {
      const auto pool = weak.lock();
      if (!pool) return;
      pool->owner.post(after, [weak, slot, finish, is_answered, result = std::move(result)] {
        const auto living = weak.lock();
        if (!living || std::exchange(*is_answered, true)) return;
        living->free(slot, result ? nullptr : &result.error());
        finish(result);
      });
    };
    const Error lost{Fault::InDoubt, "the connection is lost"};
    const Error terminated{fault_of_sqlstate("57P01"), "terminating connection", "57P01"};
    auto& network = state->network;
    const auto to = state->node;
    const auto from = state->owner.node();
    auto& server = state->server;
    const auto silence = state->options.silence_max;
    const auto run = [&server, &network, backend, work, answer, lost, terminated, from, to,
                      silence] {
      auto* found = server.find(backend);
      if (found == nullptr) return answer(network.delay(), lost);
      found->on_lost = [=, &network, &server] {
        if (network.is_cut(to, from)) return answer(silence, lost);
        answer(network.delay(), server.is_up() ? terminated : lost);
      };
      server.run(*found, drive<R>(server, backend, work, [=, &network](Result<R> result) {
        if (network.is_cut(to, from)) return answer(silence, lost);
        answer(network.delay(), std::move(result));
      }));
    };
    const bool is_broken = state->chance.is_hit(state->options.break_connection);
    if (is_broken) {
      if (network.on_fault) network.on_fault("connection broken");
      answer(network.delay() * 2, lost);
    }
    const bool is_cut = network.is_cut(from, to);
    if (is_cut) answer(silence, lost);
    // A busy server reads what was sent, and then that the connection has broken.
    const bool is_late = is_cut || (is_broken && state->chance.is_hit(0.3));
    if (is_late) state->slots[static_cast<std::size_t>(slot)].backend = 0;
    const auto late =
        is_late ? state->chance.between(Duration{}, std::chrono::seconds(30)) : Duration{};
    state->owner.scheduler().after(network.delay() + late, [=, &network, &server] {
      if (network.is_cut(from, to)) {
        answer(silence, lost);
      } else {
        run();
      }
      if (is_late) server.leave(backend);
    });
  };
  enqueue(std::move(job));
}

}  // namespace koshel::simulation
