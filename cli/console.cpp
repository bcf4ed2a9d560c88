#include "cli/console.hpp"

#include <cstdio>
#include <cstdlib>

#include "base/printable.hpp"
#include "platform/config.hpp"

namespace koshel::cli {
namespace {

constexpr const char* kVersion = "koshel " KOSHEL_VERSION;
constexpr const char* kDefaultServer = "http://127.0.0.1:7400";
constexpr const char* kExitCodes =
    "Exit codes: 0 done; 1 refused, or a check failed; 2 wrong usage or config;\n"
    "3 unavailable, nothing happened, retry; 4 outcome unknown, ask again with the same key.";

ExitCode exit_code_of(Fault fault) {
  switch (fault) {
    case Fault::Retryable:
    case Fault::Unavailable:
    case Fault::Overloaded:
      return ExitCode::Unavailable;
    case Fault::InDoubt:
      return ExitCode::Unknown;
    case Fault::Internal:
      return ExitCode::Usage;
  }
  return ExitCode::Usage;
}

void register_all(CLI::App& app, Console& console) {
  register_init(app, console);
  register_users(app, console);
  register_history(app, console);
  register_transfers(app, console);
  register_shards(app, console);
  register_rebalance(app, console);
  register_rounds(app, console);
  register_audit(app, console);
  register_audit_log(app, console);
  register_sessions(app, console);
  register_access(app, console);
  register_doctor(app, console);
  register_bench(app, console);
  register_certs(app, console);
  register_cluster(app, console);
}

void add_global_options(CLI::App& app, Console& console) {
  app.set_version_flag("--version", kVersion);
  app.add_option("--server", console.server_option,
                 "The coordinator to talk to; by default where the first --config says it "
                 "listens, else http://127.0.0.1:7400.")
      ->type_name("URL")
      ->envname("KOSHEL_SERVER");
  app.add_option("--ca-file", console.ca_file,
                 "For https: the certificate (PEM) of the CA that must have signed the server's; "
                 "by default those that the system knows.")
      ->type_name("FILE")
      ->envname("KOSHEL_CA_FILE");
  app.add_option("--token-file", console.token_file_option,
                 "The token to show to the coordinator, in a file that nobody else may read; by "
                 "default that of the environment's KOSHEL_TOKEN, else what `koshel login` got.")
      ->type_name("FILE");
  app.add_option_function<std::string>(
         "--output",
         [&console](const std::string& word) {
           console.output = word == "json" ? OutputFormat::Json : OutputFormat::Table;
         },
         "How results are printed on stdout (default table); news and errors go to stderr.")
      ->type_name("table|json")
      ->check(CLI::Validator(
          [](const std::string& word) {
            return word == "table" || word == "json" ? std::string()
                                                     : "must be table or json, not '" + word + "'";
          },
          ""));
  app.add_option("--config", console.configs,
                 "A YAML configuration file, such as config/production.yml; may be repeated.")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

// The command as far as it was understood: "koshel user add".
std::string path_of(const CLI::App& command) {
  const auto* parent = command.get_parent();
  return parent == nullptr ? command.get_name() : path_of(*parent) + " " + command.get_name();
}

std::string names_of_commands(const CLI::App& group) {
  std::string names;
  for (const auto* command : group.get_subcommands([](const CLI::App*) { return true; })) {
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return names;
}

// One sentence about wrong usage. A word nobody knows is told first: what else is missing may be
// only its consequence.
std::string sentence_of(const CLI::ParseError& error, const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string path = path_of(*command);
  const std::string names = names_of_commands(*command);
  const auto strangers = app.remaining(true);
  std::string what = error.what();
  if (!strangers.empty() && strangers.front().starts_with('-')) {
    what = "there is no option '" + strangers.front() + "'";
  } else if (!strangers.empty() && !names.empty()) {
    what = "there is no command '" + strangers.front() + "'; there are " + names;
  } else if (!strangers.empty()) {
    what = "nothing is wanted where '" + strangers.front() + "' stands";
  } else if (!names.empty() && dynamic_cast<const CLI::RequiredError*>(&error) != nullptr) {
    what = "a command is wanted: " + names;
  }
  return path + ": " + what + "; `" + path + " --help` shows how";
}

// libpq and PostgreSQL break their sentences over lines.
std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const bool is_space = c == '\n' || c == '\r' || c == '\t' || c == ' ';
    if (!is_space) {
      line += c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

}  // namespace

Failure::Failure(const Error& error)
    : code(exit_code_of(error.fault)), sentence(on_one_line(error.context)) {}

Outcome<std::string> Console::server_url() const {
  if (!server_option.empty()) return server_option;
  if (configs.empty()) return std::string(kDefaultServer);
  KOSHEL_TRY(auto config, platform::load_config(configs.front()));
  std::string host = config.coordinator.listen.host;
  if (host == "0.0.0.0" || host.empty()) host = "127.0.0.1";
  if (host == "::") host = "::1";
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  const auto* scheme = config.coordinator.tls.is_on() ? "https://" : "http://";
  return scheme + host + ":" + std::to_string(config.coordinator.listen.port);
}

void add_examples(CLI::App* command, const std::vector<std::string>& lines) {
  std::string text = "Examples:\n";
  for (const auto& line : lines) text += "  " + line + "\n";
  command->footer(text +
                  "\nGlobal options work here too: --server URL, --output json, --config FILE, "
                  "--token-file FILE, --ca-file FILE.\n" +
                  kExitCodes);
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  group->fallthrough();
  return group;
}

int run_console(int argc, char** argv) {
  Console console;
  if (const char* token = std::getenv("KOSHEL_TOKEN")) {
    console.token_of_environment = token;
    unsetenv("KOSHEL_TOKEN");  // no program that we start is to have it
  }
  CLI::App app(
      "The console of Koshel, an e-wallet on PostgreSQL: users hold money within a minimum and\n"
      "a maximum and transfer it to each other.",
      "koshel");
  app.require_subcommand(1);
  add_global_options(app, console);
  register_all(app, console);
  // After the commands, which would inherit it.
  app.footer(std::string("A first walk, on a cluster of its own:\n"
                         "  koshel cluster up --dir var/walk --port 7450\n"
                         "  export KOSHEL_SERVER=http://127.0.0.1:7450\n"
                         "  koshel user add -n anna --max 1000 -c 100\n"
                         "  koshel user add -n boris --max 1000\n"
                         "  koshel transfer -f anna -t boris 10.50\n"
                         "  koshel history -n anna\n"
                         "  koshel cluster destroy --dir var/walk\n"
                         "  unset KOSHEL_SERVER\n"
                         "\n`koshel COMMAND --help` explains a command with examples.\n") +
             kExitCodes);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "%s\n", printable_lines(sentence_of(error, app)).c_str());
    return static_cast<int>(ExitCode::Usage);
  }
  const Finished finished = console.run();
  std::fflush(stdout);
  if (finished) return static_cast<int>(finished.value());
  std::fprintf(stderr, "koshel: %s\n", printable_lines(finished.error().sentence).c_str());
  return static_cast<int>(finished.error().code);
}

}  // namespace koshel::cli
