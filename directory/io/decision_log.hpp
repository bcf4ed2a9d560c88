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
#include "platform/postgres.hpp"

namespace koshel::directory {

enum class Decision {
  Commit,
  Abort,
  Fenced,  // no decision stands and none can come: abort for whoever holds a prepared branch
};
std::string_view to_string(Decision decision);

enum class CreateUsersOutcome {
  Created,    // the users are there and the round is committed
  NameTaken,  // nothing was written, the round is not decided
  Decided,    // nothing was written: the round was decided (aborted) or fenced off by others
};

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
  // What is written, without asking for anything; nullopt where nothing is. For people, not
  // protocol.
  boost::asio::awaitable<Result<std::vector<std::optional<Decision>>>> peek(
      std::vector<RoundId> rounds);

  // ---- keeping and forgetting; see keep_log() and close_incarnation() in sql/directory

  struct Beat {
    Incarnation incarnation;
    std::int64_t beats = 0;
    bool is_closed = false;
  };
  struct Kept {
    bool is_closed = false;    // this incarnation, by another coordinator
    std::vector<Beat> others;  // all other incarnations that are not forgotten
  };
  boost::asio::awaitable<Result<Kept>> keep(Incarnation own, Sequence fence);
  struct Commit {
    Sequence sequence;
    std::vector<ShardId> participants;
  };
  // The oldest commits of the incarnation, a bounded number of them; empty: it is forgotten.
  boost::asio::awaitable<Result<std::vector<Commit>>> close(Incarnation silent);
  boost::asio::awaitable<Result<void>> forget(Incarnation closed, std::vector<Sequence> rounds);

 private:
  platform::PgPool& pool_;
};

}  // namespace koshel::directory
