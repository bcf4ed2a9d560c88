// koshel-shard-agent: reads the config, checks the shard's database, serves until it is told to
// stop.

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <iostream>
#include <thread>

#include "platform/config.hpp"
#include "platform/http.hpp"
#include "platform/log.hpp"
#include "platform/postgres.hpp"
#include "platform/spawn.hpp"
#include "platform/stop_signal.hpp"
#include "shard-agent/io/agent_api.hpp"
#include "shard-agent/io/agent_service.hpp"

namespace {

namespace asio = boost::asio;
using namespace koshel;

constexpr int kBadConfig = 2;

struct Found {
  agent::Identity identity;
  agent::ServerLimits server;
};

Result<Found> look_at(const platform::Config& config) {
  KOSHEL_TRY(auto connection, platform::connect(config.shard, "koshel-agent-start"));
  return platform::guarded([&]() -> Result<Found> {
    KOSHEL_TRY(const auto server, agent::check_server(*connection));
    KOSHEL_TRY(auto identity, agent::read_identity(*connection, config.cluster, config.shard_name));
    return Found{std::move(identity), server};
  });
}

// Waits for a database that is not there yet, but not for one that is wrong.
Result<agent::AgentService::Setup> prepare_setup(platform::Config config) {
  constexpr auto kPause = std::chrono::milliseconds(500);
  for (;;) {
    auto found = look_at(config);
    if (found) {
      auto& [identity, server] = found.value();
      return agent::AgentService::Setup{std::move(config), std::move(identity), server, {}};
    }
    if (found.error().fault == Fault::Internal) return found.error();
    spdlog::warn("waiting for the shard's database: {}", found.error().context);
    std::this_thread::sleep_for(kPause);
  }
}

// Null where the config has none.
Result<std::shared_ptr<platform::TlsContext>> load_certificate(const platform::TlsConfig& config) {
  if (!config.is_on()) return std::shared_ptr<platform::TlsContext>();
  return platform::TlsContext::load(platform::TlsSide::Server,
                                    {.cert_file = config.cert_file,
                                     .key_file = config.key_file,
                                     .ca_file = config.ca_file,
                                     .peer_role = platform::TlsRole::Coordinator,
                                     .ca_setting = "agent.tls.ca_file"});
}

int serve(agent::AgentService::Setup setup) {
  const auto certificate = load_certificate(setup.config.agent.tls);
  if (!certificate) {
    spdlog::error("{}", certificate.error().context);
    return kBadConfig;
  }
  asio::io_context loop(1);
  int exit_code = 0;
  setup.on_stop = [&](const std::string& reason) {
    spdlog::error("stopping: {}", reason);
    exit_code = 1;
    loop.stop();
  };
  const auto config = setup.config;
  agent::AgentService service(loop, std::move(setup));
  agent::AgentApi api(service, certificate.value());
  platform::HttpServer server(
      loop, {config.agent.listen, config.agent.http, certificate.value(),
             [&api](platform::HttpRequest request) { return api.handle(std::move(request)); },
             &agent::agent_protocol_error});
  if (const auto started = server.start(); !started) {
    spdlog::error("{}", started.error().context);
    return kBadConfig;
  }
  spdlog::info("listening on {}:{}", config.agent.listen.host, server.port());
  asio::co_spawn(loop, service.run(), platform::end_on_failure);
  const auto stop_when_told = [&]() -> asio::awaitable<void> {
    co_await platform::wait_for_stop_signal();
    spdlog::info("stopping: answering what is in work");
    co_await server.stop(config.agent.shutdown_grace);
    loop.stop();
  };
  asio::co_spawn(loop, stop_when_told(), platform::end_on_failure);
  std::vector<std::shared_ptr<platform::TlsContext>> shown;
  if (certificate.value()) shown.push_back(certificate.value());
  asio::co_spawn(loop, platform::reload_on_hangup(std::move(shown)), platform::end_on_failure);
  loop.run();
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "The agent beside a Koshel shard: its only writer. Runs rounds on the shard's database,\n"
      "prepares and settles, and resolves in-doubt transactions by itself.");
  app.footer(
      "Example:\n"
      "  koshel-shard-agent --config /etc/koshel/agent-1.yml\n"
      "\n"
      "Logs to stderr. SIGTERM, SIGINT: answers what is in work, then ends. SIGHUP: reads the\n"
      "certificate anew; without one in the config it ends the agent at once.\n"
      "Exit codes: 0 told to stop; 1 another agent has taken the shard over; 2 wrong usage, "
      "config\n"
      "or database, or the port is taken.");
  std::string file;
  app.add_option("--config", file, "YAML file, see config/production.yml")->required();
  app.set_version_flag("--version", KOSHEL_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadConfig;
  }
  auto config = platform::load_config(file);
  if (!config || !config.value().has_shard || !config.value().has_directory) {
    std::cerr << "koshel-shard-agent: "
              << (config ? file + ": an agent needs the sections `shard:` and `directory:`"
                         : config.error().context)
              << '\n';
    return kBadConfig;
  }
  platform::start_log("shard-agent " + config.value().shard_name, config.value().log_level);
  // The certificate is read after the wait: until then there is nothing to read anew.
  if (config.value().agent.tls.is_on()) std::signal(SIGHUP, SIG_IGN);
  auto setup = prepare_setup(std::move(config.value()));
  if (!setup) {
    spdlog::error("{}", setup.error().context);
    return kBadConfig;
  }
  return serve(std::move(setup.value()));
}
