#pragma once
// The decision log: one row per round of several parts, whose commit is the decision. See decide()
// in sql/directory: deciders and recovery ask the same question with the same statement.

#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "directory/io/directory_store.hpp"
#include "directory/logic/decisions.hpp"
#include "directory/logic/rebalance.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {

class DecisionLog {
 public:
  explicit DecisionLog(platform::PgPool& pool);

  // Writes `wish` unless the round is decided; returns what stands. InDoubt: ask again (with
  // Abort).
  boost::asio::awaitable<Result<Decision>> decide(RoundId round, Decision wish,
                                                  std::vector<ShardId> participants);
  // InDoubt: ask with decide(round, Abort) what stands.
  boost::asio::awaitable<Result<CreateUsersOutcome>> create_users(RoundId round,
                                                                  std::vector<ShardId> participants,
                                                                  std::vector<NewUser> users);
  // The same for a round that moves accounts from one shard to another.
  struct MovingUsers {
    ShardId source;
    ShardId target;
    std::vector<MoveId> moves;  // of each account
    std::vector<AccountId> accounts;
  };
  boost::asio::awaitable<Result<MoveUsersOutcome>> move_users(RoundId round,
                                                              std::vector<ShardId> participants,
                                                              MovingUsers moving);
  // What decide() would answer, without asking for anything; nullopt where a decision may still
  // come. For people, not protocol.
  boost::asio::awaitable<Result<std::vector<std::optional<Decision>>>> peek(
      std::vector<RoundId> rounds, Instant deadline);

  // ---- keeping and forgetting; see beat(), forget_rounds() and close_incarnation() in sql

  boost::asio::awaitable<Result<LogState>> keep(Incarnation own, Sequence fence);
  // The oldest commits of the incarnation, a bounded number of them; empty: it is forgotten.
  boost::asio::awaitable<Result<std::vector<CommittedRound>>> close(Incarnation silent);
  boost::asio::awaitable<Result<void>> forget(Incarnation closed, std::vector<Sequence> rounds);
  // Of every incarnation with something left to forget; any other is gone for ever.
  boost::asio::awaitable<Result<Fences>> fences();

 private:
  platform::PgPool& pool_;
};

}  // namespace koshel::directory
