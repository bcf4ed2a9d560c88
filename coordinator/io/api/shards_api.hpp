#pragma once
// /v1/admin: the shards in service, adding, changing, draining and removing one, and what is in
// doubt on them.

#include "coordinator/io/api/context.hpp"

namespace koshel::coordinator {

class ShardsApi {
 public:
  explicit ShardsApi(ApiContext context) : context_(context) {}

  Respond list(platform::HttpRequest request);
  Respond add(platform::HttpRequest request);
  Respond change(platform::HttpRequest request, std::string name);
  Respond drain(platform::HttpRequest request, std::string name);
  Respond remove(platform::HttpRequest request, std::string name);
  Respond unresolved(platform::HttpRequest request);

 private:
  struct Prepared {
    std::string gid;
    RoundId round;
    std::string shard;
    double age_seconds = 0;
  };
  boost::asio::awaitable<Checked<std::vector<Prepared>>> read_prepared(Instant deadline);
  boost::asio::awaitable<std::string> shard_json(directory::Shard shard, std::int64_t users,
                                                 Instant deadline);
  boost::asio::awaitable<Checked<std::string>> describe(std::string name, Instant deadline);
  boost::asio::awaitable<std::optional<Problem>> check_agent(std::string url, std::string name,
                                                             Instant deadline);

  boost::asio::awaitable<std::optional<Problem>> find_rest(directory::Shard shard,
                                                           Instant deadline);

  ApiContext context_;
};

}  // namespace koshel::coordinator
