#pragma once
// The shards in service as this coordinator last read them, with a client to each one's agent. New
// users are placed here: in turn, by weight, on the shards that are not draining.

#include <boost/asio/any_io_executor.hpp>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "coordinator/io/agent_client.hpp"
#include "directory/io/directory_store.hpp"

namespace koshel::coordinator {

class ShardView {
 public:
  ShardView(boost::asio::any_io_executor loop, AgentClient::Options options)
      : loop_(std::move(loop)), options_(std::move(options)) {}

  // Takes over what the directory says; clients of unchanged agents stay.
  void update(const std::vector<directory::Shard>& shards);

  // Shared, so that a call under way outlives the shard's removal. Null: no such shard.
  std::shared_ptr<AgentClient> agent(ShardId shard) const;
  // `shard` as AgentClient has it.
  std::shared_ptr<AgentClient> connect(const platform::HttpTarget& target,
                                       std::optional<ShardId> shard) const;
  const AgentClient::Options& options() const { return options_; }
  bool has(ShardId shard) const { return members_.contains(shard); }
  std::string name(ShardId shard) const;
  std::vector<directory::Shard> shards() const;
  // The shard for the next new user; nullopt if no shard takes any.
  std::optional<ShardId> place_user();

 private:
  struct Member {
    directory::Shard shard;
    std::shared_ptr<AgentClient> agent;
    int credit = 0;  // smooth weighted turns: the highest is next
  };
  boost::asio::any_io_executor loop_;
  AgentClient::Options options_;
  std::map<ShardId, Member> members_;
};

}  // namespace koshel::coordinator
