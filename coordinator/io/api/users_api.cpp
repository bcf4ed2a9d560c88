#include "coordinator/io/api/users_api.hpp"

#include <boost/unordered/unordered_flat_set.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
namespace json = boost::json;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

HttpResponse json_response(int status, std::string body) {
  return {status, "application/json", std::move(body), {}};
}

Problem name_taken(const std::string& name) {
  return Problem{ProblemCode::UserAlreadyExists, "there is a user named " + name + " already"}.with(
      "user", name);
}

std::optional<Refusal> check_new_limits(Money balance, Money min, Money max) {
  if (min <= max && balance >= min && balance <= max) return std::nullopt;
  return Refusal{RefusalCode::LimitsInvalid, AccountId(), balance > max ? max : min, balance,
                 Money()};
}

// For the audit trail: opening balances are deposits.
std::string told_of_batch(const std::vector<Checked<FoundUser>>& created) {
  std::vector<const FoundUser*> made;
  for (const auto& user : created) {
    if (user) made.push_back(&user.value());
  }
  const auto has_balance = [](const FoundUser* user) { return user->head.balance > Money(); };
  JsonMembers members;
  members.number("items", static_cast<std::int64_t>(created.size()))
      .number("created", static_cast<std::int64_t>(made.size()))
      .number("deposits", std::ranges::count_if(made, has_balance));
  if (!made.empty()) members.plain("first", made.front()->name).plain("last", made.back()->name);
  return members.object();
}

}  // namespace

// ---- creating

Checked<UsersApi::NewUser> UsersApi::read_user(const json::value& value) const {
  if (!value.is_object()) {
    return Problem{ProblemCode::ValidationError, "a user must be a JSON object"};
  }
  Fields fields(value.get_object());
  NewUser user;
  KOSHEL_TRY(const auto raw_name, fields.required_text("name"));
  KOSHEL_TRY(user.name, to_user_name("name", raw_name));
  KOSHEL_TRY(const auto max, fields.required_amount("max_balance", AmountRule::Any));
  KOSHEL_TRY(const auto min, fields.optional_amount("min_balance", AmountRule::Any));
  KOSHEL_TRY(const auto balance, fields.optional_amount("balance", AmountRule::NotNegative));
  KOSHEL_TRY(const auto code, fields.optional_text("currency"));
  if (auto unknown = fields.find_unknown()) return *unknown;
  user.currency = find_currency(code.value_or(context_.config.currency));
  if (user.currency == nullptr) {
    return Problem{ProblemCode::ValidationError,
                   "currency '" + *code + "' is not a code of ISO 4217 such as \"EUR\""};
  }
  const RawAmount zero{"0"};
  KOSHEL_TRY(user.max_balance, to_money({"max_balance", max}, *user.currency));
  KOSHEL_TRY(user.min_balance, to_money({"min_balance", min.value_or(zero)}, *user.currency));
  KOSHEL_TRY(user.balance, to_money({"balance", balance.value_or(zero)}, *user.currency));
  return user;
}

// Gives each valid new user an id and a shard; those whose name is taken get their problem here.
asio::awaitable<void> UsersApi::place_users(const std::vector<Checked<NewUser>>& users,
                                            std::vector<std::optional<Problem>>& problems,
                                            std::vector<OpenOrder>& orders,
                                            std::vector<std::size_t>& places, Instant deadline) {
  if (context_.service.shards().shards().empty()) {  // the first may just have been added
    auto refreshing = context_.service.refresh(deadline);
    co_await std::move(refreshing);
  }
  std::vector<std::string> names;
  for (const auto& user : users) {
    if (user) names.push_back(user.value().name);
  }
  auto pending = context_.routes.by_name(std::move(names), deadline);
  const auto taken = co_await std::move(pending);
  boost::unordered_flat_set<std::string> seen;
  for (std::size_t i = 0; i < users.size(); ++i) {
    if (!users[i]) {
      problems[i] = users[i].error();
      continue;
    }
    const auto& user = users[i].value();
    if (!taken) {
      problems[i] = directory_problem(taken.error());
    } else if (taken.value().contains(user.name) || seen.contains(user.name)) {
      problems[i] = name_taken(user.name);
    } else if (const auto refusal =
                   check_new_limits(user.balance, user.min_balance, user.max_balance)) {
      problems[i] = problem_of(*refusal, user.name, *user.currency);
    } else if (const auto shard = context_.service.shards().place_user(); !shard) {
      problems[i] = Problem{ProblemCode::ShardUnavailable,
                            "no shard takes new users: add one with `koshel shard add`"};
    } else {
      seen.insert(user.name);
      orders.push_back({{AccountId(),
                         user.currency->id,
                         user.min_balance,
                         user.max_balance,
                         user.balance,
                         TransferId(),
                         {}},
                        user.name,
                        *shard});
      places.push_back(i);
    }
  }
}

asio::awaitable<UsersApi::Created> UsersApi::create_users(std::vector<Checked<NewUser>> users,
                                                          std::string asked_by, Instant deadline) {
  std::vector<std::optional<Problem>> problems(users.size());
  std::vector<OpenOrder> opens;
  std::vector<std::size_t> places;
  auto placing = place_users(users, problems, opens, places, deadline);
  co_await std::move(placing);

  auto pending_ids =
      context_.service.directory().new_user_ids(static_cast<int>(opens.size()), deadline);
  const auto ids = co_await std::move(pending_ids);
  std::vector<Outcome> outcomes;
  std::vector<Order> orders;
  for (std::size_t i = 0; i < opens.size() && ids; ++i) {
    opens[i].open.account = ids.value()[i];
    opens[i].open.opening = TransferId(ids.value()[i], random_suffix());
    opens[i].open.asked_by = asked_by;
    orders.emplace_back(opens[i]);
  }
  if (ids) {
    auto pending = context_.service.submit(std::move(orders), deadline);
    outcomes = co_await std::move(pending);
  }
  Created created;
  created.reserve(users.size());
  for (auto& problem : problems) {
    created.emplace_back(problem.value_or(problem_of(FailCode::DirectoryUnavailable)));
  }
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    const auto& open = opens[i];
    auto& result = created[places[i]];
    if (const auto* opened = std::get_if<Opened>(&outcomes[i])) {
      const directory::Route route{open.open.account, open.open.currency, open.shard,
                                   RouteVersion(1)};
      context_.routes.learn({open.name, route});
      result = FoundUser{open.name, route,
                         Head{open.open.currency, opened->state.version, opened->state.balance,
                              open.open.min_balance, open.open.max_balance, AccountStatus::Active}};
    } else if (std::holds_alternative<NameTaken>(outcomes[i])) {
      result = name_taken(open.name);
    } else if (const auto* refused =
                   std::get_if<Refused>(&outcomes[i])) {  // @world has its limits too
      result =
          problem_of(refused->refusal, std::string(kWorldName), currency_of(open.open.currency));
    } else if (const auto* failed = std::get_if<Failed>(&outcomes[i])) {
      result = problem_of(failed->code);
    } else {
      result = problem_of(FailCode::Internal);
    }
  }
  co_return created;
}

Respond UsersApi::create(HttpRequest request, Caller caller) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  std::vector<Checked<NewUser>> users{read_user(body.value())};
  auto pending = create_users(std::move(users), asker_of(caller), deadline.value());
  const auto created = co_await std::move(pending);
  if (!created.front()) co_return to_response(created.front().error());
  co_return json_response(201, user_json(context_, created.front().value()));
}

Respond UsersApi::create_batch(HttpRequest request, Caller caller, Note* note) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto batch = read_batch(body.value(), "users");
  if (!batch) co_return to_response(batch.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  std::vector<Checked<NewUser>> users;
  users.reserve(batch.value()->size());
  for (const auto& value : *batch.value()) users.push_back(read_user(value));
  auto pending = create_users(std::move(users), asker_of(caller), deadline.value());
  const auto created = co_await std::move(pending);
  if (note != nullptr) {
    note->detail = told_of_batch(created);
  }
  std::string results;
  for (const auto& user : created) {
    results += results.empty() ? "" : ",";
    if (user) {
      // What became of the item: the account's own status is "active" at birth.
      results += user_json(context_, user.value(), "created");
    } else {
      const bool is_refused = kind_of(user.error().code).status < 500;
      const auto& outcome = kind_of(user.error().code).outcome;
      results += "{\"status\":\"" + std::string(is_refused ? "refused" : outcome) + "\"," +
                 members_of(user.error()) + "}";
    }
  }
  co_return json_response(200, "{\"results\":[" + results + "]}");
}

// ---- reading

Respond UsersApi::show(HttpRequest request, Caller caller, std::string name) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  if (!may_see_account(caller, check_name(name).name)) {
    auto finding = find_route(context_, std::move(name), deadline.value());
    const auto route = co_await std::move(finding);
    if (!route) co_return to_response(route.error());
    JsonMembers members;
    co_return json_response(200, members.plain("name", route.value().name).object());
  }
  auto pending = find_user(context_, std::move(name), deadline.value());
  const auto user = co_await std::move(pending);
  if (!user) co_return to_response(user.error());
  co_return json_response(200, user_json(context_, user.value()));
}

// The heads of many users, one call per shard; who has just moved is read alone.
asio::awaitable<Checked<std::vector<FoundUser>>> UsersApi::read_heads(
    std::vector<directory::NamedRoute> routes, Instant deadline) {
  std::map<ShardId, messages::ReadHeads> reads;
  for (const auto& named : routes) reads[named.route.shard].accounts.push_back(named.route.account);
  boost::unordered_flat_map<AccountId, Head, std::hash<AccountId>> heads;
  for (const auto& [shard, read] : reads) {
    auto finding = context_.service.agent(shard);
    const std::shared_ptr<AgentClient> agent = co_await std::move(finding);
    if (!agent) co_return problem_of(FailCode::ShardUnavailable);
    auto pending = agent->call<messages::HeadsRead>("/v1/accounts/heads", read, deadline);
    const auto reply = co_await std::move(pending);
    if (!reply || reply.value().heads.size() != read.accounts.size()) {
      co_return problem_of(FailCode::ShardUnavailable)
          .with("shard", context_.service.shards().name(shard));
    }
    for (std::size_t i = 0; i < read.accounts.size(); ++i) {
      if (const auto& head = reply.value().heads[i]) heads.emplace(read.accounts[i], *head);
    }
  }
  std::vector<FoundUser> users;
  for (auto& named : routes) {
    const auto found = heads.find(named.route.account);
    if (found != heads.end()) {
      users.push_back({std::move(named.name), named.route, found->second});
      continue;
    }
    context_.routes.forget(named.route.account);
    auto pending = find_user(context_, named.name, deadline);
    auto user = co_await std::move(pending);
    if (!user) co_return user.error();
    users.push_back(std::move(user.value()));
  }
  co_return users;
}

Respond UsersApi::list(HttpRequest request) {
  const auto page = page_of(request, {});
  if (!page) co_return to_response(page.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  AccountId after;
  if (page.value().cursor) {
    const auto id = read_cursor(*page.value().cursor, "users");
    if (!id) co_return to_response(id.error());
    after = AccountId(id.value().front());
  }
  const int limit = page.value().limit;
  auto pending = context_.service.directory().users_after(after, limit + 1, deadline.value());
  auto routes = co_await std::move(pending);
  if (!routes) co_return to_response(directory_problem(routes.error()));
  const bool has_more = static_cast<int>(routes.value().size()) > limit;
  if (has_more) routes.value().pop_back();
  const auto last = routes.value().empty() ? after : routes.value().back().route.account;
  auto pending_heads = read_heads(std::move(routes.value()), deadline.value());
  const auto users = co_await std::move(pending_heads);
  if (!users) co_return to_response(users.error());
  std::string items;
  for (const auto& user : users.value()) {
    items += items.empty() ? "" : ",";
    items += user_json(context_, user);
  }
  std::optional<std::string> next;
  if (has_more) next = write_cursor("users", {last.value()});
  co_return page_response(items, next);
}

// ---- changing

Respond UsersApi::change(HttpRequest request, Caller caller, std::string name) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  Fields fields(body.value());
  const auto min = fields.optional_amount("min_balance", AmountRule::Any);
  if (!min) co_return to_response(min.error());
  const auto max = fields.optional_amount("max_balance", AmountRule::Any);
  if (!max) co_return to_response(max.error());
  const auto status = fields.optional_text("status");
  if (!status) co_return to_response(status.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  if (!min.value() && !max.value() && !status.value()) {
    co_return to_response(Problem{ProblemCode::ValidationError,
                                  "give at least one of min_balance, max_balance, status"});
  }
  messages::LimitChange change;
  if (status.value()) {
    if (*status.value() != "active" && *status.value() != "frozen") {
      co_return to_response(
          Problem{ProblemCode::ValidationError, "status must be \"active\" or \"frozen\""});
    }
    change.status = *status.value() == "active" ? AccountStatus::Active : AccountStatus::Frozen;
  }
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  auto pending_route = find_route(context_, std::move(name), deadline.value());
  const auto found = co_await std::move(pending_route);
  if (!found) co_return to_response(found.error());
  const auto& route = found.value().route;
  const auto& currency = currency_of(route.currency);
  change.account = route.account;
  change.asked_by = asker_of(caller);
  const auto read_limit = [&](const std::optional<RawAmount>& raw,
                              std::string_view field) -> Checked<std::optional<Money>> {
    if (!raw) return std::optional<Money>();
    const auto money = to_money({field, *raw}, currency);
    if (!money) return money.error();
    return std::optional(money.value());
  };
  const auto new_min = read_limit(min.value(), "min_balance");
  if (!new_min) co_return to_response(new_min.error());
  const auto new_max = read_limit(max.value(), "max_balance");
  if (!new_max) co_return to_response(new_max.error());
  change.min_balance = new_min.value();
  change.max_balance = new_max.value();

  std::vector<Order> orders{LimitOrder{change, route.shard}};
  auto pending = context_.service.submit(std::move(orders), deadline.value());
  const auto outcomes = co_await std::move(pending);
  if (const auto* changed = std::get_if<Changed>(&outcomes.front())) {
    co_return json_response(200, user_json(context_, {found.value().name, route, changed->head}));
  }
  if (const auto* refused = std::get_if<Refused>(&outcomes.front())) {
    co_return to_response(problem_of(refused->refusal, found.value().name, currency));
  }
  const auto* failed = std::get_if<Failed>(&outcomes.front());
  co_return to_response(problem_of(failed != nullptr ? failed->code : FailCode::Internal));
}

}  // namespace koshel::coordinator
