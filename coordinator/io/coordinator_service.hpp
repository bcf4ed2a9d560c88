#pragma once
// Carries out what the coordinator's machine decides: calls agents and the directory, brings the
// replies back as events, and wakes the request whose orders are answered. One per process, on the
// loop's thread.

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "coordinator/io/route_reader.hpp"
#include "coordinator/io/shard_view.hpp"
#include "coordinator/logic/coordinator_machine.hpp"
#include "directory/io/decision_log.hpp"
#include "directory/io/directory_store.hpp"
#include "directory/io/rebalance_store.hpp"
#include "platform/config.hpp"
#include "platform/crash_points.hpp"

namespace koshel::coordinator {

class CoordinatorService {
 public:
  CoordinatorService(boost::asio::io_context& loop, const platform::Config& config,
                     std::shared_ptr<platform::TlsContext> agent_tls, platform::PgPool& pool,
                     directory::Start start,
                     std::function<void(const std::string& reason)> on_stop);

  // Drive the machine's time and the view of the shards until the loop ends.
  boost::asio::awaitable<void> run_ticks();
  boost::asio::awaitable<void> run_refresh();
  // Reads the list of shards. Unavailable at the deadline.
  boost::asio::awaitable<Result<void>> refresh(Instant deadline);

  // Every order's outcome, in order; ends by `deadline`.
  boost::asio::awaitable<std::vector<Outcome>> submit(std::vector<Order> orders, Instant deadline);

  ShardView& shards() { return shards_; }
  RouteReader& routes() { return routes_; }
  // The shard's agent; a shard that is new here is looked for in the directory first. Null: there
  // is none.
  boost::asio::awaitable<std::shared_ptr<AgentClient>> agent(ShardId shard);
  directory::DirectoryStore& directory() { return directory_; }
  directory::DecisionLog& log() { return log_; }
  directory::RebalanceStore& rebalance() { return rebalance_; }
  const CoordinatorMachine& machine() const { return machine_; }
  bool is_ready() const { return has_shards_read_ && machine_.is_directory_up(); }

 private:
  struct Batch {  // the orders of one request
    std::vector<Outcome> outcomes;
    std::size_t missing = 0;
    std::function<void()> done;
  };
  struct Place {
    std::shared_ptr<Batch> batch;
    std::size_t index = 0;
  };

  void step(Event event);
  Instant read_deadline() const;
  template <platform::PointName name, class Reply, class Replied, class Message>
  boost::asio::awaitable<void> call(std::string path, Send<Message> send);
  template <class Reply, class Message>
  boost::asio::awaitable<Result<Reply>> ask_agent(ShardId shard, std::string path, Message message);
  void spawn(boost::asio::awaitable<void> work);

  void execute(Send<messages::LocalRound>&& effect);
  void execute(Send<messages::Reserve>&& effect);
  void execute(Send<messages::Prepare>&& effect);
  void execute(Send<messages::Settle>&& effect);
  void execute(Send<messages::Release>&& effect);
  void execute(Send<messages::AskRound>&& effect);
  void execute(FindOrder&& effect);
  void execute(Decide&& effect);
  void execute(CreateUsers&& effect);
  void execute(ReadRoutes&& effect);
  void execute(ReadNames&& effect);
  void execute(Finish&& effect);
  void execute(Alarm&& effect);
  void execute(KeepLog&& effect);
  void execute(CloseIncarnation&& effect);
  void execute(Confirm&& effect);
  void execute(Forget&& effect);
  void execute(HandOver&& effect);
  void execute(MoveUsers&& effect);
  void execute(BeatRebalance&& effect);
  void execute(ReadMoves&& effect);
  void execute(TakeMove&& effect);
  void execute(TakeLeftovers&& effect);
  void execute(BeginArrival&& effect);
  void execute(CopyChunk&& effect);
  void execute(CheckArrived&& effect);
  void execute(CleanMove&& effect);
  void execute(EndMove&& effect);
  void execute(EndRebalance&& effect);
  void execute(Stop&& effect);
  boost::asio::awaitable<void> ask_round(Send<messages::AskRound> send);
  boost::asio::awaitable<void> find(FindOrder find);
  boost::asio::awaitable<void> decide(Decide decide);
  boost::asio::awaitable<void> create_users(CreateUsers create);
  boost::asio::awaitable<void> read_routes(ReadRoutes read);
  boost::asio::awaitable<void> read_names(ReadNames read);
  boost::asio::awaitable<void> release(Send<messages::Release> send);
  boost::asio::awaitable<void> keep_log(KeepLog keep);
  boost::asio::awaitable<void> close_incarnation(CloseIncarnation close);
  boost::asio::awaitable<void> confirm(Confirm confirm);
  boost::asio::awaitable<void> forget(Forget forget);

  boost::asio::awaitable<Result<ChunkCopied::Progress>> copy_chunk(CopyChunk copy);
  boost::asio::awaitable<Result<void>> copy_rest(HandOver hand_over);
  boost::asio::awaitable<void> hand_over(HandOver hand_over);
  boost::asio::awaitable<void> move_users(MoveUsers move);
  boost::asio::awaitable<void> beat_rebalance(BeatRebalance beat);
  boost::asio::awaitable<void> read_moves();
  boost::asio::awaitable<void> take_move(TakeMove take);
  boost::asio::awaitable<Result<std::optional<OpenMove>>> find_leftovers();
  boost::asio::awaitable<void> take_leftovers();
  boost::asio::awaitable<void> begin_arrival(BeginArrival begin);
  boost::asio::awaitable<void> copy(CopyChunk copy);
  boost::asio::awaitable<void> check_arrived(CheckArrived check);
  boost::asio::awaitable<void> clean_move(CleanMove clean);
  boost::asio::awaitable<void> end_move(EndMove end);
  boost::asio::awaitable<void> end_rebalance(EndRebalance end);

  boost::asio::io_context& loop_;
  platform::CoordinatorConfig config_;
  Incarnation incarnation_;
  std::function<void(const std::string& reason)> on_stop_;  // this incarnation is over
  directory::DirectoryStore directory_;
  directory::DecisionLog log_;
  directory::RebalanceStore rebalance_;
  ShardView shards_;
  RouteReader routes_;
  CoordinatorMachine machine_;
  // Of this turn of the loop. Requests that have come together go into rounds together: a round
  // of one, started for the first of them, would cost as much as one of all.
  Submit submitted_;
  std::unordered_map<OrderId, Place> places_;
  OrderId last_order_ = 0;
  bool has_shards_read_ = false;
};

template <class Reply, class Message>
boost::asio::awaitable<Result<Reply>> CoordinatorService::ask_agent(ShardId shard, std::string path,
                                                                    Message message) {
  auto finding = agent(shard);
  const std::shared_ptr<AgentClient> client = co_await std::move(finding);
  if (!client) co_return Error{Fault::Unavailable, "the shard is not in the directory"};
  auto pending = client->call<Reply>(std::move(path), std::move(message));
  co_return co_await std::move(pending);
}

}  // namespace koshel::coordinator
