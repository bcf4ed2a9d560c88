#include "coordinator/io/api/access_api.hpp"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/logic/password_rules.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

constexpr auto kLdapRefusal = std::chrono::milliseconds(500);  // how long one takes at least
constexpr std::size_t kPasswordBytesMax = std::size_t{kPasswordCharactersMax} * 4;
// Far beyond any name and password: nobody has to log in to have it parsed.
constexpr std::size_t kLoginBytesMax = 128 * 1024;

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

std::optional<Problem> check_kept_here(const AccessContext& context, std::string_view what) {
  if (context.ldap == nullptr) return std::nullopt;
  return Problem{ProblemCode::ValidationError, std::string(what)};
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

asio::awaitable<Checked<directory::LoginAttempt>> AccessApi::begin(directory::LoginSource source,
                                                                   bool has_place,
                                                                   Instant deadline) {
  if (!has_place) co_return too_many("too many log in at once; try again", std::chrono::seconds(1));
  auto beginning = context_.store.begin_login(std::move(source), deadline);
  auto attempt = co_await std::move(beginning);
  if (!attempt) co_return directory_problem(attempt.error());
  if (const auto wait = attempt.value().wait; wait.count() > 0) {
    co_return too_many("too many failed logins; wait before the next",
                       std::chrono::ceil<std::chrono::seconds>(wait));
  }
  co_return std::move(attempt.value());
}

AccessApi::Proven<directory::PasswordProof> AccessApi::prove(platform::WorkPool::Place place,
                                                             directory::LoginSource source,
                                                             std::string password,
                                                             Instant deadline) {
  auto beginning = begin(std::move(source), place != nullptr, deadline);
  const auto begun = co_await std::move(beginning);
  if (!begun) co_return begun.error();
  const auto& attempt = begun.value();
  auto checking = context_.passwords.check(std::move(place), attempt, std::move(password));
  const auto verdict = co_await std::move(checking);
  if (!verdict.is_right) co_return std::optional<directory::PasswordProof>();
  co_return std::optional(
      directory::PasswordProof{attempt.password_version, attempt.password_hash, verdict.new_hash});
}

AccessApi::Proven<directory::Session> AccessApi::open_by_password(directory::NewSession session,
                                                                  std::string password,
                                                                  Instant deadline) {
  auto place = context_.passwords.reserve_for_stranger(session.source.address);
  auto proving = prove(std::move(place), session.source, std::move(password), deadline);
  const auto proof = co_await std::move(proving);
  if (!proof) co_return proof.error();
  if (!proof.value()) co_return std::optional<directory::Session>();
  auto ending = context_.store.end_login(std::move(session), *proof.value(), deadline);
  const auto opened = co_await std::move(ending);
  if (!opened) co_return directory_problem(opened.error());
  co_return opened.value();
}

AccessApi::Proven<directory::Session> AccessApi::open_by_ldap(directory::NewSession session,
                                                              std::string password,
                                                              Instant deadline) {
  auto place = context_.ldap->reserve_for_stranger(session.source.address);
  auto beginning = begin(session.source, place != nullptr, deadline);
  const auto attempt = co_await std::move(beginning);
  if (!attempt) co_return attempt.error();
  const auto asked = std::chrono::steady_clock::now();
  const auto alike_at = asked + kLdapRefusal;
  const auto until = std::max(deadline, alike_at);
  std::optional<Roles> roles;
  // To a server a bind without a password is an anonymous one, and succeeds.
  if (!session.source.name.empty() && !password.empty()) {
    auto proving =
        context_.ldap->prove(std::move(place), session.source.name, std::move(password), until);
    const auto proof = co_await std::move(proving);
    // Whoever leaves LDAP no time for an answer would have any number of attempts.
    const auto& config = context_.api.config;
    const bool had_time = until - asked >= std::min(config.auth.ldap.operation_timeout,
                                                    config.coordinator.deadline / 2);
    if (!proof && had_time) {
      auto excusing = context_.store.excuse(session.source);
      const auto excused = co_await std::move(excusing);
      if (!excused) co_return directory_problem(excused.error());
    }
    if (!proof) co_return proof.error();
    roles = proof.value();
  }
  if (!roles) {
    // A name that is unknown is found out sooner than a password that is wrong; nobody sees it.
    asio::steady_timer alike(co_await asio::this_coro::executor, alike_at);
    co_await alike.async_wait(asio::use_awaitable);
    co_return std::optional<directory::Session>();
  }
  const auto age =
      std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked);
  auto ending = context_.store.end_ldap_login(std::move(session), {*roles, age}, until);
  const auto opened = co_await std::move(ending);
  if (!opened) co_return directory_problem(opened.error());
  co_return std::optional(opened.value());
}

Respond AccessApi::login(HttpRequest request, Note* note) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  if (request.body.size() > kLoginBytesMax) {
    co_return to_response(Problem{ProblemCode::PayloadTooLarge, "a login has 128 KiB at most"});
  }
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
  const auto token = make_token();
  const auto& auth = context_.api.config.auth;
  directory::NewSession wish{source, hash_of_token(token), auth.session, auth.sessions_max};
  auto opening =
      context_.ldap != nullptr
          ? open_by_ldap(std::move(wish), std::move(password.value()), deadline.value())
          : open_by_password(std::move(wish), std::move(password.value()), deadline.value());
  const auto session = co_await std::move(opening);
  // What could not be looked at leaves no row, else who calls again and again would fill the trail.
  if (note != nullptr) note->is_wanted = session.has_value();
  if (!session) co_return to_response(session.error());
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

Respond AccessApi::logout(HttpRequest request, Caller caller) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  if (caller.how != Caller::How::Session) {
    co_return to_response(denied("an API token does not log out; an admin revokes it"));
  }
  auto ending = context_.store.end_session(caller.token, deadline.value());
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
                         members.text("name", caller.name)
                             .raw("roles", roles_json(caller.roles))
                             .raw("expires_at", expires_at)
                             .object(),
                         {}};
}

// ---- passwords

Respond AccessApi::set_password(HttpRequest request, Caller caller, std::string name) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  if (const auto problem = check_kept_here(
          context_, "passwords are LDAP's here (auth.mode ldap): change them there")) {
    co_return to_response(*problem);
  }
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
  auto pending = is_own ? change_own({checked, address_of(request)}, std::move(caller),
                                     std::move(*current.value()), std::move(password.value()),
                                     deadline.value())
                        : store_password({checked, "", std::nullopt, std::nullopt},
                                         std::move(password.value()), deadline.value());
  co_return co_await std::move(pending);
}

Respond AccessApi::change_own(directory::LoginSource source, Caller caller, std::string current,
                              std::string password, Instant deadline) {
  auto proving = prove(context_.passwords.reserve(), source, std::move(current), deadline);
  const auto proof = co_await std::move(proving);
  if (!proof) co_return to_response(proof.error());
  if (!proof.value()) co_return to_response(denied("current_password is wrong"));
  auto excusing = context_.store.excuse(source);
  const auto excused = co_await std::move(excusing);
  if (!excused) co_return to_response(directory_problem(excused.error()));
  auto storing = store_password({source.name, "", proof.value()->version, caller.token},
                                std::move(password), deadline);
  co_return co_await std::move(storing);
}

// The hash is made here; `password` has none yet.
Respond AccessApi::store_password(directory::NewPassword password, std::string text,
                                  Instant deadline) {
  auto place = context_.passwords.reserve();
  if (!place) {
    co_return to_response(
        too_many("too many passwords are looked at; try again", std::chrono::seconds(1)));
  }
  auto hashing = context_.passwords.hash(std::move(place), std::move(text));
  password.hash = co_await std::move(hashing);
  if (password.hash.empty()) co_return to_response(problem_of(FailCode::Overloaded));
  const auto name = password.name;
  const bool is_own = password.old_version.has_value();
  auto storing = context_.store.set_password(std::move(password), deadline);
  const auto stored = co_await std::move(storing);
  if (!stored) {
    co_return to_response(lost_change(stored.error(), "log in with either password to see"));
  }
  if (stored.value()) {
    context_.gate.forget_all();
    co_return no_content();
  }
  if (is_own) co_return to_response(denied("current_password is wrong"));
  co_return to_response(user_not_found(name));
}

}  // namespace koshel::coordinator
