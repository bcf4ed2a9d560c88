// UsersApi::entries: a user's history, page by page.

#include "base/name.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"
#include "coordinator/io/api/users_api.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

Problem other_request() {
  return {ProblemCode::InvalidCursor, "the cursor belongs to another request"};
}

struct Position {
  bool is_newest_first = false;
  Version from;                      // 0: the beginning of the order
  std::optional<AccountId> account;  // whose entries the cursor is for
};

// The cursor carries the account, the order and the next version; a contradicting `order` is
// refused.
Checked<Position> position_of(const HttpRequest& request, const PageRequest& page) {
  const auto* order = request.parameter("order");
  if (order != nullptr && *order != "asc" && *order != "desc") {
    return Problem{ProblemCode::ValidationError, "order must be \"asc\" or \"desc\""};
  }
  Position position{order != nullptr && *order == "desc", Version(), std::nullopt};
  if (!page.cursor) return position;
  KOSHEL_TRY(const auto numbers, read_cursor(*page.cursor, "entries", 3));
  if (numbers[1] > 1 || numbers[0] > AccountId::kMax) return other_request();
  const bool is_newest_first = numbers[1] == 1;
  if (order != nullptr && position.is_newest_first != is_newest_first) return other_request();
  return Position{is_newest_first, Version(numbers[2]), AccountId(numbers[0])};
}

struct Told {
  const NamesByAccount& names;
  const Currency& currency;
  const Caller& caller;
};

std::string entry_json(const messages::TimedEntry& timed, const Told& told) {
  const auto& entry = timed.entry;
  JsonMembers members;
  members.number("version", entry.version.value()).plain("kind", to_string(entry.kind));
  if (entry.transfer) members.plain("transfer_id", entry.transfer->to_string());
  if (const auto name = told.names.find(entry.counterparty); name != told.names.end()) {
    members.plain("counterparty", name->second);
  }
  members.amount("amount", entry.amount, told.currency)
      .amount("balance", entry.balance, told.currency)
      .amount("min_balance", entry.min_balance, told.currency)
      .amount("max_balance", entry.max_balance, told.currency)
      .plain("status", to_string(entry.status))
      .plain("created_at", format_rfc3339(timed.at));
  if (!entry.metadata.empty()) members.raw("metadata", entry.metadata);
  if (!entry.asked_by.empty() && may_see_askers(told.caller)) {
    members.text("asked_by", entry.asked_by);
  }
  return members.object();
}

}  // namespace

Respond UsersApi::entries(HttpRequest request, Caller caller, std::string name) {
  const auto page = page_of(request, {"order"});
  if (!page) co_return to_response(page.error());
  const auto position = position_of(request, page.value());
  if (!position) co_return to_response(position.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  if (!may_see_history(caller, check_name(name).name)) co_return to_response(as_if_absent(name));
  auto pending_route = find_route(context_, std::move(name), deadline.value());
  const auto route = co_await std::move(pending_route);
  if (!route) co_return to_response(route.error());
  const auto account = route.value().route.account;
  if (position.value().account.value_or(account) != account) {
    co_return to_response(other_request());
  }

  const int limit = page.value().limit;
  const messages::ReadEntries read{account, position.value().from, position.value().is_newest_first,
                                   limit + 1};
  auto is_moved = [](const messages::EntriesRead& reply) { return !reply.is_owned; };
  auto pending = ask_owner<messages::EntriesRead>(context_, route.value(), "/v1/accounts/entries",
                                                  read, deadline.value(), is_moved);
  auto reply = co_await std::move(pending);
  if (!reply) co_return to_response(reply.error());
  auto& entries = reply.value().entries;
  std::optional<std::string> next;
  if (static_cast<int>(entries.size()) > limit) {
    next = write_cursor("entries", {account.value(), position.value().is_newest_first ? 1 : 0,
                                    entries.back().entry.version.value()});
    entries.pop_back();
  }
  std::vector<AccountId> counterparties;
  for (const auto& timed : entries) counterparties.push_back(timed.entry.counterparty);
  auto pending_names = context_.routes.names(std::move(counterparties), deadline.value());
  const auto names = co_await std::move(pending_names);
  if (!names) co_return to_response(directory_problem(names.error()));
  const Told told{names.value(), currency_of(route.value().route.currency), caller};
  std::string items;
  for (const auto& timed : entries) {
    items += items.empty() ? "" : ",";
    items += entry_json(timed, told);
  }
  co_return page_response(items, next);
}

}  // namespace koshel::coordinator
