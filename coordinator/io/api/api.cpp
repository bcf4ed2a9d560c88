#include "coordinator/io/api/api.hpp"

#include "platform/crash_points.hpp"
#include "platform/metrics.hpp"

namespace koshel::coordinator {

using platform::HttpRequest;
using platform::HttpResponse;
using platform::with_points;

namespace {

Respond answer(HttpResponse response) {
  co_return response;
}

Respond wrong_method(const std::string& allowed) {
  auto response = to_response({ProblemCode::MethodNotAllowed, "this path takes " + allowed});
  response.headers.emplace_back("Allow", allowed);
  return answer(std::move(response));
}

HttpResponse plain(int status, std::string text) {
  return {status, "text/plain; charset=utf-8", std::move(text) + "\n", {}};
}

}  // namespace

Respond Api::handle(HttpRequest request) {
  if (auto debug = platform::answer_crash_points(request)) return answer(std::move(*debug));
  const auto path = request.path;
  if (auto respond = route(request)) return std::move(*respond);
  return answer(to_response({ProblemCode::NotFound, "there is nothing at " + path}));
}

std::optional<Respond> Api::route(HttpRequest& request) {
  const auto& segments = request.segments;
  if (segments.size() == 1) return operational(request);
  if (segments.size() < 2 || segments[0] != "v1") return std::nullopt;
  if (segments[1] == "users") return route_users(request);
  if (segments[1] == "admin") return route_admin(request);
  if (segments[1] != "transfers") return std::nullopt;
  const bool is_post = request.method == "POST";
  if (segments.size() == 2) {
    return is_post ? with_points<"coordinator.serve">(transfers_.transfer(std::move(request)))
                   : wrong_method("POST");
  }
  if (segments.size() != 3) return std::nullopt;
  if (segments[2] == "batch") {
    return is_post ? with_points<"coordinator.serve">(transfers_.transfer_batch(std::move(request)))
                   : wrong_method("POST");
  }
  if (request.method != "GET") return wrong_method("GET");
  auto id = segments[2];
  return transfers_.show(std::move(request), std::move(id));
}

std::optional<Respond> Api::route_users(HttpRequest& request) {
  const auto& segments = request.segments;
  const auto method = request.method;
  if (segments.size() == 2) {
    if (method == "POST") {
      return with_points<"coordinator.serve">(users_.create(std::move(request)));
    }
    if (method == "GET") return users_.list(std::move(request));
    return wrong_method("GET, POST");
  }
  auto name = segments[2];
  if (segments.size() == 3) {
    const bool is_batch = name == "batch";  // a user may be called so, too
    if (method == "GET") return users_.show(std::move(request), std::move(name));
    if (method == "PATCH") {
      return with_points<"coordinator.serve">(users_.change(std::move(request), std::move(name)));
    }
    if (method == "POST" && is_batch) {
      return with_points<"coordinator.serve">(users_.create_batch(std::move(request)));
    }
    return wrong_method(is_batch ? "GET, PATCH, POST" : "GET, PATCH");
  }
  if (segments.size() == 4 && segments[3] == "entries") {
    if (method != "GET") return wrong_method("GET");
    return users_.entries(std::move(request), std::move(name));
  }
  if (segments.size() == 5 && segments[3] == "transfers") {
    if (method != "GET") return wrong_method("GET");
    auto id_or_key = segments[4];
    return transfers_.show_of_user(std::move(request), std::move(name), std::move(id_or_key));
  }
  return std::nullopt;
}

std::optional<Respond> Api::route_admin(HttpRequest& request) {
  const auto& segments = request.segments;
  const auto method = request.method;
  if (segments.size() == 3 && segments[2] == "shards") {
    if (method == "GET") return shards_.list(std::move(request));
    if (method == "POST") return shards_.add(std::move(request));
    return wrong_method("GET, POST");
  }
  if (segments.size() == 4 && segments[2] == "shards") {
    if (method != "DELETE") return wrong_method("DELETE");
    auto name = segments[3];
    return shards_.remove(std::move(request), std::move(name));
  }
  if (segments.size() == 5 && segments[2] == "shards" && segments[4] == "drain") {
    if (method != "POST") return wrong_method("POST");
    auto name = segments[3];
    return shards_.drain(std::move(request), std::move(name));
  }
  if (segments.size() == 3 && segments[2] == "rebalance") {
    if (method == "GET") return rebalance_.show(std::move(request));
    if (method == "POST") return rebalance_.act(std::move(request));
    return wrong_method("GET, POST");
  }
  if (segments.size() == 4 && segments[2] == "rebalance" && segments[3] == "plan") {
    if (method != "GET") return wrong_method("GET");
    return rebalance_.plan(std::move(request));
  }
  if (segments.size() == 3 && segments[2] == "audit") {
    if (method != "POST") return wrong_method("POST");
    return audit_.run(std::move(request));
  }
  if (segments.size() == 4 && segments[2] == "rounds" && segments[3] == "unresolved") {
    if (method != "GET") return wrong_method("GET");
    return shards_.unresolved(std::move(request));
  }
  return std::nullopt;
}

std::optional<Respond> Api::operational(const HttpRequest& request) const {
  const auto& path = request.path;
  const bool is_known =
      path == "/healthz" || path == "/readyz" || path == "/metrics" || path == "/openapi.yaml";
  if (!is_known) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") return wrong_method("GET, HEAD");
  if (path == "/healthz") return answer(plain(200, "alive"));
  if (path == "/readyz") {
    return answer(context_.service.is_ready() ? plain(200, "ready")
                                              : plain(503, "the directory cannot be reached"));
  }
  if (path == "/metrics") {
    return answer({200, platform::MetricsPage::kContentType, metrics(), {}});
  }
  return answer({200, "application/yaml", std::string(openapi_text()), {}});
}

HttpResponse Api::on_protocol_error(platform::ProtocolFault fault) {
  switch (fault) {
    case platform::ProtocolFault::Malformed:
      return to_response({ProblemCode::MalformedRequest, "this is not an HTTP/1.1 request"});
    case platform::ProtocolFault::HeadersTooLarge:
      return to_response({ProblemCode::HeadersTooLarge, "the headers exceed the server's bound"});
    case platform::ProtocolFault::PayloadTooLarge:
      return to_response({ProblemCode::PayloadTooLarge, "the body exceeds the server's bound"});
    case platform::ProtocolFault::TooSlow:
      return to_response({ProblemCode::RequestTimeout, "the request did not arrive in time"});
    case platform::ProtocolFault::TooManyConnections:
      return to_response({ProblemCode::Overloaded, "too many connections; try again later"});
  }
  std::abort();
}

std::string Api::metrics() const {
  const auto& machine = context_.service.machine();
  const auto& counters = machine.counters();
  const auto number = [](auto value) { return static_cast<double>(value); };
  const auto& pauses = machine.pauses();
  std::vector<platform::MetricsPage::Bucket> pause_buckets;
  for (std::size_t i = 0; i < pauses.counts.size(); ++i) {
    pause_buckets.push_back({PauseHistogram::kBounds[i] / 1000.0, number(pauses.counts[i])});
  }
  platform::MetricsPage page;
  page.gauge("build_info", "1, with the version that runs", 1, {{"version", KOSHEL_VERSION}})
      .counter("rounds_total", "Rounds started", number(counters.rounds_local), {{"kind", "local"}})
      .counter("rounds_total", "Rounds started", number(counters.rounds_cross), {{"kind", "cross"}})
      .counter("orders_finished_total", "Orders answered", number(counters.orders_finished))
      .counter("orders_overloaded_total", "Orders refused because too many wait",
               number(counters.orders_overloaded))
      .counter("redirects_total", "Orders that met a user who had moved",
               number(counters.redirects))
      .gauge("orders_waiting", "Orders without an answer", number(machine.orders()))
      .gauge("coordinator_rounds_in_flight", "Rounds under way", number(machine.rounds_local()),
             {{"kind", "local"}})
      .gauge("coordinator_rounds_in_flight", "Rounds under way", number(machine.rounds_cross()),
             {{"kind", "cross"}})
      .gauge("rounds_unconfirmed", "Committed rounds that some shard has not confirmed",
             number(machine.rounds_unconfirmed()))
      .gauge("moving_users", "1 while this coordinator holds the rebalance",
             machine.is_moving_users() ? 1 : 0)
      .counter("moved_entries_total", "Entries of moving users that were copied",
               number(machine.entries_copied()))
      .histogram("move_pause_seconds", "Of each moved account, how long its cut-over took",
                 pause_buckets, number(pauses.count), pauses.seconds)
      .gauge("routes_cached", "Routes remembered", number(context_.routes.cached()))
      .gauge("directory_up", "1 while the directory answers", machine.is_directory_up() ? 1 : 0);
  return page.text();
}

}  // namespace koshel::coordinator
