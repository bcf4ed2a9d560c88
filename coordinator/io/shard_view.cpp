#include "coordinator/io/shard_view.hpp"

#include "platform/log.hpp"

namespace koshel::coordinator {

std::shared_ptr<AgentClient> ShardView::connect(const platform::HttpTarget& target,
                                                std::optional<ShardId> shard) const {
  return std::make_shared<AgentClient>(loop_, target, options_, shard);
}

void ShardView::update(const std::vector<directory::Shard>& shards) {
  std::map<ShardId, Member> members;
  for (const auto& shard : shards) {
    const auto old = members_.find(shard.id);
    if (old != members_.end() && old->second.shard.agent == shard.agent) {
      members.emplace(shard.id, Member{shard, old->second.agent, old->second.credit});
      continue;
    }
    const auto target = platform::parse_url(shard.agent);
    if (!target) {
      spdlog::error("shard {}: {}", shard.name, target.error().context);
      continue;
    }
    members.emplace(shard.id, Member{shard, connect(target.value(), shard.id), 0});
  }
  members_ = std::move(members);
}

std::shared_ptr<AgentClient> ShardView::agent(ShardId shard) const {
  const auto found = members_.find(shard);
  return found == members_.end() ? nullptr : found->second.agent;
}

std::string ShardView::name(ShardId shard) const {
  const auto found = members_.find(shard);
  return found == members_.end() ? std::to_string(shard.value()) : found->second.shard.name;
}

std::vector<directory::Shard> ShardView::shards() const {
  std::vector<directory::Shard> shards;
  for (const auto& [id, member] : members_) shards.push_back(member.shard);
  return shards;
}

std::optional<ShardId> ShardView::place_user() {
  Member* next = nullptr;
  int weights = 0;
  for (auto& [id, member] : members_) {
    if (member.shard.state != directory::ShardState::Active) continue;
    member.credit += member.shard.weight;
    weights += member.shard.weight;
    if (next == nullptr || member.credit > next->credit) next = &member;
  }
  if (next == nullptr) return std::nullopt;
  next->credit -= weights;
  return next->shard.id;
}

}  // namespace koshel::coordinator
