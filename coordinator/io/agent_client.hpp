#pragma once
// One shard's agent, as a coordinator calls it: typed messages over kept-alive HTTP. An Error tells
// whether anything can have happened (Unavailable: no; InDoubt: perhaps).

#include <boost/asio/awaitable.hpp>

#include "base/messages/json.hpp"
#include "platform/http.hpp"

namespace koshel::coordinator {

class AgentClient {
 public:
  struct Options {
    platform::ClientOptions http;
    platform::milliseconds timeout;
  };
  AgentClient(boost::asio::any_io_executor loop, platform::HttpTarget target, Options options)
      : client_(std::move(loop), std::move(target), options.http), timeout_(options.timeout) {}

  template <class Reply, class Message>
  boost::asio::awaitable<Result<Reply>> call(std::string path, Message message) {
    auto pending = post(std::move(path), messages::to_json(message));
    auto body = co_await std::move(pending);
    if (!body) co_return body.error();
    co_return messages::from_json<Reply>(body.value());
  }

  boost::asio::awaitable<Result<messages::AgentStatus>> status();
  // The answer does not matter.
  boost::asio::awaitable<void> release(messages::Release release);

 private:
  boost::asio::awaitable<Result<std::string>> post(std::string path, std::string body);
  boost::asio::awaitable<Result<std::string>> send(platform::HttpRequest request);

  platform::HttpClient client_;
  platform::milliseconds timeout_;
};

}  // namespace koshel::coordinator
