#pragma once
// What must always hold (ARCHITECTURE.md), watched while a simulation runs and checked on what
// clients were told. Looks at everything, changes nothing. The first violation stops the run.

#include <set>

#include "tests/simulation/requests.hpp"
#include "tests/simulation/world.hpp"

namespace koshel::simulation {

// A transfer that a client wants, over all of its attempts.
struct Wish {
  TransferRequest request;
  std::optional<TransferId> id;  // once it was told
  std::optional<Told> answer;    // Committed, Settling, or with a key Refused: for ever
  bool may_be_there = false;     // some attempt's outcome is not known
  bool was_refused = false;      // without a key: this attempt must be absent
  Instant began;
  std::set<std::string> askers = {};  // one for each attempt
  std::string text() const;
};

class Checker {
 public:
  explicit Checker(World& world) : world_(world) {}

  // ---- the protocol

  void watch();
  void on_decision_asked(RoundId round, bool is_commit);
  void on_alarm(const std::string& text);
  void on_closed(const std::string& coordinator);
  // What is there may have become older.
  void look_again();
  // Rolls back what is decided to commit. False: not now, or it was done before.
  bool lose_half(RoundId round, const std::string& gid, Server& server);
  bool is_half_lost() const { return lost_.has_value(); }
  std::optional<bool> decision_of(RoundId round) const;

  // ---- clients

  std::shared_ptr<Wish> new_wish(TransferRequest request);
  void on_told(Wish& wish, const Told& told);
  // A request with the key of `wish` and other content was answered.
  void on_other_content_told(const Wish& wish, const Told& told);
  // Every read of one session, and every version it was told as committed.
  struct Session {
    std::map<AccountId, Version> seen;
  };
  void on_acknowledged(Session& session, AccountId account, Version version);
  // What anybody who begins to read now must see at least.
  Version floor_of(const std::string& name) const;
  void on_read(Session& session, const std::string& name, Version floor, const Told& told);
  void on_history_read(const HistoryRequest& request, Version floor, const Told& told);
  // Of a question that a cluster without faults has to answer.
  void on_answered(const Told& told);
  void on_user_told(const UserRequest& request, const Told& told);
  const std::vector<std::shared_ptr<Wish>>& wishes() const { return wishes_; }
  std::vector<std::string> users_known() const;

  // ---- the end

  // What is not yet as it must be when nothing runs any more; empty: all is.
  std::string find_unfinished() const;
  void check_end();

  void violate(const std::string& what);
  const std::string& violation() const { return violation_; }
  std::int64_t transfers_committed() const { return transfers_committed_; }

 private:
  void on_decision(RoundId round, bool is_commit);
  void on_finished(ShardId shard, const std::string& gid, bool is_commit);
  void check_money();
  void check_rows(ShardId shard);
  void check_chain(ShardId shard, AccountId account);
  static bool is_same_row(const StoredEntry& one, const StoredEntry& other);
  void check_history(ShardId shard, AccountId account, const StoredEntry& row);
  void check_owners();
  void note_owner(ShardId shard, AccountId account);
  void forget_what_was_lost();
  std::map<AccountId, std::vector<ShardId>> owners() const;
  std::string find_unfinished_moves() const;
  std::string find_leftovers(ShardId shard) const;
  void check_lost_half();
  void check_refusal(const Wish& wish, const Refusal& refusal);
  void check_entry(const Entry& before, const Entry& entry);
  void check_chains();
  void check_transfers();
  void check_wish(const Wish& wish);
  void check_users();
  std::int64_t balance_of(ShardId shard) const;
  std::int64_t in_flight() const;

  World& world_;
  std::map<RoundId, bool> decisions_;  // durable ones, also those forgotten since
  std::set<RoundId> rolled_back_;
  struct Lost {
    RoundId round;
    std::int64_t amount = 0;
    bool is_alarmed = false;
  };
  std::optional<Lost> lost_;
  struct Balance {
    Instant since;
    Money balance;
  };
  std::map<AccountId, std::vector<Balance>> balances_;  // every one that anybody could see
  std::map<std::pair<ShardId, AccountId>, Version> checked_;
  // Of each account, as it was first seen: the same on every shard, for ever.
  std::map<AccountId, std::vector<StoredEntry>> histories_;
  std::map<AccountId, std::vector<ShardId>> ways_;  // the shards that have owned it, in order
  std::map<AccountId, Version> acknowledged_;       // to anybody
  std::vector<std::shared_ptr<Wish>> wishes_;
  struct User {
    std::optional<AccountId> account;  // told
    Money balance;
    bool may_be_there = false;
  };
  std::map<std::string, User> users_;
  struct Found {
    std::vector<Entry> entries;
  };
  std::map<TransferId, Found> found_;  // at the end
  std::int64_t transfers_committed_ = 0;
  std::string violation_;
};

}  // namespace koshel::simulation
