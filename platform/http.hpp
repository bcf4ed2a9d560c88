#pragma once
// HTTP/1.1 over Beast: a server with bounds and a pooled client, for the coordinator's API, for
// agents, and for tests. Knows nothing of wallets. Errors of the protocol itself (too large,
// malformed, wrong method) are answered through ServerOptions::on_protocol_error, so that each
// daemon keeps its own shape.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "platform/config.hpp"
#include "platform/tls.hpp"

namespace koshel::platform {

struct HttpRequest {
  std::string method;                                        // "GET"
  std::string path;                                          // as sent, without the query
  std::vector<std::string> segments;                         // of the path, percent-decoded
  std::vector<std::pair<std::string, std::string>> query;    // decoded, in order
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  std::string id;    // X-Request-Id of the caller (visible ASCII, 64 at most) or a random one
  std::string peer;  // the address it came from, without the port
  Instant received;

  const std::string* header(std::string_view lower_case_name) const;  // the first, or null
  const std::string* parameter(std::string_view name) const;
};

struct HttpResponse {
  static constexpr int kNone = 0;  // nothing is sent, the connection is closed
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

enum class ProtocolFault {
  Malformed,
  HeadersTooLarge,
  PayloadTooLarge,
  TooSlow,
  TooManyConnections,
  Overloaded,  // bodies and answers in memory have reached their bound
  PlainText    // on a port that speaks TLS
};

using HttpHandler = std::function<boost::asio::awaitable<HttpResponse>(HttpRequest)>;

struct ServerOptions {
  ListenConfig listen;
  HttpConfig http;
  std::shared_ptr<TlsContext> tls;  // null: plain text
  HttpHandler handler;  // called on the loop; what it throws is logged and answered with 500
  HttpResponse (*on_protocol_error)(ProtocolFault);
};

// Holds http.connections_max connections. For one beyond them the one that waits longest for a
// request is closed, an unused one first. When all are being answered, those beyond are answered
// TooManyConnections, some of them at a time; the rest are closed without a word.
class HttpServer {
 public:
  HttpServer(boost::asio::io_context& loop, ServerOptions options);
  ~HttpServer();
  Result<void> start();        // binds and accepts; Unavailable names the address that is taken
  std::uint16_t port() const;  // the real one when the config said 0
  // Closes the listener, lets every request in work be answered (with Connection: close), closes
  // idle connections; ends when all are gone or `grace` is over.
  boost::asio::awaitable<void> stop(milliseconds grace);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

struct HttpTarget {
  bool is_tls = false;
  std::string host;
  std::string port;
  std::string prefix;  // of the path, without a trailing '/'
};
// "https://host:port/prefix", or http; anything else is an Error (Internal) that says what is wrong.
Result<HttpTarget> parse_url(std::string_view url);

struct ClientOptions {
  int connections_max = 16;
  int waiting_max = 4096;  // calls that wait for a connection; more are Overloaded
  milliseconds connect_timeout{2'000};
  std::size_t body_bytes_max = 64u << 20;
  std::shared_ptr<TlsContext> tls{};  // for a target of https
};

// Kept-alive connections to one server; one that the server has closed meanwhile is not used. A
// call that failed before a byte of it was sent is Unavailable (nothing happened), later InDoubt;
// Internal (nothing happened) when the two sides do not trust each other's certificates. It never
// repeats a call.
class HttpClient {
 public:
  HttpClient(boost::asio::any_io_executor loop, HttpTarget target, ClientOptions options);
  ~HttpClient();
  boost::asio::awaitable<Result<HttpResponse>> call(HttpRequest request, milliseconds timeout);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

std::string percent_encode(std::string_view text);
// nullopt when a % is not followed by two hex digits.
std::optional<std::string> percent_decode(std::string_view text);

}  // namespace koshel::platform
