#pragma once
// This shard's part in rounds of several parts, and the recovery of those whose coordinator is
// silent.
//
//   state      event                      next
//   Reading    StateRead Done             Reserved, votes answered; a refusal that only memory
//                                         speaks for is read first, for nothing later checks it
//   Reserved   Prepare of this epoch      Preparing; who did not survive is released
//   Reserved   Release, abort, its time   gone
//   Preparing  PrepareDone Done           Prepared (or Settling, if Settle came meanwhile)
//   Preparing  PrepareDone Lost           the agent takes over anew and finds what is prepared
//   Preparing  PrepareDone otherwise      gone: RoundFailed
//   Prepared   Settle, DecisionRead       Settling
//   Prepared   a later scan without it    gone: somebody else settled it; its heads are forgotten
//   Settling   SettlePreparedDone         gone: heads move; or, if Later, Prepared again
//
// A round that a take-over found in doubt starts as Prepared, known by its accounts only. Nothing
// is rolled back here before the decision log, or the round's own coordinator, has said abort.

#include <boost/unordered/unordered_flat_set.hpp>
#include <unordered_map>

#include "shard-agent/logic/shard_memory.hpp"
#include "shard-agent/logic/vote_evaluation.hpp"

namespace koshel::agent {

class CrossRounds {
 public:
  explicit CrossRounds(ShardMemory& memory) : memory_(memory) {}

  void reserve(Asked<messages::Reserve> asked, const Now& now, Effects& out);
  void prepare(const Asked<messages::Prepare>& asked, const Now& now, Effects& out);
  void settle(const Asked<messages::Settle>& asked, Effects& out);
  void release(RoundId round);

  Aftermath on(const StateRead& event, const Now& now, Effects& out);
  Aftermath on(const PrepareDone& event, Effects& out);
  Aftermath on(const SettlePreparedDone& event, Effects& out);
  void on(const DecisionRead& event, Effects& out);
  void on(const PreparedScanned& event, Effects& out);
  void expire_reservations(Instant now);
  ScanPrepared next_scan() { return {++scans_}; }
  std::int64_t last_scan() const { return scans_; }

  // The connection is gone: answers what waits. What is prepared comes back through take_over.
  void interrupt(Effects& out);
  void take_over(const std::vector<InDoubtRound>& in_doubt, Effects& out);

  bool has(RoundId round) const { return rounds_.contains(round); }
  // True from its prepare until it is settled here: by then the account may have changed elsewhere.
  bool may_have_left(RoundId round, AccountId account) const;
  bool contains(RoundId round, TransferId id) const;
  std::size_t size() const { return rounds_.size(); }
  std::vector<RoundId> take_settled() { return std::exchange(settled_, {}); }
  void forget_again(const std::vector<RoundId>& settled) {
    settled_.insert(settled_.end(), settled.begin(), settled.end());
  }

 private:
  enum class State : std::int8_t { Reading, Reserved, Preparing, Prepared, Settling };
  struct Slot {
    messages::ReserveOrder order;
    std::optional<messages::Vote> vote;
    std::vector<AccountId> accounts;  // that this order needs held; of an opening @world comes last
    std::optional<TransferId> key;    // that this order has claimed
  };
  struct Round {
    std::optional<RequestId> request;  // whom the running step answers
    std::optional<RequestId> settle_request;
    std::optional<bool> settle_wish;
    State state = State::Reading;
    std::vector<Slot> slots;
    Draft draft;  // the heads that were voted upon, then the survivors' entries
    std::vector<StoredTransfer> stored;
    std::vector<RoundId> forgotten;  // settled rounds whose holds rows the prepare deletes
    bool is_released = false;        // its coordinator will not prepare it
    bool has_confirmed = false;      // what the refusals rely on was read, not remembered
    std::vector<AccountId> held;
    boost::unordered_flat_set<AccountId, std::hash<AccountId>> opened;  // not there before
    boost::unordered_flat_set<AccountId, std::hash<AccountId>> leaving;
    std::vector<AccountHead> heads_after;
    messages::Prepared prepared;
    Instant expires;
    std::int64_t prepared_at_scan = 0;
    bool is_asking = false;      // AskDecision is under way
    bool is_recovering = false;  // settled by the log's word, not the coordinator's
  };

  void admit(RoundId id, Round& round, Slot& slot, Instant now);
  void vote(RoundId id, Round& round, const StateRead& reading, const Now& now, Effects& out);
  bool confirm_refusals(RoundId id, Round& round, const std::vector<messages::Vote>& votes,
                        Effects& out);
  static bool is_told_heads(const Round& round, const messages::Prepare& prepare);
  void build(Round& round, const messages::Prepare& prepare, PrepareRound& effect);
  static void build_move(Round& round, const Slot& slot, const Head* arriving,
                         PrepareRound& effect);
  void release_losers(RoundId id, Round& round, const std::vector<std::int32_t>& survivors);
  void start_settling(RoundId id, Round& round, bool is_commit, Effects& out);
  void ask_log(RoundId id, Round& round, Effects& out);
  static messages::Vote evaluate(const Slot& slot, VoteEvaluation& evaluation);
  void release_key(RoundId id, Slot& slot);
  void drop(RoundId id);
  void fail(RoundId id, messages::RoundFault fault, std::string detail, Effects& out);
  int prepared_or_reserved() const { return static_cast<int>(rounds_.size()); }

  ShardMemory& memory_;
  std::unordered_map<RoundId, Round> rounds_;
  std::vector<RoundId> settled_;  // whose holds rows may go
  std::int64_t scans_ = 0;
};

}  // namespace koshel::agent
