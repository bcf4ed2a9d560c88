#include "coordinator/io/api/context.hpp"

#include <sodium.h>

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <charconv>

#include "base/invariant.hpp"
#include "base/name.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "platform/log.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {

std::optional<std::int64_t> to_integer(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Respond answer(platform::HttpResponse response) {
  co_return response;
}

Checked<Instant> deadline_of(const ApiContext& context, const platform::HttpRequest& request) {
  const auto& config = context.config.coordinator;
  const auto* header = request.header("koshel-deadline-ms");
  if (header == nullptr) return request.received + config.deadline;
  const auto wanted = to_integer(*header);
  if (!wanted || *wanted <= 0) {
    return Problem{ProblemCode::ValidationError,
                   "Koshel-Deadline-Ms must be a positive whole number of milliseconds"};
  }
  return request.received + std::min<std::chrono::milliseconds>(std::chrono::milliseconds(*wanted),
                                                                config.deadline_max);
}

const Currency& currency_of(CurrencyId id) {
  const auto* currency = find_currency(id);
  INVARIANT(currency != nullptr);  // only known ones are ever stored
  return *currency;
}

Problem directory_problem(const Error& error) {
  spdlog::warn("the directory: {}", error.context);
  return {ProblemCode::DirectoryUnavailable,
          "the directory cannot be reached; nothing happened, try again"};
}

Problem lost_change(const Error& error, std::string_view how_to_see) {
  if (error.fault != Fault::InDoubt && error.fault != Fault::Unavailable) {
    return directory_problem(error);
  }
  spdlog::warn("the directory: {}", error.context);
  return {ProblemCode::OutcomeUnknown,
          "the directory's answer was lost: " + std::string(how_to_see)};
}

Problem user_not_found(std::string_view name) {
  return Problem{ProblemCode::UserNotFound, "there is no user named " + std::string(name)}.with(
      "user", name);
}

Problem as_if_absent(const std::string& name) {
  const auto [checked, fault] = check_name(name);
  return user_not_found(fault.empty() ? checked : name);
}

Problem problem_of(FailCode code) {
  switch (code) {
    case FailCode::ShardUnavailable:
      return {ProblemCode::ShardUnavailable,
              "the user's shard cannot be reached; nothing happened"};
    case FailCode::DirectoryUnavailable:
      return {ProblemCode::DirectoryUnavailable,
              "the directory cannot be reached; nothing happened"};
    case FailCode::Overloaded:
      return {ProblemCode::Overloaded, "too many requests wait; nothing happened, try again later"};
    case FailCode::Contention:
      return {ProblemCode::Contention,
              "the account stayed busy until the deadline; nothing happened"};
    case FailCode::OutcomeUnknown:
      return {ProblemCode::OutcomeUnknown,
              "the answer did not come in time; ask again with the same key, or by the id"};
    case FailCode::Internal:
      return {ProblemCode::Internal,
              "something is broken on our side; the log has this request's id"};
  }
  std::abort();
}

Problem problem_of(const Refusal& refusal, const std::string& name, const Currency& currency) {
  const auto amount = [&](Money money) { return format_amount(money, currency); };
  Problem problem;
  switch (refusal.code) {
    case RefusalCode::InsufficientFunds:
      problem = {ProblemCode::InsufficientFunds, name + " has " + amount(refusal.balance) +
                                                     " and may not fall below " +
                                                     amount(refusal.bound) + ": at most " +
                                                     amount(refusal.headroom) + " can be taken"};
      break;
    case RefusalCode::BalanceLimitExceeded:
      problem = {ProblemCode::BalanceLimitExceeded, name + " has " + amount(refusal.balance) +
                                                        " and may not rise above " +
                                                        amount(refusal.bound) + ": at most " +
                                                        amount(refusal.headroom) + " can be added"};
      break;
    case RefusalCode::AccountFrozen:
      return Problem{ProblemCode::AccountFrozen, name + " is frozen"}.with("user", name);
    case RefusalCode::LimitsInvalid:
      return Problem{ProblemCode::LimitsInvalid, "the balance " + amount(refusal.balance) +
                                                     " does not lie within the limits asked for"}
          .with("user", name)
          .with("bound", amount(refusal.bound))
          .with("balance", amount(refusal.balance));
  }
  return problem.with("user", name)
      .with("bound", amount(refusal.bound))
      .with("balance", amount(refusal.balance))
      .with("headroom", amount(refusal.headroom));
}

Problem problem_without_numbers(const Refusal& refusal, const std::string& name) {
  const auto told = [&name](ProblemCode code, std::string_view what) {
    return Problem{code, name + " " + std::string(what)}.with("user", name);
  };
  switch (refusal.code) {
    case RefusalCode::InsufficientFunds:
      return told(ProblemCode::InsufficientFunds, "cannot pay this amount");
    case RefusalCode::BalanceLimitExceeded:
      return told(ProblemCode::BalanceLimitExceeded, "cannot take this amount");
    case RefusalCode::AccountFrozen:
      return told(ProblemCode::AccountFrozen, "is frozen");
    case RefusalCode::LimitsInvalid:
      return told(ProblemCode::LimitsInvalid, "has a balance outside of these limits");
  }
  std::abort();
}

asio::awaitable<std::optional<Problem>> read_shards(ApiContext context, Instant deadline) {
  auto pending = context.service.directory().shards(deadline);
  const auto shards = co_await std::move(pending);
  if (!shards) co_return directory_problem(shards.error());
  context.service.shards().update(shards.value());
  co_return std::nullopt;
}

asio::awaitable<void> pause_before_reroute() {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(std::chrono::milliseconds(10));
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<Checked<directory::NamedRoute>> find_route(ApiContext context, std::string name,
                                                           Instant deadline) {
  const auto [checked, fault] = check_name(name);
  if (!fault.empty()) co_return user_not_found(name);
  std::vector<std::string> names{checked};
  auto pending = context.routes.by_name(std::move(names), deadline);
  const auto routes = co_await std::move(pending);
  if (!routes) co_return directory_problem(routes.error());
  const auto found = routes.value().find(checked);
  if (found == routes.value().end()) co_return user_not_found(checked);
  co_return directory::NamedRoute{checked, found->second};
}

asio::awaitable<Checked<FoundUser>> find_user(ApiContext context, std::string name,
                                              Instant deadline) {
  auto pending_route = find_route(context, std::move(name), deadline);
  auto route = co_await std::move(pending_route);
  if (!route) co_return route.error();
  messages::ReadHeads read{{route.value().route.account}};
  auto is_moved = [](const messages::HeadsRead& heads) {
    return heads.heads.size() == 1 && !heads.heads.front();
  };
  auto pending = ask_owner<messages::HeadsRead>(context, route.value(), "/v1/accounts/heads",
                                                std::move(read), deadline, is_moved);
  auto heads = co_await std::move(pending);
  if (!heads) co_return heads.error();
  if (heads.value().heads.size() != 1) co_return problem_of(FailCode::ShardUnavailable);
  // A user that moved on the way is where the cache now says.
  auto pending_again = find_route(context, route.value().name, deadline);
  const auto owner = co_await std::move(pending_again);
  co_return FoundUser{route.value().name, owner ? owner.value().route : route.value().route,
                      *heads.value().heads.front()};
}

std::string user_json(const ApiContext& context, const FoundUser& user, std::string_view status) {
  const auto& currency = currency_of(user.route.currency);
  JsonMembers members;
  return members.number("id", user.route.account.value())
      .plain("name", user.name)
      .plain("currency", currency.code)
      .amount("balance", user.head.balance, currency)
      .amount("min_balance", user.head.min_balance, currency)
      .amount("max_balance", user.head.max_balance, currency)
      .number("version", user.head.version.value())
      .plain("status", status.empty() ? to_string(user.head.status) : status)
      .plain("shard", context.service.shards().name(user.route.shard))
      .object();
}

// ---- pages

namespace {

std::string encode_cursor(std::string_view content) {
  std::string text(
      sodium_base64_encoded_len(content.size(), sodium_base64_VARIANT_URLSAFE_NO_PADDING), '\0');
  sodium_bin2base64(text.data(), text.size(),
                    reinterpret_cast<const unsigned char*>(content.data()), content.size(),
                    sodium_base64_VARIANT_URLSAFE_NO_PADDING);
  text.pop_back();  // the terminating NUL
  return text;
}

std::optional<std::string> decode_cursor(const std::string& text) {
  std::string content(text.size(), '\0');
  std::size_t size = 0;
  const char* end = nullptr;
  if (sodium_base642bin(reinterpret_cast<unsigned char*>(content.data()), content.size(),
                        text.data(), text.size(), nullptr, &size, &end,
                        sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  content.resize(size);
  if (encode_cursor(content) != text) return std::nullopt;  // libsodium takes some foreign bytes
  return content;
}

}  // namespace

platform::HttpResponse page_response(const std::string& items,
                                     const std::optional<std::string>& next) {
  return {200,
          "application/json",
          "{\"items\":[" + items +
              "],\"next_cursor\":" + (next ? json_quoted(encode_cursor(*next)) : "null") + "}",
          {}};
}

Checked<PageRequest> page_of(const platform::HttpRequest& request,
                             std::initializer_list<std::string_view> other_parameters) {
  PageRequest page;
  for (const auto& [name, value] : request.query) {
    const bool is_known = name == "limit" || name == "cursor" ||
                          std::ranges::count(other_parameters, std::string_view(name)) > 0;
    if (!is_known) {
      return Problem{ProblemCode::ValidationError, "query parameter '" + name + "' is unknown"};
    }
  }
  if (const auto* limit = request.parameter("limit")) {
    const auto value = to_integer(*limit);
    if (!value || *value < 1 || *value > 1000) {
      return Problem{ProblemCode::ValidationError, "limit must be a whole number from 1 to 1000"};
    }
    page.limit = static_cast<int>(*value);
  }
  if (const auto* cursor = request.parameter("cursor")) {
    page.cursor = decode_cursor(*cursor);
    if (!page.cursor) {
      return Problem{ProblemCode::InvalidCursor, "the cursor is not one that this service gave"};
    }
  }
  return page;
}

}  // namespace koshel::coordinator
