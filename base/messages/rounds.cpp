#include "base/messages/rounds.hpp"

namespace koshel::messages {

std::string shard_header(const std::string& cluster_id, ShardId shard) {
  return cluster_id + "/" + std::to_string(shard.value());
}

}  // namespace koshel::messages
