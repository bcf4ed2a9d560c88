#pragma once
// What every resource of the API works with, and the questions they share.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "coordinator/io/api/problem.hpp"
#include "coordinator/io/coordinator_service.hpp"
#include "coordinator/io/route_reader.hpp"
#include "coordinator/logic/access.hpp"
#include "platform/config.hpp"
#include "platform/http.hpp"

namespace koshel::coordinator {

struct ApiContext {
  CoordinatorService& service;
  RouteReader& routes;
  const platform::Config& config;
  std::vector<std::shared_ptr<platform::TlsContext>> certificates = {};  // that are shown
};

using Respond = boost::asio::awaitable<platform::HttpResponse>;
Respond answer(platform::HttpResponse response);  // that is there already

// When the call must have ended: header Koshel-Deadline-Ms within the config's bound, else the
// default.
Checked<Instant> deadline_of(const ApiContext& context, const platform::HttpRequest& request);

Problem directory_problem(const Error& error);  // logs the error, says DIRECTORY_UNAVAILABLE
// Of a change in the directory that may have been made nevertheless; `how_to_see` says how to find
// out.
Problem lost_change(const Error& error, std::string_view how_to_see);
Problem user_not_found(std::string_view name);
Problem as_if_absent(const std::string& name);  // a user whom the caller is not to know of
Problem problem_of(FailCode code);
// The numbers of a refusal in words and members; `name` is the user's it speaks of.
Problem problem_of(const Refusal& refusal, const std::string& name, const Currency& currency);
// The same without any number, for who may not see the account.
Problem problem_without_numbers(const Refusal& refusal, const std::string& name);

// Takes over the directory's list of shards. Within the caller's time: that it was too short says
// nothing about the directory.
boost::asio::awaitable<std::optional<Problem>> read_shards(ApiContext context, Instant deadline);

struct FoundUser {
  std::string name;
  directory::Route route;
  Head head;
};
// A user with the balance its shard has now; follows a user that moves, until the deadline.
boost::asio::awaitable<Checked<FoundUser>> find_user(ApiContext context, std::string name,
                                                     Instant deadline);
boost::asio::awaitable<Checked<directory::NamedRoute>> find_route(ApiContext context,
                                                                  std::string name,
                                                                  Instant deadline);

// Calls the user's agent and, if the user has moved meanwhile, the next one. `Reply` tells by
// `is_moved(reply)` that the shard does not own the account.
template <class Reply, class Message, class IsMoved>
boost::asio::awaitable<Checked<Reply>> ask_owner(ApiContext context, directory::NamedRoute route,
                                                 std::string path, Message message,
                                                 Instant deadline, IsMoved is_moved);
boost::asio::awaitable<void> pause_before_reroute();

// `status`: to be told instead of the account's; empty: the account's.
std::string user_json(const ApiContext& context, const FoundUser& user,
                      std::string_view status = "");
const Currency& currency_of(CurrencyId id);

// ---- pages

struct PageRequest {
  int limit = 100;
  std::optional<std::string> cursor;  // decoded; each resource checks its own content
};
Checked<PageRequest> page_of(const platform::HttpRequest& request,
                             std::initializer_list<std::string_view> other_parameters);
// `items`: JSON values, comma between them. `next`: what the cursor to the rest carries, if there
// is a rest.
platform::HttpResponse page_response(const std::string& items,
                                     const std::optional<std::string>& next);

template <class Reply, class Message, class IsMoved>
boost::asio::awaitable<Checked<Reply>> ask_owner(ApiContext context, directory::NamedRoute route,
                                                 std::string path, Message message,
                                                 Instant deadline, IsMoved is_moved) {
  for (;;) {
    auto finding = context.service.agent(route.route.shard);
    const std::shared_ptr<AgentClient> agent = co_await std::move(finding);
    if (!agent) co_return problem_of(FailCode::ShardUnavailable);
    auto pending = agent->call<Reply>(path, message, deadline);
    auto reply = co_await std::move(pending);
    if (!reply) {
      co_return problem_of(FailCode::ShardUnavailable)
          .with("shard", context.service.shards().name(route.route.shard));
    }
    if (!is_moved(reply.value())) co_return std::move(reply.value());
    if (std::chrono::steady_clock::now() >= deadline) co_return problem_of(FailCode::Contention);
    auto pause = pause_before_reroute();
    co_await std::move(pause);
    context.routes.forget(route.route.account);
    auto pending_route = context.routes.by_account(route.route.account, deadline);
    auto again = co_await std::move(pending_route);
    if (!again) co_return directory_problem(again.error());
    if (!again.value()) co_return user_not_found(route.name);
    route = *again.value();
  }
}

}  // namespace koshel::coordinator
