#include "tests/simulation/pool.hpp"

namespace koshel::simulation {

Pool::Pool(Process& owner, Network& network, Chance& chance, Server& server, NodeId server_node,
           PoolOptions options)
    : state_(std::make_shared<State>(owner, network, chance, server, server_node,
                                     std::move(options))) {}

Pool::~Pool() {
  for (auto& slot : state_->slots) state_->drop(slot);
}

void Pool::reconnect_as(std::string name) {
  state_->options.name = std::move(name);
  ++state_->generation;
}

void Pool::enqueue(Job job) {
  if (state_->queue.size() >= state_->options.waiting_max) {
    state_->owner.post(Duration{}, [fail = std::move(job.fail)] {
      fail(Error{Fault::Overloaded, "too many calls wait for PostgreSQL"});
    });
    return;
  }
  state_->queue.push_back(std::move(job));
  state_->owner.post(Duration{}, [weak = std::weak_ptr<State>(state_)] {
    if (const auto state = weak.lock()) state->pump();
  });
}

void Pool::State::pump() {
  for (std::size_t i = 0; i < slots.size() && !queue.empty(); ++i) {
    if (slots[i].is_busy) continue;
    auto job = std::move(queue.front());
    queue.pop_front();
    slots[i].is_busy = true;
    start(static_cast<int>(i), std::move(job));
  }
}

void Pool::State::start(int number, Job job) {
  auto& slot = slots[static_cast<std::size_t>(number)];
  if (slot.generation != generation) {
    drop(slot);
    slot.was_lost = false;
  }
  if (std::exchange(slot.was_lost, false) && options.idle_loss == IdleLoss::Tell) {
    const Error error{Fault::Unavailable, "PostgreSQL has closed an idle connection"};
    free(number, &error);
    owner.post(Duration{}, [fail = std::move(job.fail), error] { fail(error); });
    return;
  }
  if (slot.backend != 0) return job.send(number, slot.backend);
  connect(number, std::move(job));
}

// Under the name that was wanted when the job began, though another may be wanted by now.
void Pool::State::connect(int number, Job job) {
  const auto is_cut = [this] {
    return network.is_cut(owner.node(), node) || network.is_cut(node, owner.node());
  };
  slots[static_cast<std::size_t>(number)].generation = generation;
  owner.post(is_cut() ? options.connect_timeout : network.delay() * 2,
             [weak = weak_from_this(), number, name = options.name, job = std::move(job), is_cut] {
               const auto state = weak.lock();
               if (!state) return;
               auto* backend = is_cut() ? nullptr : state->server.connect(name);
               if (backend == nullptr) {
                 const Error error{Fault::Unavailable, "cannot connect to PostgreSQL"};
                 state->free(number, &error);
                 return job.fail(error);
               }
               state->slots[static_cast<std::size_t>(number)].backend = backend->id;
               job.send(number, backend->id);
             });
}

// While nothing runs, only the next job will find out.
void Pool::State::watch_idle(int number, Backend& backend) {
  backend.on_lost = [weak = weak_from_this(), number] {
    const auto state = weak.lock();
    if (!state) return;
    auto& slot = state->slots[static_cast<std::size_t>(number)];
    slot.backend = 0;
    slot.was_lost = true;
  };
}

void Pool::State::drop(Slot& slot) {
  if (slot.backend != 0) server.leave(std::exchange(slot.backend, 0));
}

// The job is over. After a refused statement the session is as good as before, after anything else
// it is thrown away.
void Pool::State::free(int number, const Error* failure) {
  auto& slot = slots[static_cast<std::size_t>(number)];
  slot.is_busy = false;
  const bool can_go_on =
      failure == nullptr || (!failure->sqlstate.empty() && failure->fault != Fault::InDoubt &&
                             failure->sqlstate != "25006");
  if (!can_go_on) {
    drop(slot);
  } else if (auto* backend = server.find(slot.backend)) {
    watch_idle(number, *backend);
  } else if (slot.backend != 0) {  // ended just behind its answer
    slot.backend = 0;
    slot.was_lost = true;
  }
  owner.post(Duration{}, [weak = weak_from_this()] {
    if (const auto state = weak.lock()) state->pump();
  });
}

}  // namespace koshel::simulation
