#include "coordinator/io/api/access_api.hpp"

#include <boost/asio/ip/address.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/logic/password_rules.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

constexpr std::size_t kPasswordBytesMax = std::size_t{kPasswordCharactersMax} * 4;

// Failures are counted by address; of IPv6 by network, since one host has as many as it likes.
std::string address_of(const HttpRequest& request) {
  boost::system::error_code error;
  const auto address = asio::ip::make_address(request.peer, error);
  if (error || address.is_v4()) return request.peer;
  if (address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  auto bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t{0});
  return asio::ip::address_v6(bytes).to_string() + "/64";
}

Problem too_many(std::string what, std::chrono::seconds retry_after) {
  return {ProblemCode::RateLimited, std::move(what), {}, retry_after};
}

Problem denied(std::string what) {
  return {ProblemCode::PermissionDenied, std::move(what)};
}

HttpResponse no_content() {
  return {204, "", "", {}};
}

}  // namespace

std::optional<Problem> check_names_are_asked(const AccessContext& context) {
  if (context.api.config.auth.mode != platform::AuthMode::None) return std::nullopt;
  return Problem{ProblemCode::ValidationError,
                 "this cluster asks nobody who they are (auth.mode none): every caller is admin, "
                 "and there is nothing to log in to"};
}

std::string roles_json(Roles roles) {
  std::string text;
  for (const auto name : roles.names()) {
    text += text.empty() ? "\"" : ",\"";
    text.append(name).append("\"");
  }
  return "[" + text + "]";
}

// ---- logging in and out

asio::awaitable<Checked<std::optional<AccessApi::Proof>>> AccessApi::prove(
    directory::LoginSource source, std::string password, Instant deadline) {
  const auto place = context_.passwords.reserve();
  if (!place) co_return too_many("too many log in at once; try again", std::chrono::seconds(1));
  auto beginning = context_.store.begin_login(std::move(source), deadline);
  const auto attempt = co_await std::move(beginning);
  if (!attempt) co_return directory_problem(attempt.error());
  if (const auto wait = attempt.value().wait; wait.count() > 0) {
    co_return too_many("too many failed logins; wait before the next",
                       std::chrono::ceil<std::chrono::seconds>(wait));
  }
  const auto& hash = attempt.value().password_hash;
  auto checking = context_.passwords.check(hash, std::move(password));
  const auto verdict = co_await std::move(checking);
  if (!verdict.is_right) co_return std::optional<Proof>();
  co_return std::optional(Proof{hash, verdict.new_hash});
}

Respond AccessApi::login(HttpRequest request, Note* note) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  Fields fields(body.value());
  const auto name = fields.required_text("name");
  if (!name) co_return to_response(name.error());
  auto password = fields.required_text("password");
  if (!password) co_return to_response(password.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  const Problem wrong{ProblemCode::Unauthenticated, "name or password is wrong"};
  if (password.value().size() > kPasswordBytesMax) co_return to_response(wrong);

  // A name that nobody can have is looked up, too: as one that nobody has.
  const auto [checked, fault] = check_name(name.value());
  const directory::LoginSource source{fault.empty() ? checked : "", address_of(request)};
  if (note != nullptr) note->target = fault.empty() ? checked : "(no name)";
  auto proving = prove(source, std::move(password.value()), deadline.value());
  const auto proof = co_await std::move(proving);
  if (!proof) co_return to_response(proof.error());
  if (!proof.value()) co_return to_response(wrong);

  const auto token = make_token();
  const auto& auth = context_.api.config.auth;
  auto ending = context_.store.end_login({source, proof.value()->hash, proof.value()->new_hash,
                                          hash_of_token(token), auth.session, auth.sessions_max});
  const auto session = co_await std::move(ending);
  if (!session) co_return to_response(directory_problem(session.error()));
  if (!session.value()) co_return to_response(wrong);
  JsonMembers members;
  co_return HttpResponse{200,
                         "application/json",
                         members.plain("token", token)
                             .plain("expires_at", format_rfc3339(session.value()->expires_at))
                             .plain("name", source.name)
                             .raw("roles", roles_json(session.value()->roles))
                             .object(),
                         {{"Cache-Control", "no-store"}}};
}

Respond AccessApi::logout(Caller caller) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  if (caller.how != Caller::How::Session) {
    co_return to_response(denied("an API token does not log out; an admin revokes it"));
  }
  auto ending = context_.store.end_session(caller.token);
  const auto ended = co_await std::move(ending);
  if (!ended) {
    co_return to_response(lost_change(ended.error(), "log out again; an answer of 401 means done"));
  }
  context_.gate.forget(caller.token);
  co_return no_content();
}

Respond AccessApi::whoami(Caller caller) {
  JsonMembers members;
  const auto expires_at =
      caller.expires_at ? json_quoted(format_rfc3339(*caller.expires_at)) : std::string("null");
  co_return HttpResponse{200,
                         "application/json",
                         members.plain("name", caller.name)
                             .raw("roles", roles_json(caller.roles))
                             .raw("expires_at", expires_at)
                             .object(),
                         {}};
}

// ---- passwords

Respond AccessApi::set_password(HttpRequest request, Caller caller, std::string name) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  const auto [checked, fault] = check_name(name);
  const bool is_own = caller.how == Caller::How::Session && caller.name == checked;
  if (!is_own && !caller.roles.has(Role::Admin)) {
    co_return to_response(denied("a password is set by who it belongs to, or by an admin"));
  }
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  Fields fields(body.value());
  auto password = fields.required_text("password");
  if (!password) co_return to_response(password.error());
  auto current = fields.optional_text("current_password");
  if (!current) co_return to_response(current.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  if (is_own != current.value().has_value()) {
    co_return to_response(Problem{
        ProblemCode::ValidationError,
        is_own ? "current_password is missing" : "current_password is for one's own password"});
  }
  if (const auto weakness = find_password_fault(password.value()); !weakness.empty()) {
    co_return to_response(Problem{ProblemCode::ValidationError, "password " + weakness});
  }
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  if (!fault.empty()) co_return to_response(user_not_found(name));
  auto pending =
      is_own
          ? change_own({checked, address_of(request)}, std::move(caller),
                       std::move(*current.value()), std::move(password.value()), deadline.value())
          : store_password({checked, "", "", std::nullopt}, std::move(password.value()));
  co_return co_await std::move(pending);
}

Respond AccessApi::change_own(directory::LoginSource source, Caller caller, std::string current,
                              std::string password, Instant deadline) {
  auto proving = prove(source, std::move(current), deadline);
  const auto proof = co_await std::move(proving);
  if (!proof) co_return to_response(proof.error());
  if (!proof.value()) co_return to_response(denied("current_password is wrong"));
  auto excusing = context_.store.excuse(source);
  const auto excused = co_await std::move(excusing);
  if (!excused) co_return to_response(directory_problem(excused.error()));
  auto storing =
      store_password({source.name, "", proof.value()->hash, caller.token}, std::move(password));
  co_return co_await std::move(storing);
}

// The hash is made here; `password` has none yet.
Respond AccessApi::store_password(directory::NewPassword password, std::string text) {
  const auto place = context_.passwords.reserve();
  if (!place) {
    co_return to_response(
        too_many("too many passwords are looked at; try again", std::chrono::seconds(1)));
  }
  auto hashing = context_.passwords.hash(std::move(text));
  password.hash = co_await std::move(hashing);
  if (password.hash.empty()) co_return to_response(problem_of(FailCode::Overloaded));
  const auto name = password.name;
  const bool is_own = !password.old_hash.empty();
  auto storing = context_.store.set_password(std::move(password));
  const auto stored = co_await std::move(storing);
  if (!stored) {
    co_return to_response(lost_change(stored.error(), "log in with either password to see"));
  }
  if (stored.value()) co_return no_content();
  if (is_own) co_return to_response(denied("current_password is wrong"));
  co_return to_response(user_not_found(name));
}

}  // namespace koshel::coordinator
