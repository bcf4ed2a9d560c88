#pragma once
// A shard's database in the model: the tables of sql/shard and, as programs, what the agent runs on
// it (shard-agent/io/ledger_store.cpp) with the SQL functions it calls. Statement by statement the
// same; tests/honesty runs both on the same scripts.

#include <set>

#include "base/messages/moves.hpp"
#include "shard-agent/logic/events.hpp"
#include "tests/simulation/postgres/table.hpp"

namespace koshel::simulation {

struct StoredEntry {
  Entry entry;
  Timestamp at;
};

// The next entries of accounts that move.
struct MovingChunk {
  std::vector<StoredEntry> entries;
  std::vector<messages::CopiedTo> copied;  // how far the accounts that have any come with them
  bool is_complete = false;
};

struct ShardState {
  std::vector<agent::AccountHead> heads;
  std::vector<StoredTransfer> stored;
};

struct TakeOverDone {
  std::optional<Epoch> epoch;  // nullopt: another agent has taken over since
  std::vector<agent::InDoubtRound> in_doubt;
};

struct TakeOverWish {
  std::string agent;
  Epoch known;
};

std::string session_name(Epoch epoch);

class ShardDatabase {
 public:
  ShardDatabase(Server& server, std::string cluster, ShardId shard);

  // ---- programs

  Task<ShardState> read_state(Backend& backend, agent::ReadState wanted);
  Task<void> append(Backend& backend, agent::AppendBatch batch);
  Task<void> prepare(Backend& backend, agent::PrepareRound round);
  Task<messages::SettleOutcome> settle(Backend& backend, agent::SettlePrepared settle);
  Task<messages::AskRoundOutcome> ask_round(Backend& backend, RoundId round);
  // False: there is more to forget.
  Task<bool> forget_rounds(Backend& backend, agent::ForgetRounds forget, std::size_t limit);
  Task<void> forget_holds(Backend& backend, std::vector<RoundId> rounds);
  Task<std::vector<agent::PreparedScanned::Found>> prepared_rounds(Backend& backend);
  Task<TakeOverDone> take_over(Backend& backend, TakeOverWish wish);
  Task<messages::FindTransferDone> find_transfer(Backend& backend, Epoch epoch,
                                                 messages::FindTransfer wanted);
  Task<messages::EntriesRead> read_entries(Backend& backend, Epoch epoch,
                                           messages::ReadEntries wanted);
  Task<std::vector<AccountId>> worlds(Backend& backend);

  // Those of shard-agent/io/moves_store.cpp: throw KO005 as the SQL functions do.
  Task<std::vector<messages::CopiedTo>> begin_arrival(Backend& backend, Epoch epoch,
                                                      messages::BeginArrival begin);
  Task<MovingChunk> read_chunk(Backend& backend, Epoch epoch, messages::ReadChunk wanted);
  Task<void> write_chunk(Backend& backend, Epoch epoch, MoveId move,
                         std::vector<StoredEntry> chunk);
  // True: nothing is left.
  Task<bool> clean_move(Backend& backend, Epoch epoch, messages::CleanMove clean);
  Task<bool> sweep_moves(Backend& backend, agent::ForgetRounds over, std::size_t limit);
  // Both parts of forgetting, a transaction each. False: there is more.
  Task<bool> forget(Backend& backend, agent::ForgetRounds over, std::size_t limit);

  // ---- tables

  struct Identity {
    Epoch epoch;
    std::string taken_by;
    Incarnation incarnation_floor;
  };
  using EntryKey = std::pair<AccountId, Version>;
  Table<int, Identity> identity;
  Table<AccountId, CurrencyId> accounts;
  Table<EntryKey, StoredEntry> entries;
  Table<TransferId, EntryKey> anchors;  // the unique index entries_transfer
  Table<RoundId, bool> applied_rounds;  // is it void?
  Table<Incarnation, Sequence> round_fences;
  struct Held {
    std::vector<AccountId> accounts;
    std::vector<AccountId> leaving;
  };
  Table<std::string, Held> holds;
  struct Moving {
    MoveId move;
    bool is_leaving = false;
    Version copied;
    bool is_arrival_of(MoveId id) const { return move == id && !is_leaving; }
  };
  Table<AccountId, Moving> moves;

  // ---- for the checker

  const StoredEntry* head(AccountId account) const;  // as anybody sees it
  // What a round does once it commits, by gid.
  struct Effect {
    Money amount;  // to the sum of this shard's balances
    std::vector<AccountId> departing;
    std::vector<AccountId> opened;  // and those that arrive
  };
  std::map<std::string, Effect> prepared_effects;

  Server& server() { return server_; }
  ShardId shard() const { return shard_; }
  std::string gid_of(RoundId round) const { return Gid{cluster_, round, shard_}.to_string(); }
  std::optional<RoundId> round_of(const std::string& gid) const;

 private:
  void check_epoch(const Backend& backend, Epoch epoch) const;
  bool is_over(const Backend& backend, RoundId round) const;
  std::set<Incarnation> gone_with_rows(const Backend& backend,
                                       const agent::ForgetRounds& forget) const;
  std::vector<RoundId> rows_behind(const Backend& backend, const agent::ForgetRounds& forget,
                                   std::size_t limit) const;
  Task<void> append_round(Backend& backend, const agent::AppendBatch& batch);
  Task<void> append_entry(Backend& backend, StoredEntry row);
  Task<void> arrive(Backend& backend, const std::vector<agent::MovingAccount>& arriving);
  Task<void> depart(Backend& backend, const std::vector<agent::MovingAccount>& departing);
  Task<std::vector<AccountId>> lock_moves(Backend& backend, std::vector<AccountId> accounts,
                                          MoveId move, bool is_leaving);
  Task<void> delete_newest(Backend& backend, const std::vector<AccountId>& accounts,
                           std::size_t limit);
  Task<void> delete_copies(Backend& backend, const std::vector<AccountId>& accounts,
                           std::size_t limit);
  std::vector<AccountId> leftovers(const Backend& backend, const agent::ForgetRounds& over) const;
  Task<void> touch_identity(Backend& backend, Epoch epoch);
  const StoredEntry* last_entry(const Backend* backend, AccountId account) const;
  void compare_heads(const Backend& backend, const agent::AppendBatch& batch) const;
  Task<void> erase_holds(Backend& backend, std::vector<RoundId> rounds);
  Task<std::optional<Epoch>> take_epoch(Backend& backend, const TakeOverWish& wish);
  Task<bool> end_older_sessions(Backend& backend, Epoch epoch);
  std::optional<StoredTransfer> stored_under(const Backend& backend, TransferId id) const;

  Server& server_;
  std::string cluster_;
  ShardId shard_;
};

}  // namespace koshel::simulation
