#include "coordinator/io/api/rebalance_api.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <set>

#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "platform/log.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using directory::RebalanceAction;
using directory::RebalanceState;
using directory::RebalanceStatus;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

constexpr std::int64_t kUsersPerSecondMax = 1'000'000;
constexpr std::string_view kLookAtStatus = "look at the rebalance's status";

// Users per second, as measured.
double rate_of(const RebalanceStatus& status) {
  return status.running_seconds > 0
             ? static_cast<double>(status.users_moved) / status.running_seconds
             : 0;
}

// "null" without a rate.
std::string seconds_for(std::int64_t users, double rate) {
  if (rate <= 0) return "null";
  return std::to_string(static_cast<std::int64_t>(std::ceil(static_cast<double>(users) / rate)));
}

std::string status_json(const RebalanceStatus& status) {
  char rate[32];
  std::snprintf(rate, sizeof rate, "%.1f", rate_of(status));
  const bool is_running = status.state == RebalanceState::Running;
  const auto left = std::max<std::int64_t>(0, status.users_total - status.users_moved);
  JsonMembers members;
  return members.plain("state", to_string(status.state))
      .number("users_total", status.users_total)
      .number("users_moved", status.users_moved)
      .number("entries_copied", status.entries_copied)
      .raw("users_per_second", rate)
      .raw("eta_seconds", is_running ? seconds_for(left, rate_of(status)) : "null")
      .raw("error", status.error.empty() ? "null" : json_quoted(status.error))
      .object();
}

struct Wish {
  std::optional<RebalanceAction> action;  // nullopt: start
  std::optional<int> users_per_second;
};

Checked<Wish> read_wish(const HttpRequest& request) {
  const auto body = read_body(request);
  if (!body) return body.error();
  Fields fields(body.value());
  const auto action = fields.required_text("action");
  if (!action) return action.error();
  const auto rate = fields.optional_integer("users_per_second");
  if (!rate) return rate.error();
  if (auto unknown = fields.find_unknown()) return *unknown;

  const auto invalid = [](std::string what) {
    return Problem{ProblemCode::ValidationError, std::move(what)};
  };
  Wish wish;
  if (action.value() == "pause") {
    wish.action = RebalanceAction::Pause;
  } else if (action.value() == "resume") {
    wish.action = RebalanceAction::Resume;
  } else if (action.value() == "cancel") {
    wish.action = RebalanceAction::Cancel;
  } else if (action.value() != "start") {
    return invalid("action must be one of start, pause, resume, cancel");
  }
  if (rate.value()) {
    if (wish.action) return invalid("users_per_second goes with the action start only");
    if (*rate.value() < 1 || *rate.value() > kUsersPerSecondMax) {
      return invalid("users_per_second must be from 1 to " + std::to_string(kUsersPerSecondMax));
    }
    wish.users_per_second = static_cast<int>(*rate.value());
  }
  return wish;
}

// It is as the action would have made it already.
bool is_done(RebalanceAction action, RebalanceState state) {
  switch (action) {
    case RebalanceAction::Pause:
      return state == RebalanceState::Paused;
    case RebalanceAction::Resume:
      return state == RebalanceState::Running;
    case RebalanceAction::Cancel:
      return state == RebalanceState::Cancelling || state == RebalanceState::Idle;
  }
  std::abort();
}

std::string_view participle_of(RebalanceAction action) {
  switch (action) {
    case RebalanceAction::Pause:
      return "paused";
    case RebalanceAction::Resume:
      return "resumed";
    case RebalanceAction::Cancel:
      return "cancelled";
  }
  std::abort();
}

}  // namespace

// ---- looking

asio::awaitable<Checked<RebalanceStatus>> RebalanceApi::read_status(Instant deadline) {
  auto pending = context_.service.rebalance().status(deadline);
  auto status = co_await std::move(pending);
  if (!status) co_return directory_problem(status.error());
  co_return std::move(status.value());
}

Respond RebalanceApi::show(HttpRequest request) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_status(deadline.value());
  const auto status = co_await std::move(reading);
  if (!status) co_return to_response(status.error());
  co_return HttpResponse{200, "application/json", status_json(status.value()), {}};
}

bool RebalanceApi::Plan::is_empty() const {
  return moves.empty() && std::ranges::none_of(shards, &ShardLoad::is_draining);
}

asio::awaitable<Checked<RebalanceApi::Plan>> RebalanceApi::make_plan(Instant deadline) {
  auto reading = read_shards(context_, deadline);
  const auto problem = co_await std::move(reading);
  if (problem) co_return *problem;
  auto counting = context_.service.directory().users_per_shard(deadline);
  const auto counts = co_await std::move(counting);
  if (!counts) co_return directory_problem(counts.error());
  Plan plan;
  for (const auto& shard : context_.service.shards().shards()) {
    const auto count = std::ranges::find(counts.value(), shard.id, &directory::ShardUsers::shard);
    plan.shards.push_back({shard.id, shard.weight, shard.state == directory::ShardState::Draining,
                           count == counts.value().end() ? 0 : count->users});
  }
  plan.moves = plan_rebalance(plan.shards);
  co_return plan;
}

Respond RebalanceApi::plan(HttpRequest request) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_status(deadline.value());
  const auto status = co_await std::move(reading);
  if (!status) co_return to_response(status.error());
  auto planning = make_plan(deadline.value());
  const auto plan = co_await std::move(planning);
  if (!plan) co_return to_response(plan.error());

  std::int64_t users_total = 0;
  std::string moves;
  for (const auto& [source, target, users] : plan.value().moves) {
    users_total += users;
    JsonMembers members;
    moves += moves.empty() ? "" : ",";
    moves += members.plain("source", context_.service.shards().name(source))
                 .plain("target", context_.service.shards().name(target))
                 .number("users", users)
                 .object();
  }
  // As fast as the rebalance that is, or the last one, was; else as it was told to be.
  auto rate = rate_of(status.value());
  const bool is_under_way = status.value().state != RebalanceState::Idle;
  if (rate <= 0 && is_under_way) rate = status.value().users_per_second.value_or(0);
  JsonMembers members;
  co_return HttpResponse{200,
                         "application/json",
                         members.raw("moves", "[" + moves + "]")
                             .number("users_total", users_total)
                             .raw("estimate_seconds", seconds_for(users_total, rate))
                             .object(),
                         {}};
}

// ---- checks before the first move

Problem RebalanceApi::failed_check(ProblemCode code, std::string_view check, ShardId shard,
                                   const std::string& what) const {
  const auto name = context_.service.shards().name(shard);
  return Problem{code, "nothing was started: check '" + std::string(check) + "' of shard " + name +
                           ": " + what}
      .with("shard", name);
}

std::optional<Problem> RebalanceApi::check_agent(ShardId shard,
                                                 const messages::AgentStatus& status) const {
  if (!status.is_serving) {
    return failed_check(ProblemCode::ShardUnavailable, "serving", shard,
                        "its agent does not serve yet");
  }
  if (status.version != KOSHEL_VERSION) {
    return failed_check(ProblemCode::ValidationError, "version", shard,
                        "its agent is of version " + status.version + ", this coordinator of " +
                            KOSHEL_VERSION + "; bring them to one version");
  }
  const int needed = context_.config.coordinator.rebalance.moves_in_flight;
  if (status.prepared_free < needed) {
    return failed_check(ProblemCode::ValidationError, "prepared transactions", shard,
                        std::to_string(status.prepared_free) + " are free, " +
                            std::to_string(needed) +
                            " are needed; settle what `koshel rounds unresolved` shows, or raise "
                            "max_prepared_transactions");
  }
  return std::nullopt;
}

std::optional<Problem> RebalanceApi::check_disk(const Plan& plan, ShardId target,
                                                const Statuses& statuses) const {
  const auto& free_bytes = statuses.at(target).disk_free_bytes;
  if (!free_bytes) {
    spdlog::info("rebalance: the disk room of shard {} is not known to its agent, not checked",
                 context_.service.shards().name(target));
    return std::nullopt;
  }
  double coming = 0;
  for (const auto& move : plan.moves) {
    if (move.target != target) continue;
    const auto source = std::ranges::find(plan.shards, move.source, &ShardLoad::shard);
    coming += static_cast<double>(statuses.at(move.source).ledger_bytes) *
              static_cast<double>(move.users) / static_cast<double>(source->users);
  }
  const double needed = 2 * coming;  // and once more in the write-ahead log
  if (static_cast<double>(*free_bytes) >= needed) return std::nullopt;
  const auto megabytes = [](double bytes) {
    return std::to_string(static_cast<std::int64_t>(bytes / 1e6)) + " MB";
  };
  return failed_check(ProblemCode::ValidationError, "disk room", target,
                      megabytes(static_cast<double>(*free_bytes)) + " are free, about " +
                          megabytes(needed) + " are needed for the users to come");
}

// Draining shards too, of which nobody may be left but @world.
asio::awaitable<std::optional<Problem>> RebalanceApi::check(Plan plan, Instant deadline) {
  std::set<ShardId> targets;
  std::set<ShardId> all;
  for (const auto& move : plan.moves) {
    targets.insert(move.target);
    all.insert({move.source, move.target});
  }
  for (const auto& load : plan.shards) {
    if (load.is_draining) all.insert(load.shard);
  }
  Statuses statuses;
  for (const auto shard : all) {
    const auto agent = context_.service.shards().agent(shard);
    if (!agent) {
      co_return failed_check(ProblemCode::ShardUnavailable, "reachable", shard,
                             "it is not in service any more");
    }
    auto asking = agent->status(deadline);
    auto status = co_await std::move(asking);
    if (!status) {
      co_return failed_check(ProblemCode::ShardUnavailable, "reachable", shard,
                             "its agent does not answer: " + status.error().context);
    }
    if (auto problem = check_agent(shard, status.value())) co_return problem;
    statuses.emplace(shard, std::move(status.value()));
  }
  for (const auto target : targets) {
    if (auto problem = check_disk(plan, target, statuses)) co_return problem;
  }
  co_return std::nullopt;
}

// ---- doing

asio::awaitable<std::optional<Problem>> RebalanceApi::start(std::optional<int> users_per_second,
                                                            Instant deadline) {
  auto planning = make_plan(deadline);
  auto plan = co_await std::move(planning);
  if (!plan) co_return plan.error();
  if (plan.value().is_empty()) co_return std::nullopt;
  auto checking = check(plan.value(), deadline);
  const auto problem = co_await std::move(checking);
  if (problem) co_return problem;
  auto starting =
      context_.service.rebalance().start(std::move(plan.value().moves), users_per_second, deadline);
  const auto started = co_await std::move(starting);
  if (!started) co_return lost_change(started.error(), kLookAtStatus);
  switch (started.value()) {
    case directory::StartOutcome::Started:
      co_return std::nullopt;
    case directory::StartOutcome::InProgress:
      co_return Problem{ProblemCode::RebalanceInProgress,
                        "there is a rebalance; one that failed half-way is resumed or cancelled"};
    case directory::StartOutcome::TargetDrained:
      co_return Problem{ProblemCode::ValidationError,
                        "nothing was started: check 'draining': a shard of the plan has begun to "
                        "drain just now; start again"};
  }
  std::abort();
}

asio::awaitable<std::optional<Problem>> RebalanceApi::tell(RebalanceAction action,
                                                           Instant deadline) {
  auto acting = context_.service.rebalance().act(action, deadline);
  const auto acted = co_await std::move(acting);
  if (!acted) co_return lost_change(acted.error(), kLookAtStatus);
  if (acted.value()) co_return std::nullopt;
  auto reading = read_status(deadline);
  const auto status = co_await std::move(reading);
  if (!status) co_return status.error();
  if (is_done(action, status.value().state)) co_return std::nullopt;
  co_return Problem{ProblemCode::ValidationError,
                    "nothing can be " + std::string(participle_of(action)) + ": the rebalance is " +
                        std::string(to_string(status.value().state))};
}

Respond RebalanceApi::act(HttpRequest request) {
  const auto wish = read_wish(request);
  if (!wish) co_return to_response(wish.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_status(deadline.value());
  const auto before = co_await std::move(reading);
  if (!before) co_return to_response(before.error());
  const auto state = before.value().state;
  if (!wish.value().action && state != RebalanceState::Idle && state != RebalanceState::Failed) {
    co_return to_response(
        Problem{ProblemCode::RebalanceInProgress,
                "there is a rebalance, and it is " + std::string(to_string(state))});
  }
  auto doing = wish.value().action ? tell(*wish.value().action, deadline.value())
                                   : start(wish.value().users_per_second, deadline.value());
  const auto problem = co_await std::move(doing);
  if (problem) co_return to_response(*problem);
  auto reading_again = read_status(deadline.value());
  const auto after = co_await std::move(reading_again);
  if (!after) {
    co_return to_response(
        Problem{ProblemCode::OutcomeUnknown,
                "done, but the rebalance cannot be shown now: " + std::string(kLookAtStatus)});
  }
  const bool goes_on = after.value().state == RebalanceState::Running ||
                       after.value().state == RebalanceState::Cancelling;
  co_return HttpResponse{goes_on ? 202 : 200, "application/json", status_json(after.value()), {}};
}

}  // namespace koshel::coordinator
