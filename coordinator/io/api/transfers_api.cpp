#include "coordinator/io/api/transfers_api.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/experimental/parallel_group.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/unordered/unordered_flat_set.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"
#include "coordinator/io/api/transfer_text.hpp"
#include "platform/spawn.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
namespace json = boost::json;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

constexpr std::size_t kSearchesMax = 16;  // calls for one batch's hindered plans at a time

// The answer of an earlier request, with the same key.
bool is_repetition(const Outcome& outcome) {
  const auto* replayed = std::get_if<Replayed>(&outcome);
  return replayed != nullptr && !replayed->is_own;
}

Problem not_allowed(Parties parties) {
  return {ProblemCode::PermissionDenied,
          has_world_side(parties) ? "deposits and withdrawals are for role teller or admin"
                                  : "only from one's own account, or as admin"};
}

const Problem kNoTransfer{ProblemCode::TransferNotFound, "there is no such transfer"};

std::string_view item_status(const Problem& problem) {
  const auto& kind = kind_of(problem.code);
  if (kind.outcome == "unknown") return "unknown";
  return kind.status >= 500 ? "not_committed" : "refused";
}

}  // namespace

// ---- reading what is asked

Checked<TransfersApi::Wish> TransfersApi::read_wish(const json::value& value, KeyPlace place,
                                                    const Caller& caller) {
  if (!value.is_object()) {
    return Problem{ProblemCode::ValidationError, "a transfer must be a JSON object"};
  }
  Fields fields(value.get_object());
  Wish wish;
  KOSHEL_TRY(const auto from, fields.required_text("from"));
  KOSHEL_TRY(const auto to, fields.required_text("to"));
  KOSHEL_TRY(wish.amount, fields.required_amount("amount", AmountRule::Positive));
  KOSHEL_TRY(wish.metadata, fields.optional_metadata());
  wish.key = std::move(place.key);
  if (!place.field.empty()) {
    KOSHEL_TRY(wish.key, fields.optional_text(place.field));
  }
  if (auto unknown = fields.find_unknown()) return *unknown;
  KOSHEL_TRY(wish.from, to_party_name("from", from));
  KOSHEL_TRY(wish.to, to_party_name("to", to));
  if (wish.key) {
    if (auto fault = check_idempotency_key(*wish.key)) return *fault;
  }
  if (!may_transfer(caller, {wish.from, wish.to})) return not_allowed({wish.from, wish.to});
  wish.asked_by = asker_of(caller);
  return wish;
}

// Finds the wish's users and makes the order. What only stands in the way of a new transfer, not of
// a replayed answer, becomes the plan's obstacle.
Checked<TransfersApi::Plan> TransfersApi::plan(Wish wish, const RoutesByName& routes) {
  const bool is_deposit = wish.from == kWorldName;
  const auto& anchor_name = is_deposit ? wish.to : wish.from;
  const auto& other_name = is_deposit ? wish.from : wish.to;
  if (wish.from == kWorldName && wish.to == kWorldName) {
    return Problem{ProblemCode::SameAccount, "from and to are both @world"};
  }
  const auto anchor = routes.find(anchor_name);
  if (anchor == routes.end()) {
    return user_not_found(anchor_name).with("side", is_deposit ? "to" : "from");
  }
  Plan plan;
  plan.currency = &currency_of(anchor->second.currency);
  plan.anchor = {anchor_name, anchor->second};
  auto& transfer = plan.order.transfer;
  KOSHEL_TRY(transfer.amount, to_money({"amount", wish.amount}, *plan.currency));
  transfer.is_keyed = wish.key.has_value();
  transfer.id =
      TransferId(anchor->second.account, wish.key ? suffix_of_key(*wish.key) : random_suffix());
  transfer.metadata = wish.metadata;
  transfer.asked_by = wish.asked_by;

  auto other = directory::Route{AccountId::any_world(anchor->second.currency),
                                anchor->second.currency, anchor->second.shard, RouteVersion()};
  if (other_name != kWorldName) {
    const auto found = routes.find(other_name);
    if (found == routes.end()) {
      plan.obstacle = user_not_found(other_name).with("side", "to");
    } else {
      other = found->second;
    }
  }
  if (other_name == anchor_name) {
    plan.obstacle = Problem{ProblemCode::SameAccount, "from and to are both " + anchor_name};
  } else if (!plan.obstacle && other.currency != anchor->second.currency) {
    plan.obstacle = Problem{ProblemCode::CurrencyMismatch, anchor_name + " holds " +
                                                               std::string(plan.currency->code) +
                                                               ", " + other_name + " does not"};
  }
  transfer.from = is_deposit ? other.account : anchor->second.account;
  transfer.to = is_deposit ? anchor->second.account : other.account;
  plan.order.from_shard = is_deposit ? other.shard : anchor->second.shard;
  plan.order.to_shard = is_deposit ? anchor->second.shard : other.shard;
  plan.wish = std::move(wish);
  return plan;
}

// ---- carrying it out

// A key that was used before is answered before what stands in the way of a new transfer.
asio::awaitable<Problem> TransfersApi::obstacle_or_key(const Plan& plan, Instant deadline) {
  if (std::chrono::steady_clock::now() >= deadline) co_return problem_of(FailCode::Overloaded);
  std::vector<TransferId> ids{plan.order.transfer.id};
  auto pending = find(plan.anchor, std::move(ids), deadline);
  const auto found = co_await std::move(pending);
  if (!found) co_return found.error();
  if (found.value().stored) co_return key_reused();
  if (found.value().is_in_progress) co_return key_in_progress(plan.order.transfer.id);
  co_return *plan.obstacle;
}

// Takes one hindered plan after the other from `search`, until none is left.
asio::awaitable<void> TransfersApi::answer_hindered(KeySearch& search) {
  while (search.next < search.places.size()) {
    auto& done = search.dones[search.places[search.next++]];
    auto pending = obstacle_or_key(done.value().plan, search.deadline);
    auto problem = co_await std::move(pending);
    done = std::move(problem);
  }
}

asio::awaitable<void> TransfersApi::answer_all_hindered(KeySearch search) {
  const auto loop = co_await asio::this_coro::executor;
  const auto start = [&] { return asio::co_spawn(loop, answer_hindered(search), asio::deferred); };
  std::vector<decltype(start())> started;
  while (started.size() < std::min(kSearchesMax, search.places.size())) started.push_back(start());
  auto group = asio::experimental::make_parallel_group(std::move(started));
  auto pending = group.async_wait(asio::experimental::wait_for_all(), asio::use_awaitable);
  const auto [order, failures] = co_await std::move(pending);
  for (const auto& failure : failures) platform::end_on_failure(failure);
}

asio::awaitable<TransfersApi::Dones> TransfersApi::carry_out(std::vector<Checked<Wish>> wishes,
                                                             Instant deadline) {
  std::vector<std::string> names;
  names.reserve(wishes.size() * 2);
  for (const auto& wish : wishes) {
    if (!wish) continue;
    for (const auto* name : {&wish.value().from, &wish.value().to}) {
      if (*name != kWorldName) names.push_back(*name);
    }
  }
  auto pending_routes = context_.routes.by_name(std::move(names), deadline);
  const auto routes = co_await std::move(pending_routes);

  Dones dones;
  dones.reserve(wishes.size());
  std::vector<Order> orders;
  std::vector<std::size_t> places;
  std::vector<std::size_t> hindered;  // keyed plans with an obstacle
  for (auto& wish : wishes) {
    if (!wish) {
      dones.emplace_back(wish.error());
      continue;
    }
    if (!routes) {
      dones.emplace_back(directory_problem(routes.error()));
      continue;
    }
    auto planned = plan(std::move(wish.value()), routes.value());
    if (!planned) {
      dones.emplace_back(planned.error());
      continue;
    }
    const auto& [asked, order, currency, obstacle, anchor] = planned.value();
    if (obstacle && !asked.key) {
      dones.emplace_back(*obstacle);
      continue;
    }
    (obstacle ? hindered : places).push_back(dones.size());
    if (!obstacle) orders.emplace_back(order);
    dones.emplace_back(Done{std::move(planned.value()), Failed{}});
  }
  auto pending = context_.service.submit(std::move(orders), deadline);
  auto outcomes = co_await std::move(pending);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    dones[places[i]].value().outcome = std::move(outcomes[i]);
  }
  if (!hindered.empty()) {
    auto searching = answer_all_hindered({std::move(hindered), dones, deadline});
    co_await std::move(searching);
  }
  co_return dones;
}

// Counts, and the ids of the first and the last: the ledger has the rest.
Note TransfersApi::note_of(const Dones& dones) {
  std::int64_t deposits = 0;
  std::int64_t withdrawals = 0;
  std::int64_t denied = 0;
  std::optional<TransferId> first;
  TransferId last;
  for (const auto& done : dones) {
    if (!done) {
      denied += done.error().code == ProblemCode::PermissionDenied ? 1 : 0;
      continue;
    }
    const auto& plan = done.value().plan;
    if (!has_world_side({plan.wish.from, plan.wish.to})) continue;
    (plan.wish.from == kWorldName ? deposits : withdrawals) += 1;
    last = plan.order.transfer.id;
    if (!first) first = last;
  }
  JsonMembers members;
  members.number("items", static_cast<std::int64_t>(dones.size()))
      .number("deposits", deposits)
      .number("withdrawals", withdrawals)
      .number("denied", denied);
  if (first) members.plain("first", first->to_string()).plain("last", last.to_string());
  Note note;
  note.is_wanted = deposits + withdrawals + denied > 0;
  note.is_denied = deposits + withdrawals == 0;
  note.detail = members.object();
  return note;
}

std::variant<TransferAnswer, Problem> TransfersApi::tell(const Done& done, const Caller& caller) {
  const auto& plan = done.plan;
  return answer_of(done.outcome,
                   {plan.order.transfer, plan.wish.from, plan.wish.to, *plan.currency, caller});
}

Respond TransfersApi::transfer(HttpRequest request, Caller caller, Note* note) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  const auto* key = request.header("idempotency-key");
  std::vector<Checked<Wish>> wishes;
  wishes.push_back(read_wish(body.value(), {key ? std::optional(*key) : std::nullopt, ""}, caller));
  if (note != nullptr && wishes.front()) {
    const auto& wish = wishes.front().value();
    if (has_world_side({wish.from, wish.to})) {
      note->is_wanted = true;
      note->target = wish.from == kWorldName ? wish.to : wish.from;
      note->detail = request.body;
    }
  }
  auto pending = carry_out(std::move(wishes), deadline.value());
  const auto dones = co_await std::move(pending);
  if (!dones.front()) co_return to_response(dones.front().error());
  const auto answer = tell(dones.front().value(), caller);
  HttpResponse response;
  if (const auto* problem = std::get_if<Problem>(&answer)) {
    response = to_response(*problem);
  } else {
    const auto& told = std::get<TransferAnswer>(answer);
    response = {told.status, "application/json", "{" + told.members + "}", {}};
  }
  if (is_repetition(dones.front().value().outcome))
    response.headers.emplace_back("Idempotency-Replayed", "true");
  co_return response;
}

Respond TransfersApi::transfer_batch(HttpRequest request, Caller caller, Note* note) {
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto batch = read_batch(body.value(), "transfers");
  if (!batch) co_return to_response(batch.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  std::vector<Checked<Wish>> wishes;
  wishes.reserve(batch.value()->size());
  boost::unordered_flat_set<std::string> keys;
  for (const auto& value : *batch.value()) {
    auto wish = read_wish(value, {std::nullopt, "idempotency_key"}, caller);
    if (wish && wish.value().key && !keys.insert(*wish.value().key).second) {
      wish = Problem{ProblemCode::ValidationError,
                     "idempotency_key '" + *wish.value().key + "' stands twice in this batch"};
    }
    wishes.push_back(std::move(wish));
  }
  auto pending = carry_out(std::move(wishes), deadline.value());
  const auto dones = co_await std::move(pending);
  if (note != nullptr) *note = note_of(dones);
  std::string results = "{\"results\":[";
  results.reserve(dones.size() * 320);
  for (const auto& done : dones) {
    results += results.back() == '[' ? "{" : ",{";
    std::variant<TransferAnswer, Problem> answer;
    if (done) {
      answer = tell(done.value(), caller);
      if (is_repetition(done.value().outcome)) results += "\"replayed\":true,";
    } else {
      answer = done.error();
    }
    if (const auto* problem = std::get_if<Problem>(&answer)) {
      results.append("\"status\":\"").append(item_status(*problem)).append("\",");
      results += members_of(*problem);
    } else {
      results += std::get<TransferAnswer>(answer).members;
    }
    results += '}';
  }
  results += "]}";
  co_return HttpResponse{200, "application/json", std::move(results), {}};
}

// ---- looking up

asio::awaitable<Checked<messages::FindTransferDone>> TransfersApi::find(
    directory::NamedRoute anchor, std::vector<TransferId> ids, Instant deadline) {
  // Before the shard is read: a round that ends in between has its entries there.
  const auto& machine = context_.service.machine();
  const bool is_under_way =
      std::ranges::any_of(ids, [&machine](TransferId id) { return machine.is_under_way(id); });
  messages::FindTransfer message{anchor.route.account, std::move(ids)};
  auto is_moved = [](const messages::FindTransferDone& done) { return !done.is_owned; };
  auto pending = ask_owner<messages::FindTransferDone>(
      context_, std::move(anchor), "/v1/transfers/find", std::move(message), deadline, is_moved);
  auto found = co_await std::move(pending);
  if (found && !found.value().stored && is_under_way) found.value().is_in_progress = true;
  co_return found;
}

// TRANSFER_NOT_FOUND when the caller may not see it.
asio::awaitable<Checked<std::string>> TransfersApi::stored_json(StoredTransfer stored,
                                                                Caller caller, Instant deadline) {
  std::vector<AccountId> parties{stored.transfer.from, stored.transfer.to};
  auto pending = context_.routes.names(std::move(parties), deadline);
  const auto names = co_await std::move(pending);
  if (!names) co_return directory_problem(names.error());
  const auto name = [&](AccountId account) {
    const auto found = names.value().find(account);
    return found == names.value().end() ? std::string() : found->second;
  };
  const auto from = name(stored.transfer.from);
  const auto to = name(stored.transfer.to);
  if (!may_see_transfer(caller, {from, to})) co_return kNoTransfer;
  auto pending_route = context_.routes.by_account(stored.anchor.account, deadline);
  const auto route = co_await std::move(pending_route);
  if (!route || !route.value()) co_return problem_of(FailCode::DirectoryUnavailable);
  const auto& currency = currency_of(route.value()->route.currency);
  auto members = stored_members(stored, {stored.transfer, from, to, currency, caller});
  const auto& asked_by = stored.transfer.asked_by;
  if (!asked_by.empty() && may_see_askers(caller)) {
    members += ",\"asked_by\":" + json_quoted(asked_by);
  }
  co_return "{" + members + "}";
}

Respond TransfersApi::show_found(Search search, Caller caller, Instant deadline) {
  const auto first_id = search.ids.front();
  // Whose a transfer under way is, only its id says. Tellers are told, too: who pays in without a key
  // and hears 404 would pay in again.
  const bool may_see_waiting = may_see_account(caller, search.anchor.name);
  auto pending = find(std::move(search.anchor), std::move(search.ids), deadline);
  auto found = co_await std::move(pending);
  if (!found) co_return to_response(found.error());
  if (!found.value().stored) {
    const bool is_told = found.value().is_in_progress && may_see_waiting;
    if (!is_told) co_return to_response(kNoTransfer);
    co_return to_response(
        Problem{ProblemCode::IdempotencyInProgress, "the transfer is under way; ask again"}.with(
            "id", first_id.to_string()));
  }
  auto& stored = *found.value().stored;
  const auto party = search.party;
  const bool takes_part =
      party == AccountId() || stored.transfer.from == party || stored.transfer.to == party;
  if (!takes_part) co_return to_response(kNoTransfer);
  auto pending_json = stored_json(std::move(stored), std::move(caller), deadline);
  auto text = co_await std::move(pending_json);
  if (!text) co_return to_response(text.error());
  co_return HttpResponse{200, "application/json", std::move(text.value()), {}};
}

Respond TransfersApi::show(HttpRequest request, Caller caller, std::string text) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  const auto id = TransferId::parse(text);
  if (!id) co_return to_response(kNoTransfer);
  auto pending_route = context_.routes.by_account(id->anchor(), deadline.value());
  const auto route = co_await std::move(pending_route);
  if (!route) co_return to_response(directory_problem(route.error()));
  if (!route.value()) co_return to_response(kNoTransfer);
  std::vector<TransferId> ids{*id};
  auto pending = show_found({*route.value(), std::move(ids), AccountId()}, std::move(caller),
                            deadline.value());
  co_return co_await std::move(pending);
}

Respond TransfersApi::show_of_user(HttpRequest request, Caller caller, std::string name,
                                   std::string id_or_key) {
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  if (!may_see_account(caller, check_name(name).name)) co_return to_response(as_if_absent(name));
  auto pending_route = find_route(context_, std::move(name), deadline.value());
  const auto route = co_await std::move(pending_route);
  if (!route) co_return to_response(route.error());
  const auto account = route.value().route.account;
  const auto id = TransferId::parse(id_or_key);
  if (id && id->anchor() != account) {  // the other side answers for it
    auto pending_anchor = context_.routes.by_account(id->anchor(), deadline.value());
    const auto anchor = co_await std::move(pending_anchor);
    if (!anchor) co_return to_response(directory_problem(anchor.error()));
    if (anchor.value()) {
      std::vector<TransferId> ids{*id};
      auto pending =
          show_found({*anchor.value(), std::move(ids), account}, caller, deadline.value());
      const auto found = co_await std::move(pending);
      if (found.status != 404) co_return found;
    }
  }
  std::vector<TransferId> ids;
  if (id && id->anchor() == account) ids.push_back(*id);
  ids.emplace_back(account, suffix_of_key(id_or_key));  // a key may look like an id
  auto pending =
      show_found({route.value(), std::move(ids), AccountId()}, std::move(caller), deadline.value());
  co_return co_await std::move(pending);
}

}  // namespace koshel::coordinator
