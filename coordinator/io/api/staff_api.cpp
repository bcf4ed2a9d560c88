#include "coordinator/io/api/staff_api.hpp"

#include <charconv>
#include <chrono>

#include "base/name.hpp"
#include "coordinator/io/api/body.hpp"
#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"

namespace koshel::coordinator {

using platform::HttpRequest;
using platform::HttpResponse;

namespace {

constexpr std::string_view kHowToSeeTokens = "list the tokens, and revoke one you did not get";

Problem invalid(std::string what) {
  return {ProblemCode::ValidationError, std::move(what)};
}

Checked<Roles> read_roles(Fields& fields, Roles allowed) {
  KOSHEL_TRY(const auto words, fields.required_texts("roles"));
  Roles roles;
  for (const auto& word : words) {
    const auto role = directory::find_role(word);
    if (!role || !allowed.has(*role)) {
      std::string names;
      for (const auto name : allowed.names()) names.append(names.empty() ? "" : ", ").append(name);
      return invalid("roles may hold " + names + ", not '" + word + "'");
    }
    roles.add(*role);
  }
  return roles;
}

Checked<std::string> check_label(const std::string& text) {
  if (const auto fault = find_label_fault(text); !fault.empty()) return invalid("label " + fault);
  return text;
}

Checked<std::optional<Timestamp>> read_expiry(Fields& fields) {
  KOSHEL_TRY(const auto text, fields.optional_text("expires_at"));
  if (!text) return std::optional<Timestamp>();
  const auto at = parse_rfc3339(*text);
  if (!at) return invalid("expires_at must be a time in UTC such as \"2030-01-31T00:00:00Z\"");
  // In microseconds: the clock's own unit ends in the year 2262.
  if (*at <= std::chrono::floor<std::chrono::microseconds>(std::chrono::system_clock::now())) {
    return invalid("expires_at has passed");
  }
  return at;
}

std::string token_json(const directory::ApiToken& token, std::string_view secret = "") {
  JsonMembers members;
  members.number("id", token.id);
  if (!secret.empty()) members.plain("token", secret);
  return members.text("label", token.label)
      .raw("roles", roles_json(token.roles))
      .text("created_by", token.created_by)
      .plain("created_at", format_rfc3339(token.created_at))
      .raw("expires_at", token.expires_at ? json_quoted(format_rfc3339(*token.expires_at)) : "null")
      .object();
}

}  // namespace

Respond StaffApi::set_roles(HttpRequest request, std::string name) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  if (const auto problem = check_kept_here(
          context_, "roles come from groups in LDAP here (auth.ldap.groups): change those")) {
    co_return to_response(*problem);
  }
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  const auto checked = to_user_name("name", name);
  if (!checked) co_return to_response(checked.error());
  Fields fields(body.value());
  const auto roles = read_roles(fields, {Role::Teller, Role::Auditor, Role::Admin});
  if (!roles) co_return to_response(roles.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  auto setting = context_.store.set_roles(checked.value(), roles.value(), deadline.value());
  const auto set = co_await std::move(setting);
  if (!set) co_return to_response(lost_change(set.error(), "set the roles again"));
  context_.gate.forget_all();
  JsonMembers members;
  co_return HttpResponse{
      200,
      "application/json",
      members.plain("name", checked.value()).raw("roles", roles_json(roles.value())).object(),
      {}};
}

Respond StaffApi::add_token(HttpRequest request, Caller caller) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  const auto body = read_body(request);
  if (!body) co_return to_response(body.error());
  Fields fields(body.value());
  const auto raw_label = fields.required_text("label");
  if (!raw_label) co_return to_response(raw_label.error());
  const auto label = check_label(raw_label.value());
  if (!label) co_return to_response(label.error());
  const auto roles = read_roles(fields, Roles::all());
  if (!roles) co_return to_response(roles.error());
  if (roles.value().is_empty()) co_return to_response(invalid("roles must hold one at least"));
  const auto expires_at = read_expiry(fields);
  if (!expires_at) co_return to_response(expires_at.error());
  if (auto unknown = fields.find_unknown()) co_return to_response(*unknown);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());

  const auto secret = make_token();
  directory::NewApiToken token{label.value(), roles.value(), hash_of_token(secret), caller.name,
                               expires_at.value()};
  auto adding = context_.store.add_token(std::move(token), deadline.value());
  const auto added = co_await std::move(adding);
  if (!added) co_return to_response(lost_change(added.error(), kHowToSeeTokens));
  co_return HttpResponse{
      201, "application/json", token_json(added.value(), secret), {{"Cache-Control", "no-store"}}};
}

Respond StaffApi::list_tokens(HttpRequest request) {
  const auto page = page_of(request, {});
  if (!page) co_return to_response(page.error());
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  std::int64_t after = 0;
  if (page.value().cursor) {
    const auto id = read_cursor(*page.value().cursor, "tokens");
    if (!id) co_return to_response(id.error());
    after = id.value().front();
  }
  const int limit = page.value().limit;
  auto pending = context_.store.tokens_after(after, limit + 1, deadline.value());
  auto tokens = co_await std::move(pending);
  if (!tokens) co_return to_response(directory_problem(tokens.error()));
  const bool has_more = static_cast<int>(tokens.value().size()) > limit;
  if (has_more) tokens.value().pop_back();
  std::string items;
  for (const auto& token : tokens.value()) {
    items += (items.empty() ? "" : ",") + token_json(token);
  }
  std::optional<std::string> next;
  if (has_more) next = write_cursor("tokens", {tokens.value().back().id});
  co_return page_response(items, next);
}

Respond StaffApi::remove_token(HttpRequest request, std::string text) {
  const Problem not_found{ProblemCode::NotFound, "there is no API token with this id"};
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) co_return to_response(not_found);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  auto removing = context_.store.remove_token(id, deadline.value());
  const auto removed = co_await std::move(removing);
  if (!removed) co_return to_response(lost_change(removed.error(), "list the tokens to see"));
  if (!removed.value()) co_return to_response(not_found);
  context_.gate.forget_all();
  co_return HttpResponse{204, "", "", {}};
}

Respond StaffApi::end_sessions(HttpRequest request, std::string name) {
  if (const auto problem = check_names_are_asked(context_)) co_return to_response(*problem);
  const auto deadline = deadline_of(context_.api, request);
  if (!deadline) co_return to_response(deadline.error());
  const auto [checked, fault] = check_name(name);
  if (!fault.empty()) co_return to_response(user_not_found(name));
  auto ending = context_.store.end_sessions(checked, deadline.value());
  const auto ended = co_await std::move(ending);
  if (!ended) co_return to_response(lost_change(ended.error(), "end them again"));
  if (!ended.value()) co_return to_response(user_not_found(checked));
  context_.gate.forget_all();
  co_return HttpResponse{204, "", "", {}};
}

}  // namespace koshel::coordinator
