#pragma once
// The network between processes: messages take time, some get lost, some come twice, late or out of
// order; the way from one host to another can be cut while the way back is open. An Error tells
// what the real client would know: Unavailable if nothing was sent, InDoubt if something was.

#include <map>
#include <memory>
#include <set>

#include "base/result.hpp"
#include "tests/simulation/chance.hpp"
#include "tests/simulation/process.hpp"

namespace koshel::simulation {

struct Weather {
  double lose = 0;  // of each message
  double duplicate =
      0;            // of each question between daemons: what a client sends twice it asks twice
  double slow = 0;  // of each message
  Duration slow_max = std::chrono::seconds(20);
  Duration delay_max = std::chrono::milliseconds(3);
};

class Network {
 public:
  Network(Scheduler& scheduler, Chance& chance) : scheduler_(scheduler), chance_(chance) {}

  Weather weather;
  std::function<void(const char* what)> on_fault;

  void cut(NodeId from, NodeId to) { cuts_.insert({from, to}); }
  void mend(NodeId from, NodeId to) { cuts_.erase({from, to}); }
  bool is_cut(NodeId from, NodeId to) const { return cuts_.contains({from, to}); }
  void heal() {
    weather = Weather();
    cuts_.clear();
  }

  Duration delay();
  bool is_lost();

  // Who listens at an address right now; null: nobody.
  using Listener = std::function<Process*()>;
  template <class Reply>
  using Deliver = std::function<void(Process&, std::function<void(Reply)>)>;

  // A question over HTTP. `deliver` hands it to the listener; `done` is told in the caller's life.
  template <class Reply>
  void call(Process& caller, NodeId to, Listener listener, Duration timeout, Deliver<Reply> deliver,
            std::function<void(Result<Reply>)> done);

 private:
  void fault(const char* what) {
    if (on_fault) on_fault(what);
  }

  Scheduler& scheduler_;
  Chance& chance_;
  std::set<std::pair<NodeId, NodeId>> cuts_;
};

inline Duration Network::delay() {
  const auto usual = chance_.between(std::chrono::microseconds(50), weather.delay_max);
  if (!chance_.is_hit(weather.slow)) return usual;
  fault("message late");
  return usual + chance_.between(Duration{}, weather.slow_max);
}

inline bool Network::is_lost() {
  if (!chance_.is_hit(weather.lose)) return false;
  fault("message lost");
  return true;
}

template <class Reply>
void Network::call(Process& caller, NodeId to, Listener listener, Duration timeout,
                   Deliver<Reply> deliver, std::function<void(Result<Reply>)> done) {
  struct Call {
    bool is_over = false;
    std::function<void(Result<Reply>)> done;
  };
  auto call = std::make_shared<Call>();
  call->done = std::move(done);
  const auto end = [&caller, call, life = caller.life()](Duration after, Result<Reply> result) {
    if (caller.life() != life) return;
    caller.post(after, [call, result = std::move(result)]() mutable {
      if (std::exchange(call->is_over, true)) return;
      call->done(std::move(result));
    });
  };
  const Error in_doubt{Fault::InDoubt, "no answer came"};
  const Error unavailable{Fault::Unavailable, "nobody answers there"};
  const auto from = caller.node();
  if (is_cut(from, to) && chance_.is_hit(0.5)) {
    return end(std::min<Duration>(timeout, std::chrono::seconds(1)), unavailable);
  }
  end(timeout, in_doubt);
  struct Arrival {
    Process* callee = nullptr;
    std::uint64_t life = 0;
    bool was_refused = false;
  };
  auto first = std::make_shared<Arrival>();
  const auto arrive = [this, first, call, end, listener, deliver, from, to, in_doubt,
                       unavailable](bool is_duplicate) {
    // A question comes twice only to whom it came first: its connection ends with that process.
    if (first->was_refused) return;
    auto* callee = first->callee == nullptr ? listener() : first->callee;
    if (first->callee != nullptr && callee->life() != first->life) return;
    const bool can_answer = !is_duplicate && !is_cut(to, from);
    if (callee == nullptr || !callee->is_up()) {
      first->was_refused = true;
      // A new connection is refused; one that was kept alive has taken the message.
      if (can_answer) end(delay(), chance_.is_hit(0.5) ? in_doubt : unavailable);
      return;
    }
    *first = {callee, callee->life(), false};
    if (can_answer) {
      callee->on_death(callee->life(), [this, call, end, in_doubt, from, to] {
        if (!call->is_over && !is_cut(to, from)) end(delay(), in_doubt);
      });
    }
    const auto reply = [this, end, from, to, is_duplicate](Reply answer) {
      if (is_duplicate || is_cut(to, from) || is_lost()) return;
      end(delay(), std::move(answer));
    };
    callee->post(Duration{}, [callee, deliver, reply] { deliver(*callee, reply); });
  };
  if (is_cut(from, to)) {  // what the sender's kernel still has may go out when the way is open
    if (chance_.is_hit(0.3)) {
      scheduler_.after(chance_.between(Duration{}, std::chrono::seconds(60)),
                       [this, arrive, from, to] {
                         if (!is_cut(from, to)) arrive(true);
                       });
    }
    return;
  }
  if (!is_lost()) scheduler_.after(delay(), [arrive] { arrive(false); });
  if (!caller.is_client() && chance_.is_hit(weather.duplicate)) {
    fault("message twice");
    const auto late = chance_.between(Duration{}, weather.delay_max * 10);
    scheduler_.after(delay() + late, [arrive] { arrive(true); });
  }
}

}  // namespace koshel::simulation
