#pragma once
// The coordinator's list of shards, for `shard list`, doctor and the embedded cluster.

#include <boost/json/array.hpp>

#include "cli/api_client.hpp"

namespace koshel::cli {

struct ShardList {
  ApiReply reply;  // as it came
  boost::json::array items;
};

Outcome<ShardList> read_shards(ApiClient& client);

}  // namespace koshel::cli
