#include "coordinator/io/api/api.hpp"

#include <set>

#include "coordinator/io/api/body.hpp"
#include "platform/crash_points.hpp"

namespace koshel::coordinator {

using platform::HttpRequest;
using platform::HttpResponse;

namespace {

Respond wrong_method(const std::set<std::string_view>& allowed) {
  std::string methods;
  for (const auto method : allowed) methods.append(methods.empty() ? "" : ", ").append(method);
  auto response = to_response({ProblemCode::MethodNotAllowed, "this path takes " + methods});
  response.headers.emplace_back("Allow", methods);
  return answer(std::move(response));
}

// Whether the path has the shape `pattern`; if so, `arguments` are what stands at each `{}`.
bool has_shape(std::string_view pattern, const std::vector<std::string>& segments,
               std::vector<std::string>& arguments) {
  arguments.clear();
  for (const auto& segment : segments) {
    if (pattern.empty()) return false;
    pattern.remove_prefix(1);  // the slash
    const auto expected = pattern.substr(0, pattern.find('/'));
    pattern.remove_prefix(expected.size());
    if (expected == "{}") {
      arguments.push_back(segment);
    } else if (expected != segment) {
      return false;
    }
  }
  return pattern.empty();
}

directory::ThrottleRules throttle_rules(const platform::ThrottleConfig& config) {
  return directory::throttle_rules(
      {config.free_per_name, config.delay, config.delay_max, config.forgiven_every},
      config.free_per_address);
}

bool has_ldap(const ApiContext& context) {
  return context.config.auth.mode == platform::AuthMode::Ldap;
}

constexpr int kDenied = 403;
constexpr int kLimited = 429;

AuditedCall audited_call(Trail trail, std::string_view method, std::string_view path,
                         const std::vector<std::string>& arguments, const HttpRequest& request,
                         const Caller& caller) {
  const bool is_known = caller.how != Caller::How::Open;
  const bool is_token = caller.how == Caller::How::ApiToken;
  return {std::string(method) + " " + std::string(path),
          arguments.empty() ? "" : arguments.front(),
          is_known ? std::optional(caller.name) : std::nullopt,
          !is_known  ? ""
          : is_token ? "token"
                     : "session",
          is_token ? std::optional(caller.token_id) : std::nullopt,
          request.peer,
          request.id,
          trail == Trail::WithBody ? request.body : ""};
}

// A body that cannot be read is told first, as to who is let in: but nobody has a large one parsed
// without having logged in.
Problem turned_away(const HttpRequest& request, const Problem& why) {
  constexpr std::size_t kBodyMax = 32 * 1024;
  const bool has_body =
      request.method != "GET" && request.method != "HEAD" && !request.body.empty();
  if (!has_body || request.body.size() > kBodyMax || why.code != ProblemCode::Unauthenticated) {
    return why;
  }
  const auto body = read_body(request);
  return body ? why : body.error();
}

Problem denied(const Rule& rule) {
  std::string names;
  for (const auto name : rule.roles().names()) {
    names.append(names.empty() ? "" : " or ").append(name);
  }
  return {ProblemCode::PermissionDenied, "this is for role " + names};
}

}  // namespace

Api::Api(ApiContext context, boost::asio::any_io_executor loop, platform::PgPool& directory,
         Incarnation incarnation)
    : context_(context),
      access_store_(directory, throttle_rules(context.config.auth.throttle),
                    has_ldap(context) ? directory::ProvenBy::Ldap : directory::ProvenBy::Password),
      ldap_(has_ldap(context) ? std::make_unique<LdapPool>(loop, context.config.auth.ldap)
                              : nullptr),
      session_roles_(
          ldap_ ? std::make_unique<SessionRoles>(loop, access_store_, *ldap_, context.config)
                : nullptr),
      gate_(loop, access_store_, session_roles_.get(), context.config),
      passwords_(loop, context.config.auth.passwords),
      audit_log_store_(directory),
      trail_(loop, audit_log_store_, incarnation,
             static_cast<std::size_t>(context.config.auth.audit_waiting_max)),
      users_(context),
      transfers_(context),
      shards_(context),
      rebalance_(context),
      audit_(context),
      access_({context, access_store_, gate_, passwords_, ldap_.get()}),
      staff_({context, access_store_, gate_, passwords_, ldap_.get()}),
      audit_log_(context, audit_log_store_) {}

Respond Api::handle(HttpRequest request) {
  if (auto debug = platform::answer_crash_points(request)) return answer(std::move(*debug));
  // A page in a browser on this machine reaches a port of loopback, and says that it is one.
  const bool is_open = context_.config.auth.mode == platform::AuthMode::None;
  if (is_open && request.header("origin") != nullptr) {
    return answer(
        to_response({ProblemCode::PermissionDenied,
                     "web pages may not call a coordinator that asks nobody who they are"}));
  }
  std::set<std::string_view> allowed;
  std::vector<std::string> arguments;
  for (const auto& route : routes()) {
    if (!has_shape(route.path, request.segments, arguments)) continue;
    if (route.method != request.method) {
      allowed.insert(route.method);
      continue;
    }
    Call call{std::move(request), std::move(arguments), {}, nullptr};
    if (route.rule.is_open()) return serve(route, std::move(call));
    if (auto caller = gate_.remembered(call.request)) {
      call.caller = std::move(*caller);
      return serve(route, std::move(call));
    }
    return ask_and_serve(route, std::move(call));
  }
  if (!allowed.empty()) return wrong_method(allowed);
  return answer(to_response({ProblemCode::NotFound, "there is nothing at " + request.path}));
}

Respond Api::serve(const Route& route, Call call) {
  const bool is_let_in = route.rule.lets_in(call.caller);
  // Where nobody has a name there is nobody to put on record.
  const bool is_on_record = context_.config.auth.mode != platform::AuthMode::None &&
                            (route.trail != Trail::None || !is_let_in);
  if (is_on_record) return serve_on_record(route, std::move(call));
  if (!is_let_in) return answer(to_response(denied(route.rule)));
  return route.handler(*this, std::move(call));
}

// The row is there before the answer is. If the directory is silent it follows later: what was done
// is done, and its outcome is not hidden.
Respond Api::serve_on_record(const Route& route, Call call) {
  if (!trail_.has_room()) co_return to_response(problem_of(FailCode::Overloaded));
  const bool is_let_in = route.rule.lets_in(call.caller);
  const auto audited = audited_call(is_let_in ? route.trail : Trail::NoBody, route.method,
                                    route.path, call.arguments, call.request, call.caller);
  const auto request_time = call.request.received;
  Note note;
  call.note = &note;
  auto serving =
      is_let_in ? route.handler(*this, std::move(call)) : answer(to_response(denied(route.rule)));
  auto response = co_await std::move(serving);
  const bool is_wanted =
      route.trail == Trail::IfNoted ? note.is_wanted : route.trail != Trail::None;
  const bool is_worth_a_row = response.status == kDenied ||
                              (is_wanted && response.status != 400 && response.status != kLimited);
  if (!is_worth_a_row) co_return response;
  if (response.status == kDenied || note.is_denied) {
    const auto row = denials_.take(audited.how + " " + audited.who.value_or(""), request_time);
    if (!row) co_return response;
    note.untold_before = row->untold_before;
  }
  auto writing = trail_.write(
      audit_entry(audited, note, response),
      std::chrono::steady_clock::now() + context_.config.coordinator.directory_timeout);
  co_await std::move(writing);
  co_return response;
}

Respond Api::ask_and_serve(const Route& route, Call call) {
  const auto deadline = deadline_of(context_, call.request);
  if (!deadline) co_return to_response(deadline.error());
  const auto* header = call.request.header("authorization");
  auto authorization = header != nullptr ? std::optional(*header) : std::nullopt;
  const auto patience = call.request.received + context_.config.coordinator.directory_timeout;
  auto asking = gate_.ask(std::move(authorization), std::min(patience, deadline.value()));
  auto caller = co_await std::move(asking);
  if (!caller) co_return to_response(turned_away(call.request, caller.error()));
  call.caller = std::move(caller.value());
  auto serving = serve(route, std::move(call));
  co_return co_await std::move(serving);
}

boost::asio::awaitable<void> Api::finish_trail() {
  return trail_.finish(std::chrono::steady_clock::now() +
                       context_.config.coordinator.directory_timeout);
}

HttpResponse Api::on_protocol_error(platform::ProtocolFault fault) {
  switch (fault) {
    case platform::ProtocolFault::Malformed:
      return to_response({ProblemCode::MalformedRequest, "this is not an HTTP/1.1 request"});
    case platform::ProtocolFault::HeadersTooLarge:
      return to_response({ProblemCode::HeadersTooLarge, "the headers exceed the server's bound"});
    case platform::ProtocolFault::PayloadTooLarge:
      return to_response({ProblemCode::PayloadTooLarge, "the body exceeds the server's bound"});
    case platform::ProtocolFault::TooSlow:
      return to_response({ProblemCode::RequestTimeout, "the request did not arrive in time"});
    case platform::ProtocolFault::TooManyConnections:
      return to_response({ProblemCode::Overloaded, "too many connections; try again later"});
    case platform::ProtocolFault::PlainText:
      return to_response({ProblemCode::MalformedRequest, "this port speaks TLS: use https://"});
    case platform::ProtocolFault::Overloaded:
      return to_response({ProblemCode::Overloaded,
                          "more is sent to this coordinator than it holds; try again later"});
  }
  std::abort();
}

}  // namespace koshel::coordinator
