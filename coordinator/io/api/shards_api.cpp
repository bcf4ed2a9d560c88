#include "coordinator/io/api/shards_api.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "platform/gather.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

std::int64_t users_of(const std::vector<directory::ShardUsers>& counts, ShardId shard) {
  const auto found = std::ranges::find(counts, shard, &directory::ShardUsers::shard);
  return found == counts.end() ? 0 : found->users;
}

std::optional<directory::Shard> find_shard(const ShardView& shards, std::string_view name) {
  const auto list = shards.shards();
  const auto found = std::ranges::find(list, name, &directory::Shard::name);
  return found == list.end() ? std::nullopt : std::optional(*found);
}

constexpr int kUsualWeight = 100;
// Before the deadline, to say which agents have not answered.
constexpr std::chrono::milliseconds kTimeToTell{20};

Checked<std::optional<int>> optional_weight(Fields& fields) {
  const auto weight = fields.optional_integer("weight");
  if (!weight) return weight.error();
  if (!weight.value()) return std::optional<int>();
  if (*weight.value() < 1 || *weight.value() > 10'000) {
    return Problem{ProblemCode::ValidationError, "weight must be from 1 to 10000"};
  }
  return std::optional(static_cast<int>(*weight.value()));
}

}  // namespace

asio::awaitable<std::string> ShardsApi::shard_json(directory::Shard shard, std::int64_t users,
                                                   Instant deadline) {
  std::optional<std::size_t> prepared;
  if (const auto agent = context_.service.shards().agent(shard.id)) {
    auto pending = agent->status(deadline);
    const auto status = co_await std::move(pending);
    if (status) prepared = status.value().prepared.size();
  }
  JsonMembers members;
  co_return members.number("id", shard.id.value())
      .text("name", shard.name)
      .text("agent", shard.agent)
      .number("weight", shard.weight)
      .plain("state", directory::to_string(shard.state))
      .number("users", users)
      .raw("reachable", prepared ? "true" : "false")
      .raw("prepared_transactions", prepared ? std::to_string(*prepared) : "null")
      .object();
}

Respond ShardsApi::list(HttpRequest request) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_shards(context_, deadline.value());
  const auto problem = co_await std::move(reading);
  if (problem) co_return to_response(*problem);
  auto pending_users = context_.service.directory().users_per_shard(deadline.value());
  const auto counts = co_await std::move(pending_users);
  if (!counts) co_return to_response(directory_problem(counts.error()));
  std::vector<asio::awaitable<std::string>> describing;
  for (const auto& shard : context_.service.shards().shards()) {
    describing.push_back(
        shard_json(shard, users_of(counts.value(), shard.id), deadline.value() - kTimeToTell));
  }
  auto gathering = platform::gather(std::move(describing));
  std::string items;
  for (const auto& text : co_await std::move(gathering)) {
    items += items.empty() ? "" : ",";
    items += text;
  }
  co_return HttpResponse{200, "application/json", "{\"shards\":[" + items + "]}", {}};
}

// The agent must answer, and for the shard that is meant: a wrong URL would send money to another
// ledger.
asio::awaitable<std::optional<Problem>> ShardsApi::check_agent(std::string url, std::string name,
                                                               Instant deadline) {
  const auto target = platform::parse_url(url);
  if (!target) {
    co_return Problem{ProblemCode::ValidationError, "agent: " + target.error().context};
  }
  if (target.value().is_tls != context_.config.coordinator.agent_tls.is_on()) {
    co_return Problem{ProblemCode::ValidationError, kAgentUrlRule};
  }
  const auto agent = context_.service.shards().connect(target.value(), std::nullopt);
  auto pending = agent->status(deadline);
  const auto status = co_await std::move(pending);
  if (!status) {
    co_return Problem{ProblemCode::ShardUnavailable,
                      "the agent at " + url + " does not answer: " + status.error().context};
  }
  if (status.value().cluster != context_.config.cluster || status.value().shard_name != name) {
    co_return Problem{ProblemCode::ValidationError, "the agent at " + url + " serves shard " +
                                                        status.value().shard_name + " of cluster " +
                                                        status.value().cluster};
  }
  co_return std::nullopt;
}

Respond ShardsApi::add(HttpRequest request) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  Fields fields(body.value());
  const auto name = fields.required_text("name");
  if (!name) co_return to_response(name.error());
  const auto agent = fields.required_text("agent");
  if (!agent) co_return to_response(agent.error());
  const auto weight = optional_weight(fields);
  if (!weight) co_return to_response(weight.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  if (!is_valid_shard_name(name.value())) {
    co_return to_response(
        Problem{ProblemCode::ValidationError, "name must be 1 to 63 of a-z, 0-9, - and _"});
  }
  const Problem in_service{ProblemCode::ShardAlreadyExists,
                           "shard " + name.value() + " is in service already"};
  auto reading = read_shards(context_, deadline.value());
  const auto unread = co_await std::move(reading);
  if (unread) co_return to_response(*unread);
  if (find_shard(context_.service.shards(), name.value())) co_return to_response(in_service);
  auto pending_check = check_agent(agent.value(), name.value(), deadline.value());
  const auto problem = co_await std::move(pending_check);
  if (problem) co_return to_response(*problem);

  directory::Shard shard{ShardId(), name.value(), agent.value(),
                         weight.value().value_or(kUsualWeight), directory::ShardState::Active};
  auto pending = context_.service.directory().add_shard(shard);
  const auto added = co_await std::move(pending);
  const Problem unknown{ProblemCode::OutcomeUnknown,
                        "the directory's answer was lost: look at the list of shards"};
  if (!added) {
    co_return to_response(added.error().fault == Fault::InDoubt ? unknown
                                                                : directory_problem(added.error()));
  }
  switch (added.value()) {
    case directory::AddShardOutcome::Added:
      break;
    case directory::AddShardOutcome::AlreadyExists:
      co_return to_response(in_service);
    case directory::AddShardOutcome::Unknown:
      co_return to_response(
          Problem{ProblemCode::ShardNotFound, "the directory does not know shard " + shard.name +
                                                  ": run `koshel init` with its config first"});
  }
  auto describing = describe(shard.name, deadline.value());
  auto text = co_await std::move(describing);
  if (!text) co_return to_response(unknown);
  co_return HttpResponse{201, "application/json", std::move(text.value()), {}};
}

// ---- changing, draining and removing

namespace {

constexpr std::string_view kLookAtList = "look at the list of shards";

Problem no_such_shard(const std::string& name) {
  return {ProblemCode::ShardNotFound, "no shard named " + name + " is in service"};
}

}  // namespace

// The shard as the list has it.
asio::awaitable<Checked<std::string>> ShardsApi::describe(std::string name, Instant deadline) {
  auto reading = read_shards(context_, deadline);
  const auto problem = co_await std::move(reading);
  if (problem) co_return *problem;
  const auto shard = find_shard(context_.service.shards(), name);
  if (!shard) co_return no_such_shard(name);
  auto counting = context_.service.directory().users_per_shard(deadline);
  const auto counts = co_await std::move(counting);
  if (!counts) co_return directory_problem(counts.error());
  auto pending = shard_json(*shard, users_of(counts.value(), shard->id), deadline);
  co_return co_await std::move(pending);
}

// Where its agent is to be found, or its share. The new agent is checked as one that is added is.
Respond ShardsApi::change(HttpRequest request, std::string name) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  Fields fields(body.value());
  const auto agent = fields.optional_text("agent");
  if (!agent) co_return to_response(agent.error());
  const auto weight = optional_weight(fields);
  if (!weight) co_return to_response(weight.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  if (!agent.value() && !weight.value()) {
    co_return to_response(
        Problem{ProblemCode::ValidationError, "give agent, weight or both: what shall change"});
  }
  auto reading = read_shards(context_, deadline.value());
  const auto unread = co_await std::move(reading);
  if (unread) co_return to_response(*unread);
  if (!find_shard(context_.service.shards(), name)) co_return to_response(no_such_shard(name));
  if (agent.value()) {
    auto checking = check_agent(*agent.value(), name, deadline.value());
    const auto problem = co_await std::move(checking);
    if (problem) co_return to_response(*problem);
  }
  auto changing = context_.service.directory().change_shard(name, agent.value(), weight.value(),
                                                            deadline.value());
  const auto changed = co_await std::move(changing);
  if (!changed) co_return to_response(lost_change(changed.error(), kLookAtList));
  if (!changed.value()) co_return to_response(no_such_shard(name));
  auto describing = describe(name, deadline.value());
  auto text = co_await std::move(describing);
  if (!text) {
    co_return to_response(
        Problem{ProblemCode::OutcomeUnknown, "the shard is changed, but it cannot be shown now"});
  }
  co_return HttpResponse{200, "application/json", std::move(text.value()), {}};
}

Respond ShardsApi::drain(HttpRequest request, std::string name) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_shards(context_, deadline.value());
  const auto unread = co_await std::move(reading);
  if (unread) co_return to_response(*unread);
  if (!find_shard(context_.service.shards(), name)) co_return to_response(no_such_shard(name));
  auto draining = context_.service.rebalance().drain_shard(name, deadline.value());
  const auto drained = co_await std::move(draining);
  if (!drained) co_return to_response(lost_change(drained.error(), kLookAtList));
  switch (drained.value()) {
    case directory::DrainShardOutcome::Draining:
      break;
    case directory::DrainShardOutcome::Unknown:
      co_return to_response(no_such_shard(name));
    case directory::DrainShardOutcome::LastActive:
      co_return to_response(Problem{ProblemCode::ValidationError,
                                    "shard " + name +
                                        " is the last active one: its users would have nowhere "
                                        "to go; add another shard first"});
    case directory::DrainShardOutcome::IsBeingFilled:
      co_return to_response(Problem{ProblemCode::RebalanceInProgress,
                                    "a rebalance moves users to shard " + name +
                                        ": cancel it, or wait for its end, and drain then"});
  }
  auto describing = describe(name, deadline.value());
  auto text = co_await std::move(describing);
  if (!text) {
    co_return to_response(
        Problem{ProblemCode::OutcomeUnknown, "the shard drains, but it cannot be shown now"});
  }
  co_return HttpResponse{200, "application/json", std::move(text.value()), {}};
}

namespace {

Problem not_empty(const std::string& shard, const std::string& what) {
  return Problem{ProblemCode::ShardNotEmpty, "shard " + shard + " " + what}.with("shard", shard);
}

std::string must_drain_first(const std::string& shard) {
  return "takes users: run `koshel shard drain " + shard + "` and `koshel rebalance start` first";
}

std::optional<Problem> problem_of(directory::RemoveShardOutcome outcome, const std::string& shard) {
  using enum directory::RemoveShardOutcome;
  switch (outcome) {
    case Removed:
      return std::nullopt;
    case Unknown:
      return no_such_shard(shard);
    case Active:
      return not_empty(shard, must_drain_first(shard));
    case HasUsers:
      return not_empty(shard, "has users: run `koshel rebalance start`, which moves them");
    case HasMoves:
      return not_empty(shard, "has users on their way: wait until the rebalance is over");
    case HasRounds:
      return not_empty(shard, "has not confirmed all rounds that were decided; try again soon");
  }
  std::abort();
}

}  // namespace

// What is left on a shard that drains. Its users are counted before its agent is asked: when there
// are none, none can come any more, and with them nothing that the agent would have to be asked
// about again.
asio::awaitable<std::optional<Problem>> ShardsApi::find_rest(directory::Shard shard,
                                                             Instant deadline) {
  if (shard.state != directory::ShardState::Draining) {
    co_return not_empty(shard.name, must_drain_first(shard.name));
  }
  auto counting = context_.service.directory().users_per_shard(deadline);
  const auto counts = co_await std::move(counting);
  if (!counts) co_return directory_problem(counts.error());
  if (users_of(counts.value(), shard.id) > 0) {
    co_return problem_of(directory::RemoveShardOutcome::HasUsers, shard.name);
  }
  const auto agent = context_.service.shards().agent(shard.id);
  if (!agent) co_return no_such_shard(shard.name);
  auto asking = agent->status(deadline);
  const auto status = co_await std::move(asking);
  if (!status) {
    co_return Problem{ProblemCode::ShardUnavailable, "the agent of shard " + shard.name +
                                                         " does not answer, so whether the shard "
                                                         "is empty cannot be known"}
        .with("shard", shard.name);
  }
  if (const auto left = status.value().worlds.size(); left > 0) {
    co_return not_empty(shard.name, "owns " + std::to_string(left) +
                                        " accounts of @world, and the sum needs them: run `koshel "
                                        "rebalance start`, which moves them");
  }
  if (const auto left = status.value().prepared.size(); left > 0) {
    co_return not_empty(shard.name, "has " + std::to_string(left) +
                                        " prepared transactions; `koshel rounds unresolved` "
                                        "shows them");
  }
  co_return std::nullopt;
}

Respond ShardsApi::remove(HttpRequest request, std::string name) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_shards(context_, deadline.value());
  const auto unread = co_await std::move(reading);
  if (unread) co_return to_response(*unread);
  const auto shard = find_shard(context_.service.shards(), name);
  if (!shard) co_return to_response(no_such_shard(name));
  auto looking = find_rest(*shard, deadline.value());
  const auto rest = co_await std::move(looking);
  if (rest) co_return to_response(*rest);
  auto removing = context_.service.rebalance().remove_shard(name, deadline.value());
  const auto removed = co_await std::move(removing);
  if (!removed) co_return to_response(lost_change(removed.error(), kLookAtList));
  const auto refusal = problem_of(removed.value(), name);
  if (refusal) co_return to_response(*refusal);
  auto again = read_shards(context_, deadline.value());
  co_await std::move(again);
  co_return HttpResponse{204, "", "", {}};
}

// ---- what is in doubt

namespace {

// Fenced off without a decision is an abort for whoever holds the prepared branch.
std::string_view told(const std::optional<directory::Decision>& decision) {
  if (!decision) return "undecided";
  return to_string(*decision == directory::Decision::Fenced ? directory::Decision::Abort
                                                            : *decision);
}

}  // namespace

// What is prepared on the shards in service, each of which has to answer.
asio::awaitable<Checked<std::vector<ShardsApi::Prepared>>> ShardsApi::read_prepared(
    Instant deadline) {
  std::vector<Prepared> prepared;
  for (const auto& shard : context_.service.shards().shards()) {
    const auto problem = problem_of(FailCode::ShardUnavailable).with("shard", shard.name);
    const auto agent = context_.service.shards().agent(shard.id);
    if (!agent) co_return problem;
    auto pending = agent->status(deadline);
    const auto status = co_await std::move(pending);
    if (!status) co_return problem;
    for (const auto& [gid, age_seconds] : status.value().prepared) {
      if (const auto parsed = Gid::parse(gid)) {
        prepared.push_back({gid, parsed->round, shard.name, age_seconds});
      }
    }
  }
  co_return prepared;
}

// A commit is forgotten only after it was carried out everywhere: of what is still prepared when
// the log has been read, the log said what stands.
Respond ShardsApi::unresolved(HttpRequest request) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto reading = read_shards(context_, deadline.value());
  const auto problem = co_await std::move(reading);
  if (problem) co_return to_response(*problem);
  auto looking = read_prepared(deadline.value());
  const auto seen = co_await std::move(looking);
  if (!seen) co_return to_response(seen.error());
  std::vector<RoundId> rounds;
  for (const auto& each : seen.value()) rounds.push_back(each.round);
  auto pending = context_.service.log().peek(rounds, deadline.value());
  const auto decisions = co_await std::move(pending);
  if (!decisions) co_return to_response(directory_problem(decisions.error()));
  auto looking_again = read_prepared(deadline.value());
  const auto left = co_await std::move(looking_again);
  if (!left) co_return to_response(left.error());
  std::string items;
  for (const auto& each : left.value()) {
    const auto found = std::ranges::find(seen.value(), each.gid, &Prepared::gid);
    if (found == seen.value().end()) continue;  // prepared only now
    const auto place = static_cast<std::size_t>(found - seen.value().begin());
    JsonMembers members;
    items += items.empty() ? "" : ",";
    items += members.text("gid", each.gid)
                 .text("shard", each.shard)
                 .raw("age_seconds", boost::json::serialize(boost::json::value(each.age_seconds)))
                 .plain("decision", told(decisions.value()[place]))
                 .object();
  }
  co_return HttpResponse{200, "application/json", "{\"rounds\":[" + items + "]}", {}};
}

}  // namespace koshel::coordinator
