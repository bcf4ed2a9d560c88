#include "shard-agent/io/agent_api.hpp"

#include "base/messages/json.hpp"
#include "platform/crash_points.hpp"
#include "platform/metrics.hpp"

namespace koshel::agent {

namespace asio = boost::asio;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

HttpResponse text(int status, std::string body) {
  return {status, "text/plain; charset=utf-8", std::move(body) + "\n", {}};
}

template <class Message>
HttpResponse json(const Message& message) {
  return {200, "application/json", messages::to_json(message), {}};
}

// One shape for every message: read it, let `serve` answer it, write the answer.
template <class Message, class Serve>
asio::awaitable<HttpResponse> answer(std::string body, Serve serve) {
  auto message = messages::from_json<Message>(body);
  if (!message) co_return text(400, message.error().context);
  auto pending = serve(std::move(message.value()));
  auto reply = co_await std::move(pending);
  co_return json(reply);
}

template <class Message, class Serve>
asio::awaitable<HttpResponse> answer_reading(std::string body, Serve serve) {
  auto message = messages::from_json<Message>(body);
  if (!message) co_return text(400, message.error().context);
  auto pending = serve(std::move(message.value()));
  auto reply = co_await std::move(pending);
  if (!reply) co_return text(503, reply.error().context);
  co_return json(reply.value());
}

}  // namespace

HttpResponse agent_protocol_error(platform::ProtocolFault fault) {
  switch (fault) {
    case platform::ProtocolFault::Malformed:
      return text(400, "malformed request");
    case platform::ProtocolFault::HeadersTooLarge:
      return text(431, "headers too large");
    case platform::ProtocolFault::PayloadTooLarge:
      return text(413, "payload too large");
    case platform::ProtocolFault::TooSlow:
      return text(408, "request too slow");
    case platform::ProtocolFault::TooManyConnections:
      return text(503, "too many connections");
    case platform::ProtocolFault::PlainText:
      return text(400, "this port speaks TLS: use https://");
    case platform::ProtocolFault::Overloaded:
      return text(503, "too much in memory");
  }
  std::abort();
}

asio::awaitable<HttpResponse> AgentApi::handle(HttpRequest request) {
  const auto& path = request.path;
  if (path == "/healthz") co_return text(200, "alive");
  if (path == "/readyz") {
    co_return service_.machine().is_serving() ? text(200, "serving")
                                              : text(503, "taking over the shard");
  }
  if (path == "/metrics")
    co_return HttpResponse{200, platform::MetricsPage::kContentType, metrics(), {}};
  if (path == "/v1/status") {
    auto pending = service_.status();
    const auto status = co_await std::move(pending);
    co_return status ? json(status.value()) : text(503, status.error().context);
  }
  if (auto debug = platform::answer_crash_points(request)) co_return std::move(*debug);
  // A page in a browser on this machine reaches a port of loopback, and says that it is one.
  if (request.header("origin") != nullptr) co_return text(403, "web pages may not call an agent");
  if (request.method != "POST") co_return text(405, "POST a message");
  const auto& own = service_.setup().identity;
  const auto* shard = request.header(messages::kShardHeader);
  if (shard == nullptr || *shard != messages::shard_header(own.cluster_id, own.shard)) {
    co_return text(421, "this is the agent of shard " + own.shard_name + " of cluster " +
                            own.cluster + ": the message is for another one");
  }
  auto pending = platform::with_points<"agent.serve">(post(path, std::move(request.body)));
  co_return co_await std::move(pending);
}

asio::awaitable<HttpResponse> AgentApi::post(std::string path, std::string body) {
  auto& service = service_;
  auto& audit = audit_;
  const auto ask = [&service](auto message) { return service.ask(std::move(message)); };
  if (path == "/v1/rounds/local") return answer<messages::LocalRound>(std::move(body), ask);
  if (path == "/v1/rounds/reserve") return answer<messages::Reserve>(std::move(body), ask);
  if (path == "/v1/rounds/prepare") return answer<messages::Prepare>(std::move(body), ask);
  if (path == "/v1/rounds/settle") return answer<messages::Settle>(std::move(body), ask);
  if (path == "/v1/rounds/ask") {
    return answer_reading<messages::AskRound>(
        std::move(body), [&service](auto message) { return service.ask_round(message); });
  }
  if (path == "/v1/accounts/heads") {
    return answer_reading<messages::ReadHeads>(std::move(body), [&service](auto message) {
      return service.read_heads(std::move(message));
    });
  }
  if (path == "/v1/accounts/entries") {
    return answer_reading<messages::ReadEntries>(
        std::move(body), [&service](auto message) { return service.read_entries(message); });
  }
  if (path == "/v1/moves/begin") {
    return answer_reading<messages::BeginArrival>(
        std::move(body), [&service](auto message) { return service.begin(std::move(message)); });
  }
  if (path == "/v1/moves/read") {
    return answer_reading<messages::ReadChunk>(std::move(body), [&service](auto message) {
      return service.read_chunk(std::move(message));
    });
  }
  if (path == "/v1/moves/write") {
    return answer_reading<messages::WriteChunk>(std::move(body), [&service](auto message) {
      return service.write_chunk(std::move(message));
    });
  }
  if (path == "/v1/moves/clean") {
    return answer_reading<messages::CleanMove>(
        std::move(body), [&service](auto message) { return service.clean(std::move(message)); });
  }
  if (path == "/v1/audit/open") {
    return answer_reading<messages::OpenAudit>(
        std::move(body), [&audit](auto message) { return audit.open(message); });
  }
  if (path == "/v1/audit/run") {
    return answer_reading<messages::RunAudit>(
        std::move(body), [&audit](auto message) { return audit.run(std::move(message)); });
  }
  if (path == "/v1/audit/list") {
    return answer_reading<messages::ListAudit>(
        std::move(body), [&audit](auto message) { return audit.list(std::move(message)); });
  }
  if (path == "/v1/audit/close") {
    return answer_reading<messages::CloseAudit>(
        std::move(body), [&audit](auto message) { return audit.close(message); });
  }
  if (path == "/v1/transfers/find") {
    return answer_reading<messages::FindTransfer>(
        std::move(body), [&service](auto message) { return service.find(std::move(message)); });
  }
  return
      [](AgentService& to, std::string at, std::string text_of) -> asio::awaitable<HttpResponse> {
        if (at != "/v1/rounds/release") co_return text(404, "no such message");
        const auto message = messages::from_json<messages::Release>(text_of);
        if (!message) co_return text(400, message.error().context);
        to.release(message.value());
        co_return HttpResponse{200, "application/json", "{}", {}};
      }(service, std::move(path), std::move(body));
}

std::string AgentApi::metrics() const {
  const auto& machine = service_.machine();
  const auto& counters = machine.counters();
  const platform::MetricsPage::Labels shard{{"shard", service_.setup().identity.shard_name}};
  const auto number = [](auto value) { return static_cast<double>(value); };
  platform::MetricsPage page;
  page.gauge("build_info", "1, with the version that runs", 1, {{"version", KOSHEL_VERSION}})
      .counter("agent_legs_applied_total", "Sides of transfers that were committed here",
               number(counters.transfers_applied), shard)
      .counter("agent_rounds_local_total", "Rounds on this shard alone",
               number(counters.rounds_local), shard)
      .counter("agent_rounds_prepared_total", "Rounds prepared here",
               number(counters.rounds_prepared), shard)
      .counter("busy_total", "Orders turned away because an account was held",
               number(counters.busy), shard)
      .counter("stale_heads_total", "Rounds whose heads were not as remembered",
               number(counters.stale_heads), shard)
      .counter("recovered_total", "In-doubt rounds settled by the log's word",
               number(counters.recovered_commit), {shard[0], {"decision", "commit"}})
      .counter("recovered_total", "In-doubt rounds settled by the log's word",
               number(counters.recovered_abort), {shard[0], {"decision", "abort"}})
      .counter("reservations_expired_total", "Reservations nobody prepared or released",
               number(counters.reservations_expired), shard)
      .counter("take_overs_total", "Times this agent took its shard over",
               number(counters.take_overs), shard)
      .counter("prepared_scans_total", "Looks at the server's prepared transactions",
               number(counters.prepared_scans), shard)
      .gauge("agent_serving", "1 while rounds are served", machine.is_serving() ? 1 : 0, shard)
      .gauge("agent_epoch", "The agent's epoch", number(machine.epoch().value()), shard)
      .gauge("rounds_in_flight", "Rounds under way", number(machine.rounds_in_flight()), shard)
      .gauge("accounts_held", "Accounts held by rounds", number(machine.accounts_held()), shard)
      .gauge("heads_cached", "Heads remembered", number(machine.heads_cached()), shard)
      .gauge("unresolved_transactions", "Prepared transactions at the last scan",
             number(service_.prepared_now()), shard)
      .gauge("oldest_prepared_age_seconds", "Age of the oldest prepared transaction",
             service_.oldest_prepared_seconds(), shard)
      .gauge("prepared_slots_used", "Prepared transactions at the last scan",
             number(service_.prepared_now()), shard)
      .gauge("prepared_slots_max", "max_prepared_transactions of the server",
             service_.setup().server.prepared_transactions_max, shard);
  if (certificate_) {
    if (const auto end = certificate_->valid_until()) {
      page.certificate(certificate_->options().cert_file, *end, shard);
    }
  }
  return page.text();
}

}  // namespace koshel::agent
