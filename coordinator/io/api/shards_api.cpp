#include "coordinator/io/api/shards_api.hpp"

#include <algorithm>
#include <boost/json.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

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
  auto pending = context_.service.refresh(deadline.value());
  const auto refreshed = co_await std::move(pending);
  if (!refreshed) co_return to_response(directory_problem(refreshed.error()));
  auto pending_users = context_.service.directory().users_per_shard(deadline.value());
  const auto counts = co_await std::move(pending_users);
  if (!counts) co_return to_response(directory_problem(counts.error()));
  std::string items;
  for (const auto& shard : context_.service.shards().shards()) {
    const auto count = std::ranges::find(counts.value(), shard.id, &directory::ShardUsers::shard);
    auto pending_json =
        shard_json(shard, count == counts.value().end() ? 0 : count->users, deadline.value());
    const auto text = co_await std::move(pending_json);
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
  const auto agent = context_.service.shards().connect(target.value());
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
  const auto weight = fields.optional_integer("weight");
  if (!weight) co_return to_response(weight.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  if (!is_valid_shard_name(name.value())) {
    co_return to_response(
        Problem{ProblemCode::ValidationError, "name must be 1 to 63 of a-z, 0-9, - and _"});
  }
  const auto shard_weight = weight.value().value_or(100);
  if (shard_weight < 1 || shard_weight > 10'000) {
    co_return to_response(Problem{ProblemCode::ValidationError, "weight must be from 1 to 10000"});
  }
  auto pending_check = check_agent(agent.value(), name.value(), deadline.value());
  const auto problem = co_await std::move(pending_check);
  if (problem) co_return to_response(*problem);

  directory::Shard shard{ShardId(), name.value(), agent.value(), static_cast<int>(shard_weight),
                         directory::ShardState::Active};
  auto pending = context_.service.directory().add_shard(shard);
  const auto added = co_await std::move(pending);
  if (!added) co_return to_response(directory_problem(added.error()));
  switch (added.value()) {
    case directory::AddShardOutcome::Added:
      break;
    case directory::AddShardOutcome::AlreadyExists:
      co_return to_response(Problem{ProblemCode::ShardAlreadyExists,
                                    "shard " + shard.name + " is in service already"});
    case directory::AddShardOutcome::Unknown:
      co_return to_response(
          Problem{ProblemCode::ShardNotFound, "the directory does not know shard " + shard.name +
                                                  ": run `koshel init` with its config first"});
  }
  auto pending_refresh = context_.service.refresh(deadline.value());
  const auto refreshed = co_await std::move(pending_refresh);
  if (!refreshed) co_return to_response(directory_problem(refreshed.error()));
  for (const auto& known : context_.service.shards().shards()) {
    if (known.name != shard.name) continue;
    auto pending_json = shard_json(known, 0, deadline.value());
    auto text = co_await std::move(pending_json);
    co_return HttpResponse{201, "application/json", std::move(text), {}};
  }
  co_return to_response(problem_of(FailCode::Internal));
}

Respond ShardsApi::unresolved(HttpRequest request) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  std::vector<messages::PreparedRound> prepared;
  std::vector<RoundId> rounds;
  std::vector<std::string> shard_names;
  for (const auto& shard : context_.service.shards().shards()) {
    const auto agent = context_.service.shards().agent(shard.id);
    if (!agent) continue;
    auto pending = agent->status(deadline.value());
    const auto status = co_await std::move(pending);
    if (!status) {
      co_return to_response(problem_of(FailCode::ShardUnavailable).with("shard", shard.name));
    }
    for (const auto& round : status.value().prepared) {
      const auto gid = Gid::parse(round.gid);
      if (!gid) continue;
      prepared.push_back(round);
      rounds.push_back(gid->round);
      shard_names.push_back(shard.name);
    }
  }
  auto pending = context_.service.log().peek(rounds);
  const auto decisions = co_await std::move(pending);
  if (!decisions) co_return to_response(directory_problem(decisions.error()));
  std::string items;
  for (std::size_t i = 0; i < prepared.size(); ++i) {
    const auto& decision = decisions.value()[i];
    JsonMembers members;
    items += items.empty() ? "" : ",";
    items +=
        members.text("gid", prepared[i].gid)
            .text("shard", shard_names[i])
            .raw("age_seconds", boost::json::serialize(boost::json::value(prepared[i].age_seconds)))
            .plain("decision", decision ? directory::to_string(*decision) : "undecided")
            .object();
  }
  co_return HttpResponse{200, "application/json", "{\"rounds\":[" + items + "]}", {}};
}

}  // namespace koshel::coordinator
