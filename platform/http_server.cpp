#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <random>
#include <unordered_set>

#include "platform/http.hpp"
#include "platform/http_target_text.hpp"
#include "platform/log.hpp"
#include "platform/spawn.hpp"
#include "platform/stream.hpp"

namespace koshel::platform {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using beast::error_code;

namespace {

// The awaited operation's error goes into `error` instead of an exception.
auto into(error_code& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

using Parser = http::request_parser<http::string_body>;

constexpr milliseconds kLinger{2'000};  // for what a refused client still sends
constexpr int kRefusedMax = 64;         // connections beyond connections_max that get an answer
constexpr unsigned char kTlsHandshake = 22;       // the first byte of a connection that speaks TLS
constexpr std::chrono::seconds kFailuresTold{1};  // of handshakes: one line of log in that time

std::string random_id(std::mt19937_64& random) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string id;
  for (auto bits = random(); id.size() < 16; bits >>= 4) id += kDigits[bits & 15];
  return id;
}

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
}

// The parts of Beast's request that the handlers want; false when the target is malformed.
bool read_request(http::request<http::string_body>&& message, HttpRequest& request) {
  request.method = std::string(message.method_string());
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (auto& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    request.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  request.body = std::move(message.body());
  return read_target(message.target(), request);
}

std::optional<ProtocolFault> fault_of(error_code error) {
  if (error == http::error::header_limit) return ProtocolFault::HeadersTooLarge;
  if (error == http::error::body_limit) return ProtocolFault::PayloadTooLarge;
  if (error.category() == make_error_code(http::error::bad_target).category() &&
      error != http::error::end_of_stream && error != http::error::partial_message) {
    return ProtocolFault::Malformed;
  }
  return std::nullopt;  // the other side has gone
}

struct Answer {
  HttpResponse response;
  std::string request_id;
  unsigned version = 11;
  bool keep_alive = true;
  bool is_head = false;
};

http::response<http::string_body> to_message(Answer answer) {
  http::response<http::string_body> message(static_cast<http::status>(answer.response.status),
                                            answer.version);
  const bool has_content = message.result() != http::status::no_content;
  if (has_content) message.set(http::field::content_type, answer.response.content_type);
  message.set("X-Request-Id", answer.request_id);
  for (const auto& [name, value] : answer.response.headers) message.insert(name, value);
  message.keep_alive(answer.keep_alive);
  message.body() = std::move(answer.response.body);
  if (has_content) message.prepare_payload();
  if (answer.is_head) message.body().clear();  // Content-Length stays that of the GET
  return message;
}

}  // namespace

struct HttpServer::State : std::enable_shared_from_this<HttpServer::State> {
  State(asio::io_context& the_loop, ServerOptions the_options)
      : loop(the_loop),
        options(std::move(the_options)),
        acceptor(loop),
        random(std::random_device()()) {}

  struct Session {
    explicit Session(tcp::socket socket)
        : stream(std::move(socket)), reading_until(stream.get_executor(), Instant::max()) {
      error_code error;
      const auto endpoint = stream.tcp().socket().remote_endpoint(error);
      if (!error) peer = endpoint.address().to_string();
    }
    Stream stream;
    std::string peer;
    asio::steady_timer reading_until;
    beast::flat_buffer buffer;
    bool is_idle = true;   // between two requests
    bool is_late = false;  // the request was not read in time
  };

  asio::io_context& loop;
  ServerOptions options;
  tcp::acceptor acceptor;
  std::mt19937_64 random;
  std::unordered_set<Session*> sessions;
  int in_work = 0;
  int refused = 0;  // connections beyond connections_max, on their way out
  bool is_stopping = false;
  Instant handshake_failure_told = Instant::min();
  int handshake_failures_untold = 0;

  asio::awaitable<void> accept();
  asio::awaitable<void> serve(std::shared_ptr<Session> session);
  asio::awaitable<bool> shake_hands(std::shared_ptr<Session> session);
  void tell_handshake_failure(const Session& session, const std::string& why);
  asio::awaitable<bool> serve_one(std::shared_ptr<Session> session);
  asio::awaitable<error_code> read(std::shared_ptr<Session> session, Parser& parser);
  asio::awaitable<bool> write(Session& session, Answer answer);
  asio::awaitable<void> refuse(Session& session, ProtocolFault fault);
  asio::awaitable<void> linger(Session& session);
  asio::awaitable<HttpResponse> call_handler(HttpRequest request);
};

HttpServer::HttpServer(asio::io_context& loop, ServerOptions options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

HttpServer::~HttpServer() {
  error_code ignored;
  state_->acceptor.close(ignored);
}

Result<void> HttpServer::start() {
  auto& state = *state_;
  const auto& listen = state.options.listen;
  const auto fail = [&listen](const error_code& error) {
    return Error{Fault::Unavailable, "cannot listen on " + listen.host + ":" +
                                         std::to_string(listen.port) + ": " + error.message()};
  };
  error_code error;
  const auto address =
      asio::ip::make_address(listen.host == "localhost" ? "127.0.0.1" : listen.host, error);
  if (error) return fail(error);
  const tcp::endpoint endpoint(address, listen.port);
  state.acceptor.open(endpoint.protocol(), error);
  if (!error) state.acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) state.acceptor.bind(endpoint, error);
  if (!error) state.acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return fail(error);
  asio::co_spawn(state.loop, state.accept(), end_on_failure);
  return success();
}

std::uint16_t HttpServer::port() const {
  return state_->acceptor.local_endpoint().port();
}

int HttpServer::requests_in_work() const {
  return state_->in_work;
}

asio::awaitable<void> HttpServer::State::accept() {
  const auto self = shared_from_this();
  while (!is_stopping) {
    error_code error;
    auto socket = co_await acceptor.async_accept(into(error));
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
    if (error) {  // out of descriptors and the like: let some close first
      spdlog::warn("accept: {}", error.message());
      asio::steady_timer pause(loop, std::chrono::milliseconds(50));
      co_await pause.async_wait(asio::use_awaitable);
      continue;
    }
    socket.set_option(tcp::no_delay(true), error);
    auto session = std::make_shared<Session>(std::move(socket));
    asio::co_spawn(loop, serve(std::move(session)), end_on_failure);
  }
}

asio::awaitable<void> HttpServer::State::serve(std::shared_ptr<Session> session) {
  const auto self = shared_from_this();
  if (static_cast<int>(sessions.size()) >= options.http.connections_max) {
    if (refused == kRefusedMax) co_return;
    ++refused;
    auto greeting = shake_hands(session);
    const bool is_greeted = co_await std::move(greeting);
    if (is_greeted) {
      auto refusing = refuse(*session, ProtocolFault::TooManyConnections);
      co_await std::move(refusing);
    }
    --refused;
    co_return;
  }
  sessions.insert(session.get());
  auto greeting = shake_hands(session);
  bool goes_on = co_await std::move(greeting);
  while (goes_on && !is_stopping) {
    auto serving = serve_one(session);
    goes_on = co_await std::move(serving);
  }
  sessions.erase(session.get());
  error_code ignored;
  session->stream.tcp().socket().shutdown(tcp::socket::shutdown_both, ignored);
}

// True at once without TLS. Its first bytes are read here: who speaks plain text gets an answer in
// plain text.
asio::awaitable<bool> HttpServer::State::shake_hands(std::shared_ptr<Session> session) {
  if (!options.tls) co_return true;
  error_code error;
  auto& stream = session->stream;
  stream.tcp().expires_after(options.http.handshake_timeout);
  beast::flat_buffer hello;
  hello.commit(co_await stream.async_read_some(hello.prepare(4096), into(error)));
  if (error) co_return false;
  if (*static_cast<const unsigned char*>(hello.data().data()) != kTlsHandshake) {
    auto refusing = refuse(*session, ProtocolFault::PlainText);
    co_await std::move(refusing);
    co_return false;
  }
  auto& tls = stream.start_tls(options.tls->current());
  co_await tls.async_handshake(asio::ssl::stream_base::server, hello.data(), into(error));
  if (!error) co_return true;
  if (error.category() == asio::error::get_ssl_category()) {  // not that it took too long
    tell_handshake_failure(*session,
                           handshake_failure(tls.native_handle(), error, options.tls->options()));
    auto lingering = linger(*session);
    co_await std::move(lingering);
  }
  co_return false;
}

// Anybody can make handshakes fail, so the log has a bound.
void HttpServer::State::tell_handshake_failure(const Session& session, const std::string& why) {
  const auto now = std::chrono::steady_clock::now();
  if (now < handshake_failure_told + kFailuresTold) {
    ++handshake_failures_untold;
    return;
  }
  handshake_failure_told = now;
  const auto untold = std::exchange(handshake_failures_untold, 0);
  spdlog::warn("TLS handshake with {} failed: {}{}", session.peer, why,
               untold == 0 ? "" : "; others before, untold: " + std::to_string(untold));
}

// Waits for a request and reads it. The stream's own expiry closes the socket, and a slow client's
// answer with it: so a timer stops the reading first, and the expiry only bounds what else may
// wait.
asio::awaitable<error_code> HttpServer::State::read(std::shared_ptr<Session> session,
                                                    Parser& parser) {
  error_code error;
  auto& stream = session->stream;
  auto& buffer = session->buffer;
  session->is_late = false;
  session->is_idle = buffer.size() == 0;
  if (session->is_idle) {  // wait for its first byte: that may take long, the rest may not
    stream.tcp().expires_after(options.http.idle_timeout);
    const auto size = co_await stream.async_read_some(buffer.prepare(4096), into(error));
    if (error) co_return error;
    buffer.commit(size);
    session->is_idle = false;
  }
  stream.tcp().expires_after(options.http.request_timeout + kLinger);
  session->reading_until.expires_after(options.http.request_timeout);
  session->reading_until.async_wait([session](error_code) {
    if (session->reading_until.expiry() > std::chrono::steady_clock::now()) return;  // it was read
    session->is_late = true;
    session->stream.tcp().cancel();
  });
  co_await http::async_read_header(stream, buffer, parser, into(error));
  if (!error && beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    http::response<http::empty_body> go_on(http::status::continue_, 11);
    co_await http::async_write(stream, go_on, into(error));
  }
  if (!error) co_await http::async_read(stream, buffer, parser, into(error));
  session->reading_until.expires_at(Instant::max());
  co_return error;
}

// Reads one request and answers it; false when the connection is done.
asio::awaitable<bool> HttpServer::State::serve_one(std::shared_ptr<Session> session) {
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(options.http.header_bytes_max));
  parser.body_limit(options.http.body_bytes_max);
  auto reading = read(session, parser);
  const auto error = co_await std::move(reading);
  if (error) {
    if (const auto fault = session->is_late ? ProtocolFault::TooSlow : fault_of(error)) {
      auto refusing = refuse(*session, *fault);
      co_await std::move(refusing);
    }
    co_return false;
  }
  Answer answer;
  answer.version = parser.get().version();
  answer.keep_alive = parser.get().keep_alive();
  answer.is_head = parser.get().method() == http::verb::head;
  HttpRequest request;
  request.peer = session->peer;
  request.received = std::chrono::steady_clock::now();
  const bool is_sound = read_request(parser.release(), request);
  const auto* id = request.header("x-request-id");
  request.id = id != nullptr && is_request_id(*id) ? *id : random_id(random);
  answer.request_id = request.id;
  if (is_sound) {
    ++in_work;
    auto handling = call_handler(std::move(request));
    answer.response = co_await std::move(handling);
    --in_work;
    if (answer.response.status == HttpResponse::kNone) co_return false;
  } else {
    answer.response = options.on_protocol_error(ProtocolFault::Malformed, request.id);
  }
  answer.keep_alive = answer.keep_alive && !is_stopping;
  auto writing = write(*session, std::move(answer));
  co_return co_await std::move(writing);
}

asio::awaitable<HttpResponse> HttpServer::State::call_handler(HttpRequest request) {
  const auto id = request.id;
  try {
    auto handling = options.handler(std::move(request));
    co_return co_await std::move(handling);
  } catch (const std::exception& failure) {
    spdlog::error("request {}: {}", id, failure.what());
  }
  co_return HttpResponse{
      500,
      "application/problem+json",
      R"({"type":"urn:koshel:problem:internal","title":"Something is broken on our side",)"
      R"("status":500,"code":"INTERNAL","outcome":"unknown","retryable":false,)"
      R"("detail":"the log has this request's id"})",
      {}};
}

asio::awaitable<bool> HttpServer::State::write(Session& session, Answer answer) {
  const bool keep_alive = answer.keep_alive;
  const bool is_head = answer.is_head;
  const auto message = to_message(std::move(answer));
  http::response_serializer<http::string_body> serializer(message);
  serializer.split(is_head);
  error_code error;
  session.stream.tcp().expires_after(options.http.request_timeout);
  if (is_head) {
    co_await http::async_write_header(session.stream, serializer, into(error));
  } else {
    co_await http::async_write(session.stream, serializer, into(error));
  }
  co_return !error && keep_alive;
}

// Answers a fault of the protocol and closes.
asio::awaitable<void> HttpServer::State::refuse(Session& session, ProtocolFault fault) {
  Answer answer;
  answer.request_id = random_id(random);
  answer.response = options.on_protocol_error(fault, answer.request_id);
  answer.keep_alive = false;
  auto writing = write(session, std::move(answer));
  co_await std::move(writing);
  auto lingering = linger(session);
  co_await std::move(lingering);
}

// Reads for a moment what the client still sends, because closing with unread bytes would reset the
// connection and take with it what was said last.
asio::awaitable<void> HttpServer::State::linger(Session& session) {
  error_code error;
  auto& connection = session.stream.tcp();
  connection.socket().shutdown(tcp::socket::shutdown_send, error);
  constexpr std::size_t kLingerBytes = std::size_t{64} << 20;
  std::vector<char> scrap(std::size_t{64} << 10);
  connection.expires_after(kLinger);
  for (std::size_t read = 0; !error && read < kLingerBytes;) {
    read += co_await connection.async_read_some(asio::buffer(scrap), into(error));
  }
}

asio::awaitable<void> HttpServer::stop(milliseconds grace) {
  const auto state = state_;
  state->is_stopping = true;
  error_code ignored;
  state->acceptor.close(ignored);
  for (auto* session : state->sessions) {
    if (session->is_idle) session->stream.tcp().cancel();
  }
  asio::steady_timer timer(state->loop);
  const auto end = std::chrono::steady_clock::now() + grace;
  while (!state->sessions.empty() && std::chrono::steady_clock::now() < end) {
    timer.expires_after(std::chrono::milliseconds(5));
    co_await timer.async_wait(asio::use_awaitable);
  }
}

}  // namespace koshel::platform
