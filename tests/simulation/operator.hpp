#pragma once
// Who has users moved: changes the weights of shards, starts rebalances with the real planner,
// pauses, resumes and cancels them, drains shards; after the faults brings to its end what is
// begun.

#include "tests/simulation/world.hpp"

namespace koshel::simulation {

class Operator final : public Process {
 public:
  Operator(World& world, NodeId node);

  void start() override;
  // Nothing new but one last rebalance, for what drains.
  void settle();
  bool is_done() const { return is_done_; }

 private:
  using Then = std::function<void()>;
  void next();
  void act();
  void set_some_weight(Then then);
  void plan_and_start(std::function<void(bool)> then);
  void start_rebalance(const ShardRows& shards, const std::map<ShardId, std::int64_t>& users,
                       std::function<void(bool)> then);
  void lead(directory::RebalanceState to, std::vector<directory::RebalanceState> from, Then then);
  void drain(Then then);
  void bring_to_end();
  template <class R, class Work>
  void ask(Work work, std::function<void(Result<R>)> done);

  World& world_;
  Pool directory_;
  bool is_settling_ = false;
  bool is_last_started_ = false;
  bool is_done_ = false;
};

}  // namespace koshel::simulation
