#include "coordinator/io/coordinator_service.hpp"

#include <boost/asio/async_result.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "platform/log.hpp"
#include "platform/spawn.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::with_points;

namespace {

constexpr auto kTickInterval = std::chrono::milliseconds(2);
constexpr auto kRefreshWhenDown = std::chrono::milliseconds(200);
// From some hundred orders on, what a round costs by itself is small beside what they cost
// (docs/performance.md).
constexpr std::size_t kBesideOrdersMin = 200;

BookLimits book_limits(const platform::CoordinatorConfig& config) {
  BookLimits limits;
  limits.orders_max = static_cast<std::size_t>(config.orders_queued_max);
  limits.retries_max = config.rounds_retries_max;
  limits.faults_max = config.fault_retries_max;
  return limits;
}

RoundLimits round_limits(const platform::CoordinatorConfig& config) {
  RoundLimits limits;
  limits.local_in_flight = config.lanes.local_rounds_in_flight;
  limits.cross_in_flight = config.lanes.cross_rounds_in_flight;
  limits.beside_orders_min = kBesideOrdersMin;
  limits.local_orders_max = config.lanes.local_round_transfers_max;
  limits.cross_orders_max = config.lanes.cross_round_transfers_max;
  limits.settle_wait = config.settle_wait;
  limits.shard_patience = config.lanes.shard_patience;
  return limits;
}

LogLimits log_limits(const platform::CoordinatorConfig& config) {
  LogLimits limits;
  limits.keep_interval = config.log_keep_interval;
  limits.unconfirmed_max = static_cast<std::size_t>(config.unconfirmed_rounds_max);
  limits.dead_after = config.incarnation_dead_after;
  return limits;
}

RebalanceLimits rebalance_limits(const platform::RebalanceConfig& config) {
  RebalanceLimits limits;
  limits.users_per_move = config.users_per_move;
  limits.entries_per_chunk = config.entries_per_chunk;
  limits.moves_in_flight = config.moves_in_flight;
  limits.beside_orders_percent = config.beside_transfers_percent;
  limits.beside_orders_users = config.beside_transfers_users;
  limits.beside_orders_entries = config.beside_transfers_entries;
  limits.beat = config.beat;
  limits.lease = config.lease;
  limits.retry = config.retry;
  limits.retries_max = config.retries_max;
  return limits;
}

AgentClient::Options agent_options(const platform::CoordinatorConfig& config,
                                   std::shared_ptr<platform::TlsContext> tls,
                                   std::string cluster_id) {
  AgentClient::Options options;
  options.http.tls = std::move(tls);
  options.http.connections_max = config.agent_connections_max;
  options.timeout = config.agent_timeout;
  options.cluster_id = std::move(cluster_id);
  return options;
}

}  // namespace

CoordinatorService::CoordinatorService(asio::io_context& loop, const platform::Config& config,
                                       std::shared_ptr<platform::TlsContext> agent_tls,
                                       platform::PgPool& pool, directory::Start start,
                                       std::function<void(const std::string&)> on_stop)
    : loop_(loop),
      config_(config.coordinator),
      incarnation_(start.incarnation),
      on_stop_(std::move(on_stop)),
      directory_(pool),
      log_(pool),
      rebalance_(pool),
      shards_(loop.get_executor(),
              agent_options(config.coordinator, std::move(agent_tls), std::move(start.cluster_id))),
      routes_(loop.get_executor(), directory_, shards_,
              static_cast<std::size_t>(config.coordinator.routes_cached_max),
              config.coordinator.directory_timeout),
      machine_(incarnation_, book_limits(config.coordinator), round_limits(config.coordinator),
               log_limits(config.coordinator), rebalance_limits(config.coordinator.rebalance)) {}

// ---- time

asio::awaitable<void> CoordinatorService::run_ticks() {
  asio::steady_timer timer(loop_);
  for (;;) {
    step(Tick{});
    timer.expires_after(kTickInterval);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

// A directory that answers no question within this time is as good as down.
Instant CoordinatorService::read_deadline() const {
  return std::chrono::steady_clock::now() + config_.directory_timeout;
}

asio::awaitable<Result<void>> CoordinatorService::refresh(Instant deadline) {
  auto pending = directory_.shards(deadline);
  auto shards = co_await std::move(pending);
  if (shards) {
    shards_.update(shards.value());
    has_shards_read_ = true;
  }
  step(DirectoryHealth{shards.has_value()});
  if (!shards) co_return shards.error();
  co_return success();
}

asio::awaitable<void> CoordinatorService::run_refresh() {
  asio::steady_timer timer(loop_);
  for (;;) {
    auto pending = refresh(read_deadline());
    const auto refreshed = co_await std::move(pending);
    if (!refreshed) spdlog::warn("the directory cannot be read: {}", refreshed.error().context);
    timer.expires_after(kRefreshWhenDown);
    co_await timer.async_wait(asio::use_awaitable);
    if (!machine_.is_directory_up()) continue;  // asked again soon, for its return ends refusals
    timer.expires_after(config_.directory_refresh);
    co_await timer.async_wait(asio::use_awaitable);
  }
}

// ---- orders

void CoordinatorService::step(Event event) {
  for (auto& effect : machine_.step(std::move(event), std::chrono::steady_clock::now())) {
    std::visit([this](auto&& what) { execute(std::move(what)); }, std::move(effect));
  }
}

asio::awaitable<std::vector<Outcome>> CoordinatorService::submit(std::vector<Order> orders,
                                                                 Instant deadline) {
  auto batch = std::make_shared<Batch>();
  if (orders.empty()) co_return std::vector<Outcome>{};
  batch->outcomes.resize(orders.size());
  batch->missing = orders.size();
  auto initiate = [this, batch, orders = std::move(orders), deadline](auto handler) mutable {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    batch->done = [this, shared] { asio::post(loop_, [shared]() mutable { (*shared)(); }); };
    for (std::size_t i = 0; i < orders.size(); ++i) {
      places_.emplace(++last_order_, Place{batch, i});
      submitted_.orders.push_back({last_order_, std::move(orders[i]), deadline});
    }
    if (submitted_.orders.size() == orders.size()) {
      asio::post(loop_, [this] { step(std::exchange(submitted_, {})); });
    }
  };
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(initiate),
                                                                             asio::use_awaitable);
  co_await std::move(pending);
  co_return std::move(batch->outcomes);
}

void CoordinatorService::execute(Finish&& effect) {
  const auto found = places_.find(effect.order);
  auto [batch, index] = std::move(found->second);
  places_.erase(found);
  batch->outcomes[index] = std::move(effect.outcome);
  if (--batch->missing == 0) batch->done();
}

void CoordinatorService::execute(Alarm&& effect) {
  spdlog::critical("{}", effect.text);
}

// ---- agents

void CoordinatorService::spawn(asio::awaitable<void> work) {
  asio::co_spawn(loop_, std::move(work), platform::end_on_failure);
}

asio::awaitable<std::shared_ptr<AgentClient>> CoordinatorService::agent(ShardId shard) {
  auto known = shards_.agent(shard);
  if (known) co_return known;
  auto refreshing = refresh(read_deadline());
  co_await std::move(refreshing);
  co_return shards_.agent(shard);
}

template <platform::PointName name, class Reply, class Replied, class Message>
asio::awaitable<void> CoordinatorService::call(std::string path, Send<Message> send) {
  const auto shard = send.shard;
  const auto round = send.round;
  auto pending =
      with_points<name>(ask_agent<Reply>(shard, std::move(path), std::move(send.message)));
  auto reply = co_await std::move(pending);
  if (!reply) {
    spdlog::warn("round {}:{} at shard {}: {}", incarnation_.value(), round.value(),
                 shards_.name(shard), reply.error().context);
    // What was answered but cannot be read has happened or not, like an answer that was lost.
    if (reply.error().fault == Fault::Internal)
      reply = Error{Fault::InDoubt, reply.error().context};
  }
  if constexpr (std::is_same_v<Replied, LocalReplied>) {
    step(LocalReplied{round, std::move(reply)});
  } else {
    step(Replied{round, shard, std::move(reply)});
  }
}

void CoordinatorService::execute(Send<messages::LocalRound>&& effect) {
  spawn(call<"coordinator.local", messages::LocalReply, LocalReplied>("/v1/rounds/local",
                                                                      std::move(effect)));
}
void CoordinatorService::execute(Send<messages::Reserve>&& effect) {
  spawn(call<"coordinator.reserve", messages::ReserveReply, ReserveReplied>("/v1/rounds/reserve",
                                                                            std::move(effect)));
}
void CoordinatorService::execute(Send<messages::Prepare>&& effect) {
  spawn(call<"coordinator.prepare", messages::PrepareReply, PrepareReplied>("/v1/rounds/prepare",
                                                                            std::move(effect)));
}
void CoordinatorService::execute(Send<messages::Settle>&& effect) {
  spawn(call<"coordinator.settle", messages::SettleDone, SettleReplied>("/v1/rounds/settle",
                                                                        std::move(effect)));
}
void CoordinatorService::execute(Send<messages::Release>&& effect) {
  spawn(release(std::move(effect)));
}
void CoordinatorService::execute(Send<messages::AskRound>&& effect) {
  spawn(ask_round(std::move(effect)));
}
void CoordinatorService::execute(FindOrder&& effect) {
  spawn(find(std::move(effect)));
}
void CoordinatorService::execute(Decide&& effect) {
  spawn(decide(std::move(effect)));
}
void CoordinatorService::execute(CreateUsers&& effect) {
  spawn(create_users(std::move(effect)));
}
void CoordinatorService::execute(ReadRoutes&& effect) {
  spawn(read_routes(std::move(effect)));
}
void CoordinatorService::execute(ReadNames&& effect) {
  spawn(read_names(std::move(effect)));
}

asio::awaitable<void> CoordinatorService::release(Send<messages::Release> send) {
  const auto agent = shards_.agent(send.shard);
  if (!agent) co_return;  // the reservation expires by itself
  platform::crash_point<"coordinator.release.before">();
  auto pending = agent->release(send.message);
  co_await std::move(pending);
  platform::crash_point<"coordinator.release.after">();
}

asio::awaitable<void> CoordinatorService::ask_round(Send<messages::AskRound> send) {
  auto pending = with_points<"coordinator.ask">(
      ask_agent<messages::AskRoundDone>(send.shard, "/v1/rounds/ask", send.message));
  auto reply = co_await std::move(pending);
  step(AskReplied{send.round, std::move(reply)});
}

asio::awaitable<void> CoordinatorService::find(FindOrder find) {
  auto pending = with_points<"coordinator.find">(
      ask_agent<messages::FindTransferDone>(find.shard, "/v1/transfers/find", find.find));
  auto reply = co_await std::move(pending);
  step(FindReplied{find.order, find.round, std::move(reply)});
}

// ---- the directory

asio::awaitable<void> CoordinatorService::decide(Decide decide) {
  auto pending = with_points<"coordinator.decide">(
      log_.decide({incarnation_, decide.round}, decide.wish, std::move(decide.participants)));
  auto decided = co_await std::move(pending);
  if (!decided) {
    spdlog::warn("round {}:{}: the decision log: {}", incarnation_.value(), decide.round.value(),
                 decided.error().context);
  }
  const bool is_answered = decided.has_value();
  step(Decided{decide.round, std::move(decided)});
  if (is_answered) co_return;
  // The machine takes the directory for down until somebody has read it.
  auto refreshing = refresh(read_deadline());
  co_await std::move(refreshing);
}

asio::awaitable<void> CoordinatorService::create_users(CreateUsers create) {
  std::vector<directory::NewUser> users;
  for (auto& user : create.users) {
    users.push_back(
        {std::move(user.name), {user.account, user.currency, user.shard, RouteVersion(1)}});
  }
  auto pending = with_points<"coordinator.create_users">(log_.create_users(
      {incarnation_, create.round}, std::move(create.participants), std::move(users)));
  auto created = co_await std::move(pending);
  if (!created) {
    spdlog::warn("round {}:{}: creating users: {}", incarnation_.value(), create.round.value(),
                 created.error().context);
  }
  const bool is_answered = created.has_value();
  step(UsersCreated{create.round, std::move(created)});
  if (is_answered) co_return;
  // The machine takes the directory for down until somebody has read it.
  auto refreshing = refresh(read_deadline());
  co_await std::move(refreshing);
}

asio::awaitable<void> CoordinatorService::read_routes(ReadRoutes read) {
  auto pending = directory_.routes_by_account(read.accounts, read_deadline());
  auto routes = co_await std::move(pending);
  if (!routes) {
    step(RoutesRead{std::move(read.accounts), routes.error()});
    co_return;
  }
  std::map<AccountId, ShardId> shards;
  for (const auto& named : routes.value()) {
    routes_.learn(named);  // so that the next request goes there at once
    shards.emplace(named.route.account, named.route.shard);
  }
  step(RoutesRead{std::move(read.accounts), std::move(shards)});
}

asio::awaitable<void> CoordinatorService::read_names(ReadNames read) {
  auto pending = directory_.routes_by_name(std::move(read.names), read_deadline());
  auto routes = co_await std::move(pending);
  if (!routes) {
    step(NamesRead{read.round, routes.error()});
    co_return;
  }
  std::vector<std::string> existing;
  for (auto& named : routes.value()) existing.push_back(std::move(named.name));
  step(NamesRead{read.round, std::move(existing)});
}

// ---- keeping the decision log

void CoordinatorService::execute(KeepLog&& effect) {
  spawn(keep_log(effect));
}
void CoordinatorService::execute(CloseIncarnation&& effect) {
  spawn(close_incarnation(effect));
}
void CoordinatorService::execute(Confirm&& effect) {
  spawn(confirm(effect));
}
void CoordinatorService::execute(Forget&& effect) {
  spawn(forget(std::move(effect)));
}
void CoordinatorService::execute(Stop&& effect) {
  on_stop_(effect.reason);
}

asio::awaitable<void> CoordinatorService::keep_log(KeepLog keep) {
  auto pending = with_points<"coordinator.keep">(log_.keep(incarnation_, keep.fence));
  auto kept = co_await std::move(pending);
  step(LogKept{std::move(kept)});
}

asio::awaitable<void> CoordinatorService::close_incarnation(CloseIncarnation close) {
  auto pending = with_points<"coordinator.close">(log_.close(close.incarnation));
  auto commits = co_await std::move(pending);
  if (commits) {
    spdlog::info("incarnation {} is silent and closed; {} of its commits are to be confirmed",
                 close.incarnation.value(), commits.value().size());
  }
  step(IncarnationClosed{close.incarnation, std::move(commits)});
}

asio::awaitable<void> CoordinatorService::confirm(Confirm confirm) {
  auto pending = with_points<"coordinator.confirm">(ask_agent<messages::SettleDone>(
      confirm.shard, "/v1/rounds/settle", messages::Settle{confirm.round, true}));
  auto reply = co_await std::move(pending);
  step(ConfirmReplied{confirm.round, confirm.shard, std::move(reply)});
}

asio::awaitable<void> CoordinatorService::forget(Forget forget) {
  auto pending =
      with_points<"coordinator.forget">(log_.forget(forget.incarnation, std::move(forget.rounds)));
  const auto done = co_await std::move(pending);
  // The rows are read, confirmed and forgotten again after the next beat.
  if (!done) spdlog::warn("commits stay in the log for now: {}", done.error().context);
}

}  // namespace koshel::coordinator
