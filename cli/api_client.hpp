#pragma once
// The coordinator's HTTP API, spoken synchronously: one command, one request at a time. Turns
// answers that are not 2xx into a Failure with the exit code of API.md and a sentence for people.
// Repeats calls only where the caller asks for it with call_until_answered().

#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/console.hpp"
#include "platform/http.hpp"

namespace koshel::cli {

struct ApiCall {
  std::string method = "GET";
  std::string path;  // with its prefix and percent-encoded: "/v1/users/anna"
  std::vector<std::pair<std::string, std::string>> query{};
  std::string body{};
  std::string key{};  // Idempotency-Key, if not empty
  std::chrono::milliseconds timeout{30'000};
  std::chrono::milliseconds deadline{0};  // the server's, for the whole call; 0: its own default
};

struct ApiReply {
  int status = 0;
  std::string body;
  boost::json::value json;  // null when the body is not JSON
  std::chrono::milliseconds retry_after{0};
  bool is_replay = false;

  bool is_success() const { return status >= 200 && status < 300; }
};

// `token` goes into the Authorization header, if not empty.
platform::HttpRequest to_request(const ApiCall& call, const std::string& token);
ApiReply to_reply(platform::HttpResponse response);

// "code" of a problem, or "" where there is none.
std::string_view code_of(const ApiReply& reply);
// Whether the same call, sent again, may get another answer soon.
bool is_worth_repeating(const ApiReply& reply);
// For answers that are not 2xx.
Failure failure_of(const ApiReply& reply, const ApiCall& call = {});
// The same without advice, where the usual one would be wrong: to log in is none when a login fails.
Failure plain_failure_of(const ApiReply& reply);
Failure failure_of(const Error& error, const ApiCall& call, const std::string& server);

// A member as text: a string as it is, a number written out, "" when it is missing or null.
std::string text_of(const boost::json::value& object, std::string_view member);
// An array of strings as "teller, auditor"; "" when it is missing.
std::string list_of(const boost::json::value& object, std::string_view member);

// A URL and, for https, what it takes to speak with it. Usage when either cannot be used.
struct ApiServer {
  platform::HttpTarget target;
  std::shared_ptr<platform::TlsContext> tls;
};
Outcome<ApiServer> find_server(const std::string& url, platform::TlsOptions tls);
// Usage if what is sent to the URL could be read on its way: a secret must not go there.
Outcome<void> check_fit_for_secrets(const std::string& url);

class ApiClient {
 public:
  // With the token that belongs to the console's server.
  static Outcome<ApiClient> open(const Console& console);
  static Outcome<ApiClient> open(const std::string& url, platform::TlsOptions tls,
                                 std::string token = {});

  // One attempt; an Error when there was no answer.
  Result<ApiReply> attempt(const ApiCall& call);
  // One attempt; anything but 2xx is a Failure.
  Outcome<ApiReply> call(const ApiCall& call);
  // The same for a request that cannot be malformed: what the server finds invalid is how things
  // stand, and so a refusal.
  Outcome<ApiReply> tell(const ApiCall& call);
  // Attempts until an answer is final or `patience` is over. Only for calls that may be repeated:
  // reads, and writes with a key. Outcome Unknown as soon as one attempt may have been carried out.
  Outcome<ApiReply> call_until_answered(const ApiCall& call, std::chrono::milliseconds patience);

  const std::string& server() const { return url_; }
  const std::string& token() const { return token_; }

 private:
  ApiClient(std::string url, ApiServer server, std::string token);

  std::string url_;
  std::string token_;
  std::unique_ptr<boost::asio::io_context> loop_;
  std::unique_ptr<platform::HttpClient> client_;
};

std::string user_path(std::string_view name);  // "/v1/users/<name>", encoded

// Prints a 2xx body as it came, on a line.
void print_json(const ApiReply& reply);

}  // namespace koshel::cli
