// login, logout, whoami, passwd: who the console is for the coordinator. Passwords are asked at the
// terminal or read from stdin; they are never words of the command line, where all may see them.

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/terminal.hpp"
#include "cli/tokens.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kStdinBytesMax = 64 * 1024;
constexpr const char* kUseStdin = "give the password with --password-stdin";

struct LoginOptions {
  std::string name;
  bool is_password_on_stdin = false;
};

struct PasswordOptions {
  std::string name;  // "": one's own
  bool is_password_on_stdin = false;
};

struct NoOptions {};

// Exactly `count` lines, the last one with or without its end: a password is never cut.
Outcome<std::vector<std::string>> read_stdin_lines(std::size_t count) {
  std::string text;
  char buffer[4'096];
  for (ssize_t got = 1; got != 0;) {
    got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno != EINTR) return Failure(ExitCode::Usage, "stdin cannot be read");
    if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
    if (text.size() > kStdinBytesMax) return Failure(ExitCode::Usage, "stdin holds no password");
  }
  if (text.ends_with('\n')) text.pop_back();
  std::vector<std::string> lines;
  for (std::size_t from = 0; from <= text.size();) {
    const auto end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    from = end + 1;
  }
  if (lines.size() == count) return lines;
  return Failure(ExitCode::Usage, "--password-stdin wants " + std::to_string(count) +
                                      (count == 1 ? " line" : " lines") + " on stdin, not " +
                                      std::to_string(lines.size()));
}

Outcome<std::string> password_for_login(const LoginOptions& options, const std::string& name) {
  if (!options.is_password_on_stdin) return ask_secret("Password of " + name + ": ", kUseStdin);
  KOSHEL_TRY(auto lines, read_stdin_lines(1));
  return std::move(lines[0]);
}

void print_identity(const Console& console, const json::value& who) {
  if (console.is_json()) {
    json::object shown;
    for (const auto* member : {"name", "roles", "expires_at"}) {
      if (const auto* value = who.as_object().if_contains(member)) shown[member] = *value;
    }
    return print_line(json::serialize(shown));
  }
  Table table({{"name"}, {"roles"}, {"until"}});
  table.add({text_of(who, "name"), list_of(who, "roles"), text_of(who, "expires_at")});
  table.print();
}

Finished run_login(const Console& console, const LoginOptions& options) {
  KOSHEL_TRY(auto url, console.server_url());
  KOSHEL_TRY(check_fit_for_secrets(url));
  KOSHEL_TRY(auto client, ApiClient::open(url, console.tls()));
  std::string name = options.name;
  if (name.empty()) {
    KOSHEL_TRY(auto answer, ask_line("Name: ", "give the name with -n NAME"));
    name = std::move(answer);
  }
  KOSHEL_TRY(auto password, password_for_login(options, name));
  const ApiCall call{.method = "POST",
                     .path = "/v1/login",
                     .body = json::serialize(json::object{{"name", name}, {"password", password}})};
  auto reply = client.attempt(call);
  // A login that nobody got an answer to leaves nothing behind but a session that ends by itself.
  if (!reply && reply.error().fault == Fault::InDoubt) {
    return Failure(ExitCode::Unavailable, "no answer from " + url + "; log in again");
  }
  if (!reply) return failure_of(reply.error(), call, url);
  if (!reply.value().is_success()) return plain_failure_of(reply.value());
  KOSHEL_TRY(keep_token(console, url, text_of(reply.value().json, "token")));
  print_identity(console, reply.value().json);
  if (console.token_file_option.empty() && !console.token_of_environment.empty()) {
    say("KOSHEL_TOKEN is set and goes before this login; unset it to be " + name);
  }
  return ExitCode::Done;
}

struct LogoutOptions {
  std::string name;
};

Finished end_sessions(const Console& console, ApiClient& client, const std::string& name) {
  KOSHEL_TRY(client.call(
      {.method = "DELETE", .path = "/v1/admin/sessions/" + platform::percent_encode(name)}));
  if (console.is_json()) print_line("{}");
  say("all sessions of " + name + " have ended");
  return ExitCode::Done;
}

Finished run_logout(const Console& console, const LogoutOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  if (!options.name.empty()) return end_sessions(console, client, options.name);
  if (client.token().empty()) {
    return Failure(ExitCode::Refused, "nobody is logged in to " + client.server());
  }
  const ApiCall call{.method = "POST", .path = "/v1/logout"};
  auto reply = client.attempt(call);
  if (!reply) return failure_of(reply.error(), call, client.server());
  const bool is_dead = reply.value().is_success() || reply.value().status == 401;
  if (!is_dead) return failure_of(reply.value(), call);
  if (!console.token_file_option.empty() || console.token_of_environment.empty()) {
    KOSHEL_TRY(forget_token(console, client.server()));
  }
  if (console.is_json()) print_line("{}");
  say("logged out of " + client.server());
  return ExitCode::Done;
}

Outcome<ApiReply> ask_who(ApiClient& client) {
  KOSHEL_TRY(auto reply, client.call({.path = "/v1/whoami"}));
  if (reply.json.is_object()) return reply;
  return Failure(ExitCode::Unavailable, client.server() + " did not say who asks");
}

Finished run_whoami(const Console& console, const NoOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto who, ask_who(client));
  print_identity(console, who.json);
  return ExitCode::Done;
}

struct NewPassword {
  std::string current;  // "" when it is somebody else's
  std::string fresh;
};

enum class Whose { Own, Others };

Outcome<NewPassword> ask_new_password(const PasswordOptions& options, const std::string& name,
                                      Whose whose) {
  NewPassword password;
  if (options.is_password_on_stdin) {
    KOSHEL_TRY(auto lines, read_stdin_lines(whose == Whose::Own ? 2 : 1));
    password.fresh = std::move(lines.back());
    if (whose == Whose::Own) password.current = std::move(lines.front());
    return password;
  }
  if (whose == Whose::Own) {
    KOSHEL_TRY(auto current, ask_secret("Current password of " + name + ": ", kUseStdin));
    password.current = std::move(current);
  }
  KOSHEL_TRY(auto fresh, ask_secret("New password of " + name + ": ", kUseStdin));
  KOSHEL_TRY(auto repeated, ask_secret("The same again: ", kUseStdin));
  if (fresh != repeated) {
    return Failure(ExitCode::Usage, "the two are not the same; nothing was changed");
  }
  password.fresh = std::move(fresh);
  return password;
}

Finished run_passwd(const Console& console, const PasswordOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(check_fit_for_secrets(client.server()));
  KOSHEL_TRY(auto who, ask_who(client));
  const auto own_name = text_of(who.json, "name");
  const auto name = options.name.empty() ? own_name : options.name;
  const auto whose = name == own_name ? Whose::Own : Whose::Others;
  KOSHEL_TRY(auto password, ask_new_password(options, name, whose));
  json::object body{{"password", password.fresh}};
  if (whose == Whose::Own) body["current_password"] = password.current;
  const ApiCall call{
      .method = "PUT", .path = user_path(name) + "/password", .body = json::serialize(body)};
  auto reply = client.attempt(call);
  if (!reply && reply.error().fault == Fault::InDoubt) {
    return Failure(ExitCode::Unknown,
                   "no answer came, so it may have been done: try to log in with the new one");
  }
  if (!reply) return failure_of(reply.error(), call, client.server());
  if (!reply.value().is_success()) return plain_failure_of(reply.value());
  if (console.is_json()) print_line("{}");
  say("the password of " + name + " is changed; other sessions of " + name + " have ended");
  return ExitCode::Done;
}

}  // namespace

void register_sessions(CLI::App& app, Console& console) {
  auto login = std::make_shared<LoginOptions>();
  auto* command = add_command(
      app, console, "login",
      "Logs in to the coordinator; later commands to the same --server are then yours.\n"
      "The password is asked at the terminal and not shown. The token that comes back is kept in\n"
      "$XDG_STATE_HOME/koshel (else ~/.local/state/koshel), or in --token-file FILE, for you only.",
      login, run_login);
  command->add_option("-n,--name", login->name, "Who you are (default asked).")->type_name("NAME");
  command->add_flag("--password-stdin", login->is_password_on_stdin,
                    "Read the password from stdin, one line (default asked).");
  add_examples(command,
               {"koshel login -n anna", "koshel --server https://10.0.0.5:7400 login -n anna",
                "pass show koshel/anna | koshel login -n anna --password-stdin"});

  auto logout = std::make_shared<LogoutOptions>();
  command =
      add_command(app, console, "logout",
                  "Ends your session: its token is dead within 5 seconds, everywhere.\n"
                  "As an admin all sessions of somebody else, whose token may be in wrong hands.",
                  logout, run_logout);
  command->add_option("-n,--name", logout->name, "Whose sessions (default this one of yours).")
      ->type_name("NAME");
  add_examples(command, {"koshel logout", "koshel logout -n anna"});

  command = add_command(app, console, "whoami",
                        "Shows whom the coordinator takes you for, your roles, and until when.",
                        std::make_shared<NoOptions>(), run_whoami);
  add_examples(command, {"koshel whoami", "koshel --output json whoami"});

  auto passwd = std::make_shared<PasswordOptions>();
  command = add_command(app, console, "passwd",
                        "Changes a password: your own, for which the current one is asked, or as "
                        "an admin anybody's.\n"
                        "8 to 1024 characters of any script. The user's other sessions end.",
                        passwd, run_passwd);
  command->add_option("-n,--name", passwd->name, "Whose (default your own).")->type_name("NAME");
  command->add_flag("--password-stdin", passwd->is_password_on_stdin,
                    "Read from stdin (default asked) the current password, if it is your own, and "
                    "the new one, each a line.");
  add_examples(command, {"koshel passwd", "koshel passwd -n anna",
                         "pwgen -s 20 1 | tee /dev/tty | koshel passwd -n anna --password-stdin"});
}

}  // namespace koshel::cli
