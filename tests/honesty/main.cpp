// Runs the same random scripts on the model of PostgreSQL and on a real server.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <cstdio>

#include "tests/honesty/script.hpp"

namespace {

using namespace koshel;
using honesty::Side;

struct Options {
  std::uint64_t seed = 1;
  std::uint64_t scripts = 100;
  double seconds = 0;
  bool is_logged = false;
  std::string host = "127.0.0.1";
  std::string port;
  std::string user = "koshel";
  std::string shard = "shard";
  std::string directory = "directory";
};

honesty::Postgres connect(const Options& options, const std::string& database, Side side) {
  platform::DatabaseConfig config;
  config.host = options.host;
  config.port = options.port;
  config.user = options.user;
  config.database = database;
  return honesty::Postgres(config, side);
}

void print(const honesty::Tally& tally) {
  std::printf("scripts %" PRId64 ", steps %" PRId64 "\n", tally.scripts, tally.steps);
  for (const auto& [what, count] : tally.outcomes) {
    std::printf("  %-36s %8" PRId64 "\n", what.c_str(), count);
  }
}

void print(const honesty::Script& script) {
  for (const auto& line : script.text()) std::printf("%s\n", line.c_str());
}

bool run(const Options& options, honesty::Tally& tally) {
  auto shard = connect(options, options.shard, Side::Shard);
  auto directory = connect(options, options.directory, Side::Directory);
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::duration<double>(options.seconds);
  for (std::uint64_t i = 0;; ++i) {
    const bool is_over =
        options.seconds > 0 ? std::chrono::steady_clock::now() >= end : i >= options.scripts;
    if (is_over) return true;
    const auto seed = options.seed + i;
    const auto side = seed % 2 == 0 ? Side::Shard : Side::Directory;
    honesty::Script script(seed, side, side == Side::Shard ? shard : directory, tally);
    const auto difference = script.run();
    if (options.is_logged || !difference.empty()) print(script);
    if (difference.empty()) continue;
    std::printf("%sseed %" PRIu64 ": the model and PostgreSQL differ\n", difference.c_str(), seed);
    return false;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs random scripts of what Koshel does with its databases on the simulator's model of\n"
      "PostgreSQL and on a real server, and compares every result and row. The server is the\n"
      "caller's own: its two databases are emptied, and it is made to crash.");
  Options options;
  app.add_option("--seed", options.seed, "of the first script; even ones run on the shard");
  app.add_option("--scripts", options.scripts, "how many")->capture_default_str();
  app.add_option("--seconds", options.seconds, "as many scripts as go into this time");
  app.add_flag("--log", options.is_logged, "prints every step");
  app.add_option("--host", options.host)->capture_default_str();
  app.add_option("--port", options.port)->required();
  app.add_option("--user", options.user, "a superuser")->capture_default_str();
  app.add_option("--shard", options.shard, "a database for it")->capture_default_str();
  app.add_option("--directory", options.directory, "another one")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  honesty::Tally tally;
  const bool do_agree = run(options, tally);
  print(tally);
  return do_agree ? 0 : 1;
}
