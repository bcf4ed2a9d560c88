#pragma once
// Results and rows as texts, the same for the model and for PostgreSQL, so that comparing is
// comparing texts. Lists that come in no promised order are sorted.

#include <algorithm>
#include <string>
#include <vector>

#include "base/messages/moves.hpp"
#include "base/messages/rounds.hpp"
#include "directory/io/rebalance_store.hpp"
#include "directory/logic/decisions.hpp"
#include "directory/logic/rebalance.hpp"
#include "directory/logic/route_cache.hpp"
#include "shard-agent/logic/events.hpp"

namespace koshel::honesty {

inline constexpr const char* kCluster = "honesty";
inline constexpr ShardId kShard{1};

enum class Order : std::int8_t { Kept, Sorted };
std::string joined(std::vector<std::string> texts, Order order, const char* separator = ", ");

inline std::string text_of(bool value) {
  return value ? "true" : "false";
}
template <class Tag, class Rep>
std::string text_of(StrongId<Tag, Rep> id) {
  return std::to_string(id.value());
}
inline std::string text_of(AccountId account) {
  return std::to_string(account.value());
}
std::string text_of(RoundId round);
std::string text_of(const StoredTransfer& stored);
std::string text_of(const agent::AccountHead& account);
std::string text_of(const agent::InDoubtRound& round);
std::string text_of(const agent::PreparedScanned::Found& found);
std::string text_of(const messages::PreparedRound& prepared);
std::string text_of(messages::SettleOutcome outcome);
std::string text_of(messages::AskRoundOutcome outcome);
std::string text_of(const messages::FindTransferDone& done);
std::string text_of(directory::Decision decision);
std::string text_of(const directory::LogState& state);
std::string text_of(const directory::Fences& fences);
std::string text_of(const directory::CommittedRound& round);
std::string text_of(const directory::NamedRoute& route);
std::string text_of(directory::DrainShardOutcome outcome);
std::string text_of(const directory::RebalanceHold& hold);
std::string text_of(const directory::OpenMove& move);
std::string text_of(const messages::CopiedTo& copied);
std::string text_of(const messages::EntriesRead& read);
inline std::string text_of(const std::string& text) {
  return text;
}
template <class T>
std::string text_of(const std::optional<T>& value) {
  return value ? text_of(*value) : "none";
}

template <class T>
std::string list_of(const std::vector<T>& items, Order order = Order::Sorted) {
  std::vector<std::string> texts;
  for (const auto& item : items) texts.push_back(text_of(item));
  return "[" + joined(std::move(texts), order) + "]";
}
template <class T>
std::string text_of(const std::vector<T>& items) {
  return list_of(items);
}
template <class State>
requires requires(const State& state) {
  state.stored.front();
  state.heads.front();
}
std::string text_of(const State& state) {
  return list_of(state.heads) + " " + list_of(state.stored);
}
template <class Done>
requires requires(const Done& done) {
  done.in_doubt.front();
}
std::string text_of(const Done& done) {
  return done.epoch ? text_of(*done.epoch) + " " + list_of(done.in_doubt) : "outrun";
}

// What it is asked to do, for the script.
std::string text_of(const agent::AppendBatch& batch);
// As text_of of refusals in the database's rows: code, account, bound, balance, headroom, asked.
std::string text_of_refusal(const Refusal& refusal, Money asked);

}  // namespace koshel::honesty
