#pragma once
// A process of the simulated cluster: what is posted to it is lost when it dies and waits while it
// is stopped.

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "tests/simulation/scheduler.hpp"

namespace koshel::simulation {

using NodeId = int;  // a host of the network

class Process {
 public:
  using Action = std::function<void()>;

  Process(Scheduler& scheduler, NodeId node, std::string name)
      : scheduler_(scheduler), node_(node), name_(std::move(name)) {}
  virtual ~Process() = default;

  virtual void start() {
    is_up_ = true;
    ++life_;
  }
  virtual void die() {
    is_up_ = false;
    is_stopped_ = false;
    mailbox_.clear();
    // What it was asked has no answer: connections are reset.
    for (auto& reset : std::exchange(resets_, {})) reset();
  }
  void stop() { is_stopped_ = true; }  // as SIGSTOP does
  void wake() {
    is_stopped_ = false;
    for (auto& action : std::exchange(mailbox_, {})) post(Duration{}, std::move(action));
  }

  // Runs in this life of the process, after the delay, and not while it is stopped.
  void post(Duration delay, Action action) {
    scheduler_.after(delay, [this, life = life_, action = std::move(action)]() mutable {
      if (life != life_ || !is_up_) return;
      if (is_stopped_) {
        mailbox_.push_back(std::move(action));
      } else {
        action();
      }
    });
  }
  // Called once when the process dies, unless `life` was another one.
  void on_death(std::uint64_t life, Action reset) {
    if (life != life_ || !is_up_) return reset();
    if (resets_.size() > 256) resets_.erase(resets_.begin(), resets_.begin() + 128);
    resets_.push_back(std::move(reset));
  }

  virtual bool is_client() const { return false; }
  bool is_up() const { return is_up_; }
  bool is_stopped() const { return is_stopped_; }
  bool is_running() const { return is_up_ && !is_stopped_; }
  std::uint64_t life() const { return life_; }
  NodeId node() const { return node_; }
  const std::string& name() const { return name_; }
  Scheduler& scheduler() { return scheduler_; }

 private:
  Scheduler& scheduler_;
  NodeId node_;
  std::string name_;
  bool is_up_ = false;
  bool is_stopped_ = false;
  std::uint64_t life_ = 0;
  std::deque<Action> mailbox_;
  std::vector<Action> resets_;
};

}  // namespace koshel::simulation
