#pragma once
// Virtual time: what is to happen, in the order of its time, and for the same time in the order it
// was asked for. Nothing here looks at a clock.

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

#include "base/time.hpp"

namespace koshel::simulation {

class Scheduler {
 public:
  using Action = std::function<void()>;

  Instant now() const { return now_; }
  void after(Duration delay, Action action) { at(now_ + delay, std::move(action)); }
  void at(Instant time, Action action) {
    queue_.push_back({std::max(time, now_), ++last_, std::move(action)});
    std::push_heap(queue_.begin(), queue_.end(), std::greater<>());
  }
  // Runs what is due up to `end`, and leaves the clock there.
  void run_until(Instant end) {
    while (!queue_.empty() && queue_.front().time <= end && !is_stopped_) step();
    if (!is_stopped_) now_ = std::max(now_, end);
  }
  void stop() { is_stopped_ = true; }
  bool is_stopped() const { return is_stopped_; }
  std::uint64_t steps() const { return steps_; }
  // Two runs of one seed went the same way if and only if this is the same.
  std::uint64_t trace() const { return trace_; }
  void mark(std::uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3ULL; }

 private:
  struct Due {
    Instant time;
    std::uint64_t number = 0;
    Action action;
    bool operator>(const Due& other) const {
      return time != other.time ? time > other.time : number > other.number;
    }
  };
  void step() {
    std::pop_heap(queue_.begin(), queue_.end(), std::greater<>());
    auto due = std::move(queue_.back());
    queue_.pop_back();
    now_ = due.time;
    ++steps_;
    mark(static_cast<std::uint64_t>(due.time.time_since_epoch().count()));
    mark(due.number);
    due.action();
  }

  Instant now_{};
  std::vector<Due> queue_;  // a heap: the earliest in front
  std::uint64_t last_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t trace_ = 0xcbf29ce484222325ULL;
  bool is_stopped_ = false;
};

}  // namespace koshel::simulation
