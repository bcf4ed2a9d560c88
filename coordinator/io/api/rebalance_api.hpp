#pragma once
// /v1/admin/rebalance: the plan, the rebalance as it stands, and what people tell it to do. Before
// a rebalance starts, every shard of the plan is looked at: what would stop it half-way stops it
// here, where nothing has happened yet. Carrying it out is the mover's; both meet in the directory.

#include <map>

#include "coordinator/io/api/context.hpp"
#include "coordinator/logic/planner.hpp"

namespace koshel::coordinator {

class RebalanceApi {
 public:
  explicit RebalanceApi(ApiContext context) : context_(context) {}

  Respond plan(platform::HttpRequest request);
  Respond show(platform::HttpRequest request);
  Respond act(platform::HttpRequest request);

 private:
  struct Plan {
    std::vector<ShardLoad> shards;
    std::vector<directory::PlannedMove> moves;
    bool is_empty() const;  // nothing is to be moved, not even what a draining shard may have left
  };
  using Statuses = std::map<ShardId, messages::AgentStatus>;

  boost::asio::awaitable<Checked<directory::RebalanceStatus>> read_status(Instant deadline);
  boost::asio::awaitable<Checked<Plan>> make_plan(Instant deadline);
  boost::asio::awaitable<std::optional<Problem>> start(std::optional<int> users_per_second,
                                                       Instant deadline);
  boost::asio::awaitable<std::optional<Problem>> tell(directory::RebalanceAction action,
                                                      Instant deadline);
  boost::asio::awaitable<std::optional<Problem>> check(Plan plan, Instant deadline);
  std::optional<Problem> check_agent(ShardId shard, const messages::AgentStatus& status) const;
  std::optional<Problem> check_disk(const Plan& plan, ShardId target,
                                    const Statuses& statuses) const;
  Problem failed_check(ProblemCode code, std::string_view check, ShardId shard,
                       const std::string& what) const;

  ApiContext context_;
};

}  // namespace koshel::coordinator
