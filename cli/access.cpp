// token create / list / revoke, roles set: what an admin decides about who may do what.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>

#include "base/time.hpp"
#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr const char* kTokensPath = "/v1/admin/tokens";
constexpr const char* kRolesHelp = "user, teller, auditor or admin; several may be given.";
constexpr std::chrono::days kExpiryMax{36'500};  // beyond, calendars overflow
constexpr const char* kEverybodysRole = "user";

struct CreateOptions {
  std::string label, expires;
  std::vector<std::string> roles;
};

struct ListOptions {};

struct RevokeOptions {
  std::string id;
};

struct RolesOptions {
  std::string name;
  std::vector<std::string> roles;
};

json::array as_json(const std::vector<std::string>& words) {
  return json::array(words.begin(), words.end());
}

// "90d", "12h", "30m" from now on; anything else is a time, and the server's to judge.
std::string expiry_of(const std::string& text) {
  int count = 0;
  const char* end = text.data() + text.size();
  const auto [rest, fault] = std::from_chars(text.data(), end, count);
  if (fault != std::errc() || count <= 0 || rest + 1 != end) return text;
  std::chrono::minutes span{0};
  if (*rest == 'd') span = std::chrono::days(count);
  if (*rest == 'h') span = std::chrono::hours(count);
  if (*rest == 'm') span = std::chrono::minutes(count);
  if (span.count() == 0 || span > kExpiryMax) return text;
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  return format_rfc3339(Timestamp(now + span));
}

Finished run_create(const Console& console, const CreateOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  json::object body{{"label", options.label}, {"roles", as_json(options.roles)}};
  if (!options.expires.empty()) body["expires_at"] = expiry_of(options.expires);
  const ApiCall call{.method = "POST", .path = kTokensPath, .body = json::serialize(body)};
  auto reply = client.call(call);
  if (!reply && reply.error().code == ExitCode::Unknown) {
    return Failure(ExitCode::Unknown,
                   "no answer came, so there may be a token that nobody knows: look with `koshel "
                   "token list`, and revoke it");
  }
  if (!reply) return reply.error();
  const auto& token = reply.value().json;
  if (console.is_json()) {
    print_json(reply.value());
  } else {
    print_line(text_of(token, "token"));
  }
  say("token " + text_of(token, "id") + " (" + options.label +
      ") is shown only now; `koshel token revoke " + text_of(token, "id") + "` ends it");
  return ExitCode::Done;
}

void add_token_row(Table& table, const json::value& token) {
  table.add({text_of(token, "id"), text_of(token, "label"), list_of(token, "roles"),
             text_of(token, "created_by"), text_of(token, "created_at"),
             text_of(token, "expires_at")});
}

Finished run_list(const Console& console, const ListOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  Table table(
      {{"id", Table::Align::Right}, {"label"}, {"roles"}, {"made by"}, {"made"}, {"until"}});
  KOSHEL_TRY(print_items(console, client, {.path = kTokensPath}, table, add_token_row));
  return ExitCode::Done;
}

Finished run_revoke(const Console& console, const RevokeOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(client.tell(
      {.method = "DELETE", .path = kTokensPath + ("/" + platform::percent_encode(options.id))}));
  if (console.is_json()) print_line(json::serialize(json::object{{"revoked", options.id}}));
  say("token " + options.id + " is dead within 5 seconds, everywhere");
  return ExitCode::Done;
}

Finished run_set_roles(const Console& console, const RolesOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  auto roles = options.roles;
  std::erase(roles, kEverybodysRole);  // it is nobody's to give
  const json::object body{{"roles", as_json(roles)}};
  KOSHEL_TRY(auto reply,
             client.call({.method = "PUT",
                          .path = "/v1/admin/roles/" + platform::percent_encode(options.name),
                          .body = json::serialize(body)}));
  if (console.is_json()) print_json(reply);
  say(options.name + " has " + (roles.empty() ? "no role" : list_of(reply.json, "roles")) +
      " beside user, which everybody has");
  return ExitCode::Done;
}

void register_token_group(CLI::App& app, Console& console) {
  CLI::App* group =
      add_group(app, "token", "Makes, lists and revokes API tokens, for services (admin).");
  add_examples(
      group, {"koshel token create --label shop --role teller --expires 90d", "koshel token list"});
  auto create = std::make_shared<CreateOptions>();
  auto* command = add_command(
      *group, console, "create",
      "Makes an API token and prints it, alone on stdout, this once. A service shows it "
      "as\n`Authorization: Bearer TOKEN`; the console takes it from --token-file or "
      "KOSHEL_TOKEN.",
      create, run_create);
  command->add_option("--label", create->label, "What it is for, for people.")
      ->required()
      ->type_name("TEXT");
  command
      ->add_option("--role", create->roles,
                   "What it may do: teller, auditor or admin; several may be given. (user is "
                   "taken, and of no use to a token: it owns no account.)")
      ->required()
      ->type_name("ROLE");
  command
      ->add_option(
          "--expires", create->expires,
          "Until when: 90d, 12h, 30m from now, or 2030-01-31T00:00:00Z (default for ever).")
      ->type_name("WHEN");
  add_examples(command, {"koshel token create --label shop --role teller --expires 90d",
                         "(umask 077; koshel token create --label backup --role auditor > token)",
                         "koshel --token-file token audit"});
  command = add_command(*group, console, "list",
                        "Lists the API tokens; the tokens themselves are "
                        "stored nowhere.",
                        std::make_shared<ListOptions>(), run_list);
  add_examples(command, {"koshel token list", "koshel --output json token list"});
  auto revoke = std::make_shared<RevokeOptions>();
  command =
      add_command(*group, console, "revoke",
                  "Ends a token; it is dead within 5 seconds, everywhere.", revoke, run_revoke);
  command->add_option("ID", revoke->id, "Its number in `koshel token list`.")
      ->required()
      ->type_name("");
  add_examples(command, {"koshel token revoke 7"});
}

}  // namespace

void register_access(CLI::App& app, Console& console) {
  register_token_group(app, console);
  CLI::App* group = add_group(app, "roles", "Says who may do more than use their own account.");
  add_examples(group, {"koshel roles set -n tina teller"});
  auto options = std::make_shared<RolesOptions>();
  auto* command = add_command(
      *group, console, "set",
      "Gives a name exactly these roles, and takes away what it had (admin).\n"
      "\n"
      "  user     their own account: read it, its history, pay from it; everybody has this one\n"
      "  teller   create users, deposit, withdraw, change limits, freeze\n"
      "  auditor  read everything, run the audit\n"
      "  admin    everything",
      options, run_set_roles);
  command->add_option("-n,--name", options->name, "Whose.")->required()->type_name("NAME");
  command->add_option("ROLE", options->roles, kRolesHelp)->required()->type_name("");
  add_examples(command,
               {"koshel roles set -n anna teller auditor", "koshel roles set -n anna user"});
}

}  // namespace koshel::cli
