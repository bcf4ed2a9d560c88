#pragma once
// Draws the arguments of what runs on a shard. Values are few, so that they meet; mostly they fit
// what the tables hold, as the session sees it at that moment.

#include "tests/honesty/operations.hpp"

namespace koshel::honesty {

class ShardDraw {
 public:
  ShardDraw(simulation::Chance& chance, const Values& values, Model& model, const Backend& backend)
      : chance_(chance), values_(values), model_(model), db_(model.shard()), backend_(backend) {}

  Epoch epoch();
  RoundId any_round();
  RoundId fresh_round();
  RoundId prepared_round();
  std::vector<RoundId> some_rounds();
  AccountId account();
  std::vector<AccountId> some_accounts();
  TransferId transfer();
  std::vector<TransferId> some_transfers();
  agent::AppendBatch batch();
  agent::ForgetRounds forget();
  MoveId move();
  // Entries of accounts that are to arrive, as they would come from where these were.
  std::vector<simulation::StoredEntry> chunk(const std::vector<AccountId>& accounts);
  std::vector<AccountId> some_arriving();
  std::vector<AccountId> some_missing();
  MoveId move_of(const std::vector<AccountId>& accounts);
  bool can_arrive() const;  // an account that is copied, if only in part
  agent::PrepareRound prepare_round();

 private:
  void add_account(agent::AppendBatch& batch, AccountId account);
  static void add_moved(agent::AppendBatch& batch, const Entry& last);
  void add_departing(agent::PrepareRound& round);
  void add_arriving(agent::PrepareRound& round);
  Entry next_entry(AccountId account, Version version, Money& balance);

  simulation::Chance& chance_;
  const Values& values_;
  Model& model_;
  simulation::ShardDatabase& db_;
  const Backend& backend_;
};

}  // namespace koshel::honesty
