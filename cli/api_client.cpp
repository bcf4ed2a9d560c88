#include "cli/api_client.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cstdio>
#include <thread>
#include <utility>

#include "base/printable.hpp"
#include "cli/output.hpp"
#include "cli/tokens.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{2'000};
constexpr milliseconds kSilenceMax{2'000};

const std::string* header_of(const platform::HttpResponse& response,
                             std::string_view lower_case_name) {
  const auto is_it = [&](const auto& header) {
    return std::equal(
        header.first.begin(), header.first.end(), lower_case_name.begin(), lower_case_name.end(),
        [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == b; });
  };
  const auto found = std::find_if(response.headers.begin(), response.headers.end(), is_it);
  return found == response.headers.end() ? nullptr : &found->second;
}

boost::asio::awaitable<void> keep_answer(platform::HttpClient* client,
                                         platform::HttpRequest request, milliseconds timeout,
                                         std::optional<Result<platform::HttpResponse>>* answer) {
  auto result = co_await client->call(std::move(request), timeout);
  answer->emplace(std::move(result));
}

ExitCode exit_code_of(const ApiReply& reply) {
  if (text_of(reply.json, "outcome") == "unknown" || reply.status == 504) return ExitCode::Unknown;
  switch (reply.status) {
    case 400:
    case 405:
    case 413:
    case 415:
    case 431:
      return ExitCode::Usage;
    case 429:
    case 500:
    case 503:
      return ExitCode::Unavailable;
    default:
      return ExitCode::Refused;
  }
}

// What to do about a refusal, where the server's own sentence does not say it.
std::string_view hint_of(std::string_view code) {
  if (code == "USER_NOT_FOUND") return "`koshel user list` shows who is there";
  if (code == "USER_ALREADY_EXISTS") {
    return "`koshel get -n NAME` shows the user, `koshel user set` changes the limits";
  }
  if (code == "ACCOUNT_FROZEN") return "`koshel user set -n NAME --unfreeze` lets money flow again";
  if (code == "IDEMPOTENCY_KEY_REUSED") return "give this transfer another --key, or none";
  if (code == "SHARD_ALREADY_EXISTS") return "`koshel shard list` shows it";
  if (code == "REBALANCE_IN_PROGRESS") return "`koshel rebalance status` shows it";
  if (code == "UNAUTHENTICATED") {
    return "log in with `koshel login`, or name another token with --token-file or KOSHEL_TOKEN";
  }
  if (code == "PERMISSION_DENIED") return "`koshel whoami` shows who you are and what you may do";
  if (code == "INTERNAL") return "the coordinator's log says why";
  return {};
}

// When nobody knows whether it was done. Without a key, doing it again may do it twice.
std::string advice_of(const ApiCall& call) {
  return call.key.empty() ? "look before you do it again"
                          : "ask again with the same key, --key " + call.key;
}

}  // namespace

platform::HttpRequest to_request(const ApiCall& call, const std::string& token) {
  platform::HttpRequest request;
  request.method = call.method;
  request.path = call.path;
  char separator = '?';
  for (const auto& [name, value] : call.query) {
    request.path += separator + name + "=" + platform::percent_encode(value);
    separator = '&';
  }
  request.body = call.body;
  request.headers.emplace_back("accept", "application/json");
  if (!call.body.empty()) request.headers.emplace_back("content-type", "application/json");
  if (!token.empty()) request.headers.emplace_back("authorization", "Bearer " + token);
  if (!call.key.empty()) request.headers.emplace_back("idempotency-key", call.key);
  if (call.deadline.count() > 0) {
    request.headers.emplace_back("koshel-deadline-ms", std::to_string(call.deadline.count()));
  }
  return request;
}

ApiReply to_reply(platform::HttpResponse response) {
  ApiReply reply;
  reply.status = response.status;
  reply.body = std::move(response.body);
  boost::system::error_code ignored;
  reply.json = json::parse(reply.body, ignored);
  if (const auto* value = header_of(response, "retry-after")) {
    int seconds = 0;
    std::from_chars(value->data(), value->data() + value->size(), seconds);
    reply.retry_after = milliseconds(1'000) * std::clamp(seconds, 0, 60);
  }
  if (const auto* value = header_of(response, "idempotency-replayed"))
    reply.is_replay = *value == "true";
  return reply;
}

std::string text_of(const json::value& object, std::string_view member) {
  const auto* members = object.if_object();
  if (members == nullptr) return {};
  const auto* value = members->if_contains(member);
  if (value == nullptr || value->is_null()) return {};
  if (const auto* text = value->if_string()) return std::string(text->data(), text->size());
  return json::serialize(*value);
}

std::string list_of(const json::value& object, std::string_view member) {
  const auto* members = object.if_object();
  const auto* value = members == nullptr ? nullptr : members->if_contains(member);
  const auto* items = value == nullptr ? nullptr : value->if_array();
  std::string list;
  for (const auto& item : items == nullptr ? json::array() : *items) {
    if (!item.is_string()) continue;
    list.append(list.empty() ? "" : ", ").append(item.get_string());
  }
  return list;
}

std::string_view code_of(const ApiReply& reply) {
  const auto* object = reply.json.if_object();
  const auto* code = object == nullptr ? nullptr : object->if_contains("code");
  const auto* text = code == nullptr ? nullptr : code->if_string();
  return text == nullptr ? std::string_view() : std::string_view(text->data(), text->size());
}

bool is_worth_repeating(const ApiReply& reply) {
  if (reply.status == 503 || reply.status == 429 || reply.status == 504) return true;
  return code_of(reply) == "IDEMPOTENCY_IN_PROGRESS";
}

Failure plain_failure_of(const ApiReply& reply) {
  std::string sentence = printable(text_of(reply.json, "detail"));
  if (sentence.empty()) sentence = printable(text_of(reply.json, "title"));
  if (sentence.empty()) {
    sentence = "the server answered with status " + std::to_string(reply.status) +
               " and no explanation; is it a Koshel coordinator?";
  }
  if (const auto code = code_of(reply); !code.empty()) sentence += " [" + printable(code) + "]";
  if (reply.status == 429 && reply.retry_after.count() > 0) {
    sentence += "; not before " + format_duration(reply.retry_after) + " from now";
  }
  return {exit_code_of(reply), std::move(sentence)};
}

Failure failure_of(const ApiReply& reply, const ApiCall& call) {
  auto failure = plain_failure_of(reply);
  auto& sentence = failure.sentence;
  if (const auto hint = hint_of(code_of(reply)); !hint.empty())
    sentence += "; " + std::string(hint);
  if (failure.code == ExitCode::Unavailable) {
    sentence += "; nothing happened, try again in a moment";
  }
  if (failure.code == ExitCode::Unknown) {
    sentence += "; it may have been done: " + advice_of(call);
  }
  return failure;
}

Failure failure_of(const Error& error, const ApiCall& call, const std::string& server) {
  if (error.fault == Fault::InDoubt && call.method != "GET") {
    return {ExitCode::Unknown, "no answer from " + server + " (" + error.context +
                                   "); it may have been done: " + advice_of(call)};
  }
  if (error.fault == Fault::Internal) {
    return {ExitCode::Usage, "cannot speak with the coordinator at " + server + ": " +
                                 error.context + "; nothing happened"};
  }
  return {ExitCode::Unavailable,
          "cannot reach the coordinator at " + server + " (" + error.context +
              "); nothing happened: start it (an embedded one with `koshel cluster up`), or name "
              "another with --server URL"};
}

Outcome<ApiServer> find_server(const std::string& url, platform::TlsOptions tls) {
  auto target = platform::parse_url(url);
  if (!target) {
    return Failure(ExitCode::Usage, "--server " + url + ": " + target.error().context +
                                        "; write it as https://HOST:PORT or http://HOST:PORT");
  }
  ApiServer server{std::move(target.value()), nullptr};
  if (!server.target.is_tls) return server;
  auto context = platform::TlsContext::load(platform::TlsSide::Client, std::move(tls));
  if (!context) return Failure(ExitCode::Usage, context.error().context);
  server.tls = std::move(context.value());
  return server;
}

Outcome<void> check_fit_for_secrets(const std::string& url) {
  const auto target = platform::parse_url(url);
  if (!target || target.value().is_tls || platform::is_loopback(target.value().host)) {
    return success();
  }
  return Failure(ExitCode::Usage,
                 "a password or token would go to " + url +
                     " in plain text, for all on the way to read; nothing was sent: name the "
                     "coordinator's https:// URL with --server (it needs `coordinator.tls`), or do "
                     "it on its own machine");
}

ApiClient::ApiClient(std::string url, ApiServer server, std::string token)
    : url_(std::move(url)),
      token_(std::move(token)),
      loop_(std::make_unique<boost::asio::io_context>(1)) {
  client_ =
      std::make_unique<platform::HttpClient>(loop_->get_executor(), std::move(server.target),
                                             platform::ClientOptions{.tls = std::move(server.tls)});
}

Outcome<ApiClient> ApiClient::open(const Console& console) {
  KOSHEL_TRY(auto url, console.server_url());
  KOSHEL_TRY(auto client, open(url, console.tls()));
  KOSHEL_TRY(auto token, find_token(console, url));
  if (!token.empty()) {
    KOSHEL_TRY(check_fit_for_secrets(url));
  }
  client.token_ = std::move(token);
  return client;
}

Outcome<ApiClient> ApiClient::open(const std::string& url, platform::TlsOptions tls,
                                   std::string token) {
  KOSHEL_TRY(auto server, find_server(url, std::move(tls)));
  return ApiClient(url, std::move(server), std::move(token));
}

Result<ApiReply> ApiClient::attempt(const ApiCall& call) {
  std::optional<Result<platform::HttpResponse>> answer;
  boost::asio::co_spawn(*loop_,
                        keep_answer(client_.get(), to_request(call, token_), call.timeout, &answer),
                        boost::asio::detached);
  loop_->restart();
  while (!answer && loop_->run_one() > 0) {
  }
  if (!answer) return Error{Fault::Internal, "the call ended without an answer"};
  if (!*answer) return answer->error();
  return to_reply(std::move(answer->value()));
}

Outcome<ApiReply> ApiClient::call(const ApiCall& call) {
  auto reply = attempt(call);
  if (!reply) return failure_of(reply.error(), call, url_);
  if (!reply.value().is_success()) return failure_of(reply.value(), call);
  return std::move(reply.value());
}

Outcome<ApiReply> ApiClient::tell(const ApiCall& call) {
  auto reply = this->call(call);
  if (!reply && reply.error().code == ExitCode::Usage) {
    return Failure(ExitCode::Refused, reply.error().sentence);
  }
  return reply;
}

Outcome<ApiReply> ApiClient::call_until_answered(const ApiCall& call, milliseconds patience) {
  const auto started = std::chrono::steady_clock::now();
  const auto until = started + patience;
  bool may_be_done = false;
  bool is_told = false;
  for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    auto reply = attempt(call);
    if (reply && (reply.value().is_success() || !is_worth_repeating(reply.value()))) {
      return std::move(reply.value());
    }
    Failure failure =
        reply ? failure_of(reply.value(), call) : failure_of(reply.error(), call, url_);
    if (failure.code == ExitCode::Unknown) may_be_done = true;
    if (failure.code == ExitCode::Usage && !may_be_done) return failure;
    const auto wait = std::max(pause, reply ? reply.value().retry_after : milliseconds(0));
    if (std::chrono::steady_clock::now() + wait >= until) {
      if (may_be_done && failure.code != ExitCode::Unknown) {
        failure = {ExitCode::Unknown,
                   failure.sentence +
                       "; but an earlier attempt may have been carried out: " + advice_of(call)};
      }
      return failure;
    }
    if (std::chrono::steady_clock::now() - started > kSilenceMax && !std::exchange(is_told, true)) {
      say("no answer yet; trying on for up to " + format_duration(patience));
    }
    std::this_thread::sleep_for(wait);
  }
}

std::string user_path(std::string_view name) {
  return "/v1/users/" + platform::percent_encode(name);
}

void print_json(const ApiReply& reply) {
  std::string line = reply.body;
  // Between JSON's tokens these are spaces; inside its strings they cannot stand.
  std::replace_if(
      line.begin(), line.end(), [](char c) { return c == '\n' || c == '\r' || c == '\t'; }, ' ');
  print_line(line);
}

}  // namespace koshel::cli
