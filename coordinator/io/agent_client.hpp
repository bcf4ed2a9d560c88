#pragma once
// One shard's agent, as a coordinator calls it: typed messages over kept-alive HTTP. An Error tells
// whether anything can have happened (Unavailable: no; InDoubt: perhaps).

#include <boost/asio/awaitable.hpp>

#include "base/messages/json.hpp"
#include "platform/http.hpp"

namespace koshel::coordinator {

inline constexpr const char* kAgentUrlRule =
    "an agent's URL begins with https:// exactly if the coordinators have coordinator.agent_tls";

class AgentClient {
 public:
  struct Options {
    platform::ClientOptions http;  // with tls: every agent is asked over https, and no other way
    platform::milliseconds timeout;
    std::string cluster_id;
  };
  // `shard`: whose agent it is to be, and else does nothing; null: it is only asked for its status.
  AgentClient(boost::asio::any_io_executor loop, platform::HttpTarget target, Options options,
              std::optional<ShardId> shard)
      : is_trusted_(target.is_tls == (options.http.tls != nullptr)),
        shard_(shard ? messages::shard_header(options.cluster_id, *shard) : ""),
        client_(std::move(loop), std::move(target), options.http),
        timeout_(options.timeout) {}

  // Ends by the deadline, and by the config's agent_timeout at the latest.
  template <class Reply, class Message>
  boost::asio::awaitable<Result<Reply>> call(std::string path, Message message,
                                             Instant deadline = Instant::max()) {
    auto pending = post(std::move(path), messages::to_json(message), deadline);
    auto body = co_await std::move(pending);
    if (!body) co_return body.error();
    co_return messages::from_json<Reply>(body.value());
  }

  boost::asio::awaitable<Result<messages::AgentStatus>> status(Instant deadline);
  // The answer does not matter.
  boost::asio::awaitable<void> release(messages::Release release);

 private:
  boost::asio::awaitable<Result<std::string>> post(std::string path, std::string body,
                                                   Instant deadline);
  boost::asio::awaitable<Result<std::string>> send(platform::HttpRequest request, Instant deadline);

  bool is_trusted_;  // https exactly if this side has certificates for it
  std::string shard_;
  platform::HttpClient client_;
  platform::milliseconds timeout_;
};

}  // namespace koshel::coordinator
