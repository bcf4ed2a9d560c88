#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <deque>

#include "base/invariant.hpp"
#include "platform/http.hpp"
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

}  // namespace

struct HttpClient::State {
  State(asio::any_io_executor the_loop, HttpTarget the_target, ClientOptions the_options)
      : loop(std::move(the_loop)), target(std::move(the_target)), options(the_options) {}

  struct Waiter {
    asio::steady_timer timer;  // cancelled when a place is free
    bool is_served = false;
  };

  asio::any_io_executor loop;
  HttpTarget target;
  ClientOptions options;
  std::vector<std::unique_ptr<Stream>> idle;  // the most recently used at the back
  std::deque<std::shared_ptr<Waiter>> waiters;
  int in_use = 0;

  asio::awaitable<std::optional<Error>> take_place(Instant deadline);
  void free_place();
  asio::awaitable<Result<std::unique_ptr<Stream>>> connect(Instant deadline);
  asio::awaitable<Result<void>> shake_hands(Stream& stream);
  std::unique_ptr<Stream> take_idle();
  asio::awaitable<Result<HttpResponse>> exchange(Stream& stream, HttpRequest request,
                                                 Instant deadline, bool& can_be_kept);
};

HttpClient::HttpClient(asio::any_io_executor loop, HttpTarget target, ClientOptions options)
    : state_(std::make_shared<State>(std::move(loop), std::move(target), options)) {}
HttpClient::~HttpClient() = default;

// One of connections_max places; waits in line for one until the deadline.
asio::awaitable<std::optional<Error>> HttpClient::State::take_place(Instant deadline) {
  if (in_use < options.connections_max) {
    ++in_use;
    co_return std::nullopt;
  }
  if (static_cast<int>(waiters.size()) >= options.waiting_max) {
    co_return Error{Fault::Overloaded,
                    "too many calls wait for " + target.host + ":" + target.port};
  }
  auto waiter = std::make_shared<Waiter>(Waiter{asio::steady_timer(loop, deadline), false});
  waiters.push_back(waiter);
  error_code ignored;
  co_await waiter->timer.async_wait(into(ignored));
  if (waiter->is_served) co_return std::nullopt;
  std::erase(waiters, waiter);
  co_return Error{Fault::Unavailable, "no connection became free in time"};
}

// Hands the place to who waits longest.
void HttpClient::State::free_place() {
  if (waiters.empty()) {
    --in_use;
    return;
  }
  const auto waiter = std::move(waiters.front());
  waiters.pop_front();
  waiter->is_served = true;
  waiter->timer.cancel();
}

// A kept connection that the server has not closed meanwhile.
std::unique_ptr<Stream> HttpClient::State::take_idle() {
  while (!idle.empty()) {
    auto stream = std::move(idle.back());
    idle.pop_back();
    char byte = 0;
    error_code error;
    auto& socket = stream->tcp().socket();
    socket.non_blocking(true, error);
    socket.receive(asio::buffer(&byte, 1), tcp::socket::message_peek, error);
    if (error == asio::error::would_block) return stream;
  }
  return nullptr;
}

asio::awaitable<Result<std::unique_ptr<Stream>>> HttpClient::State::connect(Instant deadline) {
  error_code error;
  const auto fail = [this](const error_code& why) {
    return Error{Fault::Unavailable,
                 "cannot connect to " + target.host + ":" + target.port + ": " + why.message()};
  };
  auto stream = std::make_unique<Stream>(loop);
  auto& connection = stream->tcp();
  connection.expires_at(
      std::min(deadline, std::chrono::steady_clock::now() + options.connect_timeout));
  const auto address = asio::ip::make_address(target.host, error);
  if (!error) {
    const tcp::endpoint endpoint(address, static_cast<std::uint16_t>(std::stoi(target.port)));
    co_await connection.async_connect(endpoint, into(error));
  } else {
    tcp::resolver resolver(loop);
    const auto endpoints = co_await resolver.async_resolve(target.host, target.port, into(error));
    if (error) co_return fail(error);
    co_await connection.async_connect(endpoints, into(error));
  }
  if (error) co_return fail(error);
  connection.socket().set_option(tcp::no_delay(true), error);
  if (target.is_tls) {
    auto greeting = shake_hands(*stream);
    const auto greeted = co_await std::move(greeting);
    if (!greeted) co_return greeted.error();
  }
  co_return stream;
}

// Until the deadline that the connection has already.
asio::awaitable<Result<void>> HttpClient::State::shake_hands(Stream& stream) {
  INVARIANT(options.tls != nullptr);
  auto& tls = stream.start_tls(options.tls->current());
  expect_host(tls.native_handle(), target.host);
  error_code error;
  co_await tls.async_handshake(asio::ssl::stream_base::client, into(error));
  if (!error) co_return success();
  const bool is_distrust = error.category() == asio::error::get_ssl_category();
  co_return Error{is_distrust ? Fault::Internal : Fault::Unavailable,
                  "no TLS with " + target.host + ":" + target.port + ": " +
                      handshake_failure(tls.native_handle(), error, options.tls->options())};
}

asio::awaitable<Result<HttpResponse>> HttpClient::State::exchange(Stream& stream,
                                                                  HttpRequest request,
                                                                  Instant deadline,
                                                                  bool& can_be_kept) {
  http::request<http::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(target.prefix + request.path);
  message.set(http::field::host, target.host + ":" + target.port);
  for (const auto& [name, value] : request.headers) message.insert(name, value);
  message.body() = std::move(request.body);
  message.prepare_payload();
  const auto lost = [this, &stream](const error_code& why) {
    if (stream.is_tls() && is_certificate_refused(why)) {
      return Error{Fault::Internal,
                   "no TLS with " + target.host + ":" + target.port + ": " +
                       handshake_failure(stream.native_tls(), why, options.tls->options())};
    }
    return Error{Fault::InDoubt, "the answer of " + target.host + ":" + target.port +
                                     " was lost: " + why.message()};
  };
  error_code error;
  stream.tcp().expires_at(deadline);
  co_await http::async_write(stream, message, into(error));
  if (error) co_return lost(error);
  http::response_parser<http::string_body> parser;
  parser.body_limit(options.body_bytes_max);
  if (request.method == "HEAD") parser.skip(true);
  beast::flat_buffer buffer;
  co_await http::async_read(stream, buffer, parser, into(error));
  if (error) co_return lost(error);
  auto answer = parser.release();
  can_be_kept = answer.keep_alive() && buffer.size() == 0;
  HttpResponse response;
  response.status = static_cast<int>(answer.result_int());
  response.content_type = std::string(answer[http::field::content_type]);
  for (const auto& field : answer) {
    std::string name(field.name_string());
    for (auto& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    response.headers.emplace_back(std::move(name), std::string(field.value()));
  }
  response.body = std::move(answer.body());
  co_return response;
}

asio::awaitable<Result<HttpResponse>> HttpClient::call(HttpRequest request, milliseconds timeout) {
  const auto state = state_;
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  auto taking = state->take_place(deadline);
  if (auto error = co_await std::move(taking)) co_return std::move(*error);
  auto stream = state->take_idle();
  if (!stream) {
    auto connecting = state->connect(deadline);
    auto connected = co_await std::move(connecting);
    if (!connected) {
      state->free_place();
      co_return connected.error();
    }
    stream = std::move(connected.value());
  }
  bool can_be_kept = false;
  auto exchanging = state->exchange(*stream, std::move(request), deadline, can_be_kept);
  auto response = co_await std::move(exchanging);
  stream->tcp().expires_never();
  if (can_be_kept) state->idle.push_back(std::move(stream));
  state->free_place();
  co_return response;
}

}  // namespace koshel::platform
