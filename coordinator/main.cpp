// koshel-coordinator: reads the config, takes an incarnation, serves until it is told to stop.

#include <sodium.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>
#include <iostream>

#include "coordinator/io/api/api.hpp"
#include "platform/config.hpp"
#include "platform/http.hpp"
#include "platform/log.hpp"
#include "platform/postgres.hpp"
#include "platform/spawn.hpp"
#include "platform/stop_signal.hpp"

namespace {

namespace asio = boost::asio;
using namespace koshel;

constexpr int kBadConfig = 2;

// Null where the config has none.
struct Certificates {
  std::shared_ptr<platform::TlsContext> api;
  std::shared_ptr<platform::TlsContext> agents;

  std::vector<std::shared_ptr<platform::TlsContext>> all() const {
    std::vector<std::shared_ptr<platform::TlsContext>> loaded{api, agents};
    std::erase(loaded, nullptr);
    return loaded;
  }
};

Result<Certificates> load_certificates(const platform::CoordinatorConfig& config) {
  using platform::TlsContext;
  Certificates certificates;
  if (config.tls.is_on()) {
    KOSHEL_TRY(certificates.api,
               TlsContext::load(platform::TlsSide::Server, {.cert_file = config.tls.cert_file,
                                                            .key_file = config.tls.key_file}));
  }
  if (config.agent_tls.is_on()) {
    KOSHEL_TRY(certificates.agents,
               TlsContext::load(platform::TlsSide::Client,
                                {.cert_file = config.agent_tls.cert_file,
                                 .key_file = config.agent_tls.key_file,
                                 .ca_file = config.agent_tls.ca_file,
                                 .peer_role = platform::TlsRole::Agent,
                                 .ca_setting = "coordinator.agent_tls.ca_file"}));
  }
  return certificates;
}

// Everything of a running coordinator, wired in one place.
struct Coordinator {
  Coordinator(asio::io_context& the_loop, const platform::Config& the_config,
              const Certificates& certificates, platform::PgPool& pool,
              const directory::Start& start)
      : loop(the_loop),
        config(the_config),
        service(loop, config, certificates.agents, pool, start,
                [this](const std::string& reason) { give_up(reason); }),
        api({service, service.routes(), config, certificates.all()}, loop.get_executor(), pool,
            start.incarnation),
        server(loop,
               {config.coordinator.listen, config.coordinator.http, certificates.api,
                [this](platform::HttpRequest request) { return api.handle(std::move(request)); },
                &coordinator::Api::on_protocol_error}) {}

  // As if told to stop: what is in work is answered first.
  void give_up(const std::string& reason) {
    spdlog::error("stopping: {}", reason);
    exit_code = 1;
    std::raise(SIGTERM);
  }

  asio::io_context& loop;
  const platform::Config& config;
  int exit_code = 0;
  coordinator::CoordinatorService service;
  coordinator::Api api;
  platform::HttpServer server;
};

// Waits for a directory that is not there yet, but not for one that is wrong.
asio::awaitable<std::optional<directory::Start>> take_incarnation(
    directory::DirectoryStore& directory, std::string cluster) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (;;) {
    auto pending = directory.check(cluster);
    const auto checked = co_await std::move(pending);
    if (checked) {
      auto pending_next = directory.next_incarnation();
      auto next = co_await std::move(pending_next);
      if (next) co_return next.value();
      spdlog::warn("no incarnation yet: {}", next.error().context);
    } else if (checked.error().fault == Fault::Internal) {
      spdlog::error("{}", checked.error().context);
      co_return std::nullopt;
    } else {
      spdlog::warn("waiting for the directory: {}", checked.error().context);
    }
    timer.expires_after(std::chrono::milliseconds(500));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

asio::awaitable<void> stop_when_told(Coordinator& coordinator) {
  auto told = platform::wait_for_stop_signal();
  co_await std::move(told);
  spdlog::info("stopping: answering what is in work");
  auto stopping = coordinator.server.stop(coordinator.config.coordinator.shutdown_grace);
  co_await std::move(stopping);
  auto finishing = coordinator.api.finish_trail();
  co_await std::move(finishing);
  coordinator.loop.stop();
}

int serve(const platform::Config& config) {
  const auto certificates = load_certificates(config.coordinator);
  if (!certificates) {
    spdlog::error("{}", certificates.error().context);
    return kBadConfig;
  }
  asio::io_context loop(1);
  asio::co_spawn(loop, platform::reload_on_hangup(certificates.value().all()),
                 platform::end_on_failure);
  platform::PgPool pool(loop.get_executor(), config.directory, "koshel-coordinator");
  directory::DirectoryStore directory(pool);
  std::optional<directory::Start> start;
  asio::co_spawn(loop, take_incarnation(directory, config.cluster),
                 [&](const std::exception_ptr& failure, std::optional<directory::Start> taken) {
                   platform::end_on_failure(failure);
                   start = taken;
                   loop.stop();
                 });
  loop.run();
  if (!start) return kBadConfig;
  loop.restart();
  Coordinator coordinator(loop, config, certificates.value(), pool, *start);
  if (const auto started = coordinator.server.start(); !started) {
    spdlog::error("{}", started.error().context);
    return kBadConfig;
  }
  spdlog::info("incarnation {} listening on {}:{}", start->incarnation.value(),
               config.coordinator.listen.host, coordinator.server.port());
  asio::co_spawn(loop, coordinator.service.run_ticks(), platform::end_on_failure);
  asio::co_spawn(loop, coordinator.service.run_refresh(), platform::end_on_failure);
  asio::co_spawn(loop, stop_when_told(coordinator), platform::end_on_failure);
  loop.run();
  return coordinator.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "A Koshel coordinator: the HTTP API, routing, batching into rounds and two-phase commit.\n"
      "Stateless: run any number of them over the same directory.");
  app.footer(
      "Example:\n"
      "  koshel-coordinator --config /etc/koshel/coordinator.yml\n"
      "\n"
      "Logs to stderr. SIGTERM, SIGINT: answers what is in work, then ends. SIGHUP: reads the\n"
      "certificates anew; without any in the config it ends the coordinator at once.\n"
      "Exit codes: 0 told to stop; 1 another coordinator has closed this one, which was silent "
      "for\n"
      "too long: start it again; 2 wrong usage, config or database, or the port is taken.");
  std::string file;
  app.add_option("--config", file, "YAML file, see config/production.yml")->required();
  app.set_version_flag("--version", KOSHEL_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadConfig;
  }
  const auto config = platform::load_config(file);
  if (!config || !config.value().has_directory) {
    std::cerr << "koshel-coordinator: "
              << (config ? file + ": a coordinator needs the section `directory:`"
                         : config.error().context)
              << '\n';
    return kBadConfig;
  }
  if (sodium_init() < 0) {
    std::cerr << "koshel-coordinator: libsodium finds no source of randomness\n";
    return kBadConfig;
  }
  if (config.value().auth.mode == platform::AuthMode::Ldap) {
    platform::init_ldap();
    const auto fault = coordinator::LdapPeople::find_fault(config.value().auth.ldap);
    if (!fault.empty()) {
      std::cerr << "koshel-coordinator: " << file << ": " << fault << '\n';
      return kBadConfig;
    }
  }
  platform::start_log("coordinator", config.value().log_level);
  return serve(config.value());
}
