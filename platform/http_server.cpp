#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <random>
#include <set>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "platform/http.hpp"
#include "platform/http_answer.hpp"
#include "platform/log.hpp"
#include "platform/open_files.hpp"
#include "platform/request_reader.hpp"
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

constexpr unsigned char kTlsHandshake = 22;       // the first byte of a connection that speaks TLS
constexpr std::chrono::seconds kFailuresTold{1};  // of handshakes: one line of log in that time
constexpr std::size_t kOtherFiles = 256;          // databases, agents of some shards, the log
constexpr std::chrono::seconds kSlowReader{1};    // who has not taken an answer by then
constexpr std::size_t kFirstBytes = std::size_t{4} << 10;  // read at once, of a new request
constexpr std::size_t kMoreBytes = std::size_t{64} << 10;

std::string random_id(std::mt19937_64& random) {
  return fmt::format("{:016x}", random());
}

bool is_request_id(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; });
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
    bool is_idle = true;      // between two requests
    bool is_late = false;     // the request was not read in time
    bool gives_way = false;   // to another connection
    bool was_served = false;  // a request of it was answered
    std::size_t held = 0;     // bytes of the request's body, then of the answer
  };

  // Those that wait for a request, or for the rest of one, in the order in which they give way to
  // newer connections: first who never had an answer, and of these who waits longest.
  using Waiting = std::tuple<bool, Instant, Session*>;

  struct ReadEnd {
    bool is_complete = false;
    std::optional<ProtocolFault> fault{};  // to be answered; without one the other side has gone
  };

  asio::io_context& loop;
  ServerOptions options;
  tcp::acceptor acceptor;
  std::mt19937_64 random;
  std::unordered_set<Session*> sessions;
  std::set<Waiting> waiting;
  // Whose answer is under way, and since when. Who does not take it gives way to others' bytes.
  std::unordered_map<Session*, Instant> writing;
  std::size_t held = 0;  // bytes, by all sessions
  int refused = 0;       // connections beyond connections_max, on their way out
  bool is_stopping = false;
  Instant handshake_failure_told = Instant::min();
  int handshake_failures_untold = 0;

  asio::awaitable<void> accept();
  asio::awaitable<void> serve(std::shared_ptr<Session> session);
  asio::awaitable<bool> shake_hands(std::shared_ptr<Session> session);
  void tell_handshake_failure(const Session& session, const std::string& why);
  asio::awaitable<bool> serve_one(std::shared_ptr<Session> session);
  asio::awaitable<ReadEnd> read(std::shared_ptr<Session> session, RequestReader& reader);
  asio::awaitable<ReadEnd> read_in_line(std::shared_ptr<Session> session, RequestReader& reader);
  asio::awaitable<std::optional<ReadEnd>> read_some(std::shared_ptr<Session> session);
  void start_clock(const std::shared_ptr<Session>& session);
  bool make_room();
  bool make_memory(const Session& session);
  void close(Session* session);
  void hold(Session& session, std::size_t bytes);
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
  const auto& http = state.options.http;
  const auto connections = static_cast<std::size_t>(http.connections_max + http.refusals_max);
  if (!allow_open_files(connections + kOtherFiles)) {
    spdlog::warn(
        "the system allows fewer open files than connections_max needs: raise `ulimit -n`");
  }
  asio::co_spawn(state.loop, state.accept(), end_on_failure);
  return success();
}

std::uint16_t HttpServer::port() const {
  return state_->acceptor.local_endpoint().port();
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
  if (!make_room()) {
    if (refused == options.http.refusals_max) co_return;
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
  const Waiting place{false, std::chrono::steady_clock::now(), session.get()};
  waiting.insert(place);
  auto greeting = shake_hands(session);
  bool goes_on = co_await std::move(greeting);
  waiting.erase(place);
  while (goes_on && !is_stopping) {
    auto serving = serve_one(session);
    goes_on = co_await std::move(serving);
  }
  sessions.erase(session.get());
  hold(*session, 0);
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
  if (!error) co_return !session->gives_way;
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

// Whether there is a place for one more connection. Who only waits gives way: so connections that
// ask nothing, however many, keep nobody out.
bool HttpServer::State::make_room() {
  if (static_cast<int>(sessions.size()) < options.http.connections_max) return true;
  if (waiting.empty()) return false;
  close(std::get<Session*>(*waiting.begin()));
  return true;
}

// Whether what `session` has sent so far can be kept. Who has sent the most, or does not take the
// largest answer, gives way: so neither keeps small requests out, which are let in anyway.
bool HttpServer::State::make_memory(const Session& session) {
  while (held > options.http.buffered_bytes_max) {
    Session* most = nullptr;
    const auto consider = [&most](Session* other) {
      if (most == nullptr || other->held > most->held) most = other;
    };
    for (const auto& place : waiting) consider(std::get<Session*>(place));
    const auto slow = std::chrono::steady_clock::now() - kSlowReader;
    for (const auto& [other, since] : writing) {
      if (since < slow) consider(other);
    }
    if (most == nullptr || most->held <= session.held) return session.held <= kMoreBytes;
    close(most);
  }
  return true;
}

void HttpServer::State::close(Session* session) {
  std::erase_if(waiting,
                [session](const Waiting& place) { return std::get<Session*>(place) == session; });
  writing.erase(session);
  sessions.erase(session);
  hold(*session, 0);
  session->gives_way = true;
  session->stream.tcp().cancel();
}

void HttpServer::State::hold(Session& session, std::size_t bytes) {
  held += bytes - session.held;
  session.held = bytes;
}

asio::awaitable<HttpServer::State::ReadEnd> HttpServer::State::read_in_line(
    std::shared_ptr<Session> session, RequestReader& reader) {
  const Waiting place{session->was_served, std::chrono::steady_clock::now(), session.get()};
  waiting.insert(place);
  auto reading = read(session, reader);
  const auto end = co_await std::move(reading);
  waiting.erase(place);
  session->reading_until.expires_at(Instant::max());
  co_return end;
}

// Waits for a request and reads it.
asio::awaitable<HttpServer::State::ReadEnd> HttpServer::State::read(
    std::shared_ptr<Session> session, RequestReader& reader) {
  auto& buffer = session->buffer;
  session->is_late = false;
  session->is_idle = buffer.size() == 0;
  if (session->is_idle) {  // wait for its first byte: that may take long, the rest may not
    session->stream.tcp().expires_after(options.http.idle_timeout);
    auto waiting_for_it = read_some(session);
    const auto end = co_await std::move(waiting_for_it);
    if (end) co_return *end;
    session->is_idle = false;
  }
  start_clock(session);
  for (;;) {
    const auto bytes = buffer.data();
    const auto [used, step] = reader.take({static_cast<const char*>(bytes.data()), bytes.size()});
    buffer.consume(used);
    if (step == RequestReader::Step::Refused) co_return ReadEnd{false, reader.fault()};
    hold(*session, reader.body_bytes());
    if (!make_memory(*session)) co_return ReadEnd{false, ProtocolFault::Overloaded};
    if (step == RequestReader::Step::Complete) co_return ReadEnd{true, std::nullopt};
    if (step == RequestReader::Step::WantsContinue) {
      const http::response<http::empty_body> go_on(http::status::continue_, 11);
      error_code ignored;  // reading will meet it again
      co_await http::async_write(session->stream, go_on, into(ignored));
    }
    auto reading = read_some(session);
    const auto end = co_await std::move(reading);
    if (end) co_return *end;
  }
}

// The stream's own expiry closes the socket, and a slow client's answer with it: so a timer stops
// the reading first, and the expiry only bounds what else may wait.
void HttpServer::State::start_clock(const std::shared_ptr<Session>& session) {
  session->stream.tcp().expires_after(options.http.request_timeout + options.http.linger);
  session->reading_until.expires_after(options.http.request_timeout);
  session->reading_until.async_wait([session](error_code) {
    if (session->reading_until.expiry() > std::chrono::steady_clock::now()) return;  // it was read
    session->is_late = true;
    session->stream.tcp().cancel();
  });
}

// Bytes for the session's buffer, or why no more is read.
asio::awaitable<std::optional<HttpServer::State::ReadEnd>> HttpServer::State::read_some(
    std::shared_ptr<Session> session) {
  error_code error;
  if (!session->gives_way && !session->is_late) {
    const auto place = session->buffer.prepare(session->is_idle ? kFirstBytes : kMoreBytes);
    const auto size = co_await session->stream.async_read_some(place, into(error));
    session->buffer.commit(size);
  }
  if (session->gives_way) co_return ReadEnd{};
  if (session->is_late) co_return ReadEnd{false, ProtocolFault::TooSlow};
  if (error) co_return ReadEnd{};
  co_return std::nullopt;
}

// Reads one request and answers it; false when the connection is done.
asio::awaitable<bool> HttpServer::State::serve_one(std::shared_ptr<Session> session) {
  std::optional<RequestReader> reader(std::in_place, options.http);
  auto reading = read_in_line(session, *reader);
  const auto end = co_await std::move(reading);
  if (!end.is_complete) {
    reader.reset();
    hold(*session, 0);
    if (end.fault) {
      auto refusing = refuse(*session, *end.fault);
      co_await std::move(refusing);
    }
    co_return false;
  }
  Answer answer;
  answer.version = reader->version();
  answer.keep_alive = reader->keeps_alive();
  HttpRequest request;
  request.peer = session->peer;
  request.received = std::chrono::steady_clock::now();
  const bool is_sound = reader->move_to(request);
  answer.is_head = request.method == "HEAD";
  const auto* id = request.header("x-request-id");
  request.id = id != nullptr && is_request_id(*id) ? *id : random_id(random);
  answer.request_id = request.id;
  if (is_sound) {
    auto handling = call_handler(std::move(request));
    answer.response = co_await std::move(handling);
    if (answer.response.status == HttpResponse::kNone) co_return false;
  } else {
    answer.response = options.on_protocol_error(ProtocolFault::Malformed);
  }
  answer.keep_alive = answer.keep_alive && !is_stopping;
  hold(*session, answer.response.body.size());
  writing.emplace(session.get(), std::chrono::steady_clock::now());
  auto answering = write(*session, std::move(answer));
  const bool goes_on = co_await std::move(answering);
  writing.erase(session.get());
  hold(*session, 0);
  session->was_served = true;
  co_return goes_on;
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
  answer.response = options.on_protocol_error(fault);
  answer.keep_alive = false;
  auto answering = write(session, std::move(answer));
  co_await std::move(answering);
  auto lingering = linger(session);
  co_await std::move(lingering);
}

// Reads for a moment what the client still sends, because closing with unread bytes would reset the
// connection and take with it what was said last. Who is only listened to gives way to others.
asio::awaitable<void> HttpServer::State::linger(Session& session) {
  error_code error;
  auto& connection = session.stream.tcp();
  connection.socket().shutdown(tcp::socket::shutdown_send, error);
  const Waiting place{session.was_served, std::chrono::steady_clock::now(), &session};
  if (sessions.contains(&session)) waiting.insert(place);
  constexpr std::size_t kLingerBytes = std::size_t{64} << 20;
  std::vector<char> scrap(std::size_t{64} << 10);
  connection.expires_after(options.http.linger);
  for (std::size_t read = 0; !error && !session.gives_way && read < kLingerBytes;) {
    read += co_await connection.async_read_some(asio::buffer(scrap), into(error));
  }
  waiting.erase(place);
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
