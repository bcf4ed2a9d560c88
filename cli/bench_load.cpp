#include "cli/bench_load.hpp"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <charconv>

#include "platform/stream.hpp"

namespace koshel::cli {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLastAnswersWait{10};
constexpr std::chrono::milliseconds kReconnectPause{200};
constexpr std::string_view kCommitted = R"("status":"committed")";
constexpr std::string_view kSettling = R"("status":"settling")";
constexpr std::string_view kCode = R"("code":")";

// Picks pairs of users as the workload wants them. xorshift64*: cheap, and the same for the same
// seed.
class PairPicker {
 public:
  explicit PairPicker(const LoadOptions& options)
      : users_(options.users), workload_(options.workload), state_(options.seed * 2 + 1) {
    for (std::size_t i = 0; i < users_.size(); ++i) {
      if (users_[i].shard >= groups_.size()) groups_.resize(users_[i].shard + 1);
      groups_[users_[i].shard].push_back(i);
    }
  }

  std::string fault() const {
    if (users_.size() < 2) return "needs two users at least: raise --users";
    std::size_t alone = 0;
    for (const auto& group : groups_) alone += group.size() == 1 ? 1 : 0;
    if (workload_ == Workload::Cross && groups_.size() < 2) {
      return "needs users on two shards, and all are on one: see `koshel shard list`";
    }
    if (workload_ == Workload::Local && alone > 0) {
      return "needs two users at least on each shard: raise --users";
    }
    return {};
  }

  struct Pair {
    const std::string& from;
    const std::string& to;
  };
  Pair pick() {
    const std::size_t first = below(users_.size());
    switch (workload_) {
      case Workload::Local:
        return {users_[first].name, users_[other_in(groups_[users_[first].shard], first)].name};
      case Workload::Cross: {
        const std::size_t step = 1 + below(groups_.size() - 1);
        const auto& group = groups_[(users_[first].shard + step) % groups_.size()];
        return {users_[first].name, users_[group[below(group.size())]].name};
      }
      case Workload::Hot: {
        const std::size_t other = 1 + below(users_.size() - 1);
        is_turned_ = !is_turned_;
        if (is_turned_) return {users_[0].name, users_[other].name};
        return {users_[other].name, users_[0].name};
      }
      case Workload::Mixed:
        break;
    }
    const std::size_t second = (first + 1 + below(users_.size() - 1)) % users_.size();
    return {users_[first].name, users_[second].name};
  }

  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return (state_ * 0x2545F4914F6CDD1DULL >> 32) * bound >> 32;
  }

 private:
  std::size_t other_in(const std::vector<std::size_t>& group, std::size_t first) {
    const std::size_t picked = group[below(group.size() - 1)];
    return picked == first ? group.back() : picked;
  }

  const std::vector<BenchUser>& users_;
  Workload workload_;
  std::vector<std::vector<std::size_t>> groups_;
  std::uint64_t state_;
  bool is_turned_ = false;
};

// Where an answer stands in the bytes that came so far.
struct AnswerFrame {
  std::size_t head = 0;   // bytes of status line and headers
  std::size_t total = 0;  // head and body
  bool is_broken = false;

  bool is_complete(std::string_view bytes) {
    if (head == 0) find_head(bytes);
    return head > 0 && bytes.size() >= total;
  }

 private:
  void find_head(std::string_view bytes) {
    const auto end = bytes.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      is_broken = bytes.size() > 64 * 1024;
      return;
    }
    head = end + 4;
    std::string lower(bytes.substr(0, head));
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const auto at = lower.find("\r\ncontent-length:");
    if (at == std::string::npos) {
      is_broken = true;
      return;
    }
    const char* first = lower.data() + lower.find_first_not_of(' ', at + 17);
    std::size_t length = 0;
    std::from_chars(first, lower.data() + lower.size(), length);
    total = head + length;
  }
};

class Load {
 public:
  explicit Load(const LoadOptions& options) : options_(options), picker_(options), timer_(loop_) {}

  std::string fault() const { return picker_.fault(); }
  LoadReport run();

 private:
  struct Connection {
    std::unique_ptr<platform::Stream> stream;  // null: not connected
    std::string head, body, answer;
  };

  asio::awaitable<void> work();
  asio::awaitable<void> open(Connection* connection);
  asio::awaitable<bool> exchange(Connection* connection);
  asio::awaitable<Instant> next_start();
  void build(Connection& connection);
  void append_transfer(std::string& body);
  void append_key(std::string& text);
  void count(std::string_view answer, Duration latency);
  void count_codes(std::string_view body);
  bool is_measured() const { return steady_clock::now() >= measured_from_; }

  const LoadOptions& options_;
  PairPicker picker_;
  asio::io_context loop_{1};
  asio::steady_timer timer_;
  int working_ = 0;
  std::uint64_t keys_ = 0;
  Instant next_due_;
  Instant measured_from_;
  Instant until_;
  LoadReport report_;
};

void Load::append_key(std::string& text) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, ++keys_).ptr;
  text.append("bench-").append(std::to_string(options_.seed)).append("-");
  text.append(digits, end);
}

void Load::append_transfer(std::string& body) {
  const auto pair = picker_.pick();
  body.append(R"({"from":")").append(pair.from).append(R"(","to":")").append(pair.to);
  const auto units = 1 + picker_.below(99);
  body.append(options_.amount_decimals >= 2 ? R"(","amount":"0.)" : R"(","amount":")");
  if (units >= 10 || options_.amount_decimals >= 2) body += static_cast<char>('0' + units / 10);
  body += static_cast<char>('0' + units % 10);
  if (options_.is_keyed && options_.batch > 0) {
    body.append(R"(","idempotency_key":")");
    append_key(body);
  }
  body.append("\"}");
}

void Load::build(Connection& connection) {
  std::string& body = connection.body;
  body.clear();
  if (options_.batch > 0) {
    body.append(R"({"transfers":[)");
    for (int i = 0; i < options_.batch; ++i) {
      if (i > 0) body += ',';
      append_transfer(body);
    }
    body.append("]}");
  } else {
    append_transfer(body);
  }
  std::string& head = connection.head;
  head.assign("POST ").append(options_.server.target.prefix).append("/v1/transfers");
  if (options_.batch > 0) head.append("/batch");
  head.append(" HTTP/1.1\r\nHost: ").append(options_.server.target.host);
  head.append("\r\nContent-Type: application/json\r\nContent-Length: ");
  head.append(std::to_string(body.size()));
  if (!options_.token.empty()) head.append("\r\nAuthorization: Bearer ").append(options_.token);
  if (options_.is_keyed && options_.batch == 0) {
    head.append("\r\nIdempotency-Key: ");
    append_key(head);
  }
  head.append("\r\n\r\n");
}

asio::awaitable<void> Load::open(Connection* connection) {
  boost::system::error_code fault;
  auto token = asio::redirect_error(asio::use_awaitable, fault);
  const auto& [target, tls] = options_.server;
  tcp::resolver resolver(loop_);
  const auto found = co_await resolver.async_resolve(target.host, target.port, token);
  if (fault) co_return;
  auto stream = std::make_unique<platform::Stream>(loop_.get_executor());
  co_await asio::async_connect(stream->tcp().socket(), found, token);
  if (fault) co_return;
  stream->tcp().socket().set_option(tcp::no_delay(true), fault);
  if (tls) {
    auto& greeting = stream->start_tls(tls->current());
    platform::expect_host(greeting.native_handle(), target.host);
    co_await greeting.async_handshake(asio::ssl::stream_base::client, token);
    if (fault) co_return;
  }
  connection->stream = std::move(stream);
}

asio::awaitable<bool> Load::exchange(Connection* connection) {
  boost::system::error_code fault;
  auto token = asio::redirect_error(asio::use_awaitable, fault);
  const std::array<asio::const_buffer, 2> request{asio::buffer(connection->head),
                                                  asio::buffer(connection->body)};
  co_await asio::async_write(*connection->stream, request, token);
  if (fault) co_return false;
  std::string& answer = connection->answer;
  std::size_t filled = 0;
  AnswerFrame frame;
  while (!frame.is_complete(std::string_view(answer.data(), filled))) {
    if (frame.is_broken) co_return false;
    if (answer.size() - filled < 16 * 1024) answer.resize(answer.size() + 64 * 1024);
    filled += co_await connection->stream->async_read_some(
        asio::buffer(answer.data() + filled, answer.size() - filled), token);
    if (fault) co_return false;
  }
  connection->head.assign(answer, 0, frame.head);
  connection->body.assign(answer, frame.head, frame.total - frame.head);
  co_return true;
}

// When the next request is due: with a rate at its turn, which may have passed already.
asio::awaitable<Instant> Load::next_start() {
  if (options_.rate == 0) co_return steady_clock::now();
  const auto due = next_due_;
  const auto transfers = static_cast<double>(std::max(options_.batch, 1));
  next_due_ += std::chrono::duration_cast<Duration>(
      std::chrono::duration<double>(transfers / options_.rate));
  asio::steady_timer turn(loop_, std::min(due, until_));
  co_await turn.async_wait(asio::use_awaitable);
  co_return due;
}

asio::awaitable<void> Load::work() {
  Connection connection;
  for (;;) {
    const auto started = co_await next_start();
    if (std::max(started, steady_clock::now()) >= until_) break;
    if (!connection.stream) co_await open(&connection);
    bool is_answered = false;
    build(connection);
    if (connection.stream) is_answered = co_await exchange(&connection);
    if (is_answered) {
      count(connection.body, steady_clock::now() - started);
      continue;
    }
    if (is_measured()) ++report_.others["CONNECTION_LOST"];
    connection.stream.reset();
    asio::steady_timer pause(loop_, kReconnectPause);
    co_await pause.async_wait(asio::use_awaitable);
  }
  if (--working_ == 0) timer_.cancel();
}

void Load::count(std::string_view body, Duration latency) {
  const auto now = steady_clock::now();
  if (now < measured_from_ || now > until_) return;
  std::uint64_t done = 0;
  for (auto at = body.find(kCommitted); at != std::string_view::npos;
       at = body.find(kCommitted, at + kCommitted.size())) {
    ++done;
  }
  ++report_.requests;
  report_.committed += done;
  const auto asked = static_cast<std::uint64_t>(std::max(options_.batch, 1));
  report_.latency.add(latency, asked);
  if (done < asked) count_codes(body);
}

void Load::count_codes(std::string_view body) {
  bool is_any = false;
  for (auto at = body.find(kSettling); at != std::string_view::npos;
       at = body.find(kSettling, at + kSettling.size())) {
    ++report_.settling;
    is_any = true;
  }
  for (auto at = body.find(kCode); at != std::string_view::npos; at = body.find(kCode, at)) {
    at += kCode.size();
    ++report_.others[std::string(body.substr(at, body.find('"', at) - at))];
    is_any = true;
  }
  if (!is_any) ++report_.others["NO_CODE"];
}

LoadReport Load::run() {
  next_due_ = steady_clock::now();
  measured_from_ = next_due_ + options_.warm_up;
  until_ = measured_from_ + options_.length;
  working_ = options_.connections;
  for (int i = 0; i < options_.connections; ++i) asio::co_spawn(loop_, work(), asio::detached);
  // A server that stops answering must not hold the bench for ever.
  timer_.expires_at(until_ + kLastAnswersWait);
  timer_.async_wait([this](boost::system::error_code) { loop_.stop(); });
  loop_.run();
  report_.seconds = options_.length;
  return std::move(report_);
}

}  // namespace

Outcome<LoadReport> run_load(const LoadOptions& options) {
  Load load(options);
  if (auto fault = load.fault(); !fault.empty()) {
    return Failure(ExitCode::Usage, "this workload " + fault);
  }
  return load.run();
}

}  // namespace koshel::cli
