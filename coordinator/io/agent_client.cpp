#include "coordinator/io/agent_client.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

asio::awaitable<Result<std::string>> AgentClient::send(platform::HttpRequest request,
                                                       Instant deadline) {
  if (!is_trusted_) {
    co_return Error{Fault::Unavailable, kAgentUrlRule};
  }
  const auto left = std::chrono::ceil<platform::milliseconds>(
      std::min(deadline, std::chrono::steady_clock::now() + timeout_) -
      std::chrono::steady_clock::now());
  auto pending = client_.call(std::move(request), left);
  auto response = co_await std::move(pending);
  // Without trust nothing was sent, and it may be mended any time.
  if (!response && response.error().fault == Fault::Internal) {
    co_return Error{Fault::Unavailable, response.error().context};
  }
  if (!response) co_return response.error();
  if (response.value().status == 200) co_return std::move(response.value().body);
  const auto context = "the agent answered " + std::to_string(response.value().status) + ": " +
                       response.value().body;
  // An agent's own 500 may have come after it did something; every other status came before.
  const auto fault = response.value().status == 500 ? Fault::InDoubt : Fault::Unavailable;
  co_return Error{fault, context};
}

asio::awaitable<Result<std::string>> AgentClient::post(std::string path, std::string body,
                                                       Instant deadline) {
  platform::HttpRequest request;
  request.method = "POST";
  request.path = std::move(path);
  request.headers.emplace_back("content-type", "application/json");
  request.headers.emplace_back(messages::kShardHeader, shard_);
  request.body = std::move(body);
  return send(std::move(request), deadline);
}

asio::awaitable<Result<messages::AgentStatus>> AgentClient::status(Instant deadline) {
  platform::HttpRequest request;
  request.method = "GET";
  request.path = "/v1/status";
  auto pending = send(std::move(request), deadline);
  auto body = co_await std::move(pending);
  if (!body) co_return body.error();
  co_return messages::from_json<messages::AgentStatus>(body.value());
}

asio::awaitable<void> AgentClient::release(messages::Release release) {
  auto pending = post("/v1/rounds/release", messages::to_json(release), Instant::max());
  co_await std::move(pending);
}

}  // namespace koshel::coordinator
