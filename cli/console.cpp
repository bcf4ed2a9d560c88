#include "cli/console.hpp"

#include <cstdio>

#include "platform/config.hpp"

namespace koshel::cli {
namespace {

constexpr const char* kVersion = "koshel " KOSHEL_VERSION;
constexpr const char* kDefaultServer = "http://127.0.0.1:7400";

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
  register_rounds(app, console);
  register_doctor(app, console);
  register_bench(app, console);
  register_cluster(app, console);
}

void add_global_options(CLI::App& app, Console& console) {
  app.set_version_flag("--version", kVersion);
  app.add_option("--server", console.server_option,
                 "the coordinator's URL (default http://127.0.0.1:7400)")
      ->envname("KOSHEL_SERVER");
  app.add_option("--output", console.output, "table (default) or json")
      ->type_name("table|json")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, OutputFormat>{
                                      {"table", OutputFormat::Table}, {"json", OutputFormat::Json}})
              .description(""));
  app.add_option("--config", console.configs, "a YAML configuration file")
      ->type_name("FILE")
      ->allow_extra_args(false);
}

}  // namespace

Failure::Failure(const Error& error) : code(exit_code_of(error.fault)), sentence(error.context) {}

Outcome<std::string> Console::server_url() const {
  if (!server_option.empty()) return server_option;
  if (configs.empty()) return std::string(kDefaultServer);
  KOSHEL_TRY(auto config, platform::load_config(configs.front()));
  std::string host = config.coordinator.listen.host;
  if (host == "0.0.0.0" || host.empty()) host = "127.0.0.1";
  if (host == "::") host = "[::1]";
  return "http://" + host + ":" + std::to_string(config.coordinator.listen.port);
}

CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& description) {
  CLI::App* group = parent.add_subcommand(name, description);
  group->require_subcommand(1);
  group->fallthrough();
  return group;
}

int run_console(int argc, char** argv) {
  Console console;
  CLI::App app("Koshel: an e-wallet on PostgreSQL", "koshel");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done; 1 refused, or a check failed; 2 wrong usage or config;\n"
      "3 unavailable, nothing happened, retry; 4 outcome unknown, ask again with the same key.");
  add_global_options(app, console);
  register_all(app, console);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::Usage);
  }
  const Finished finished = console.run();
  std::fflush(stdout);
  if (finished) return static_cast<int>(finished.value());
  std::fprintf(stderr, "koshel: %s\n", finished.error().sentence.c_str());
  return static_cast<int>(finished.error().code);
}

}  // namespace koshel::cli
