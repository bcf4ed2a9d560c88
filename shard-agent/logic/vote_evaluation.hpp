#pragma once
// Conservative votes: a debit is checked against the balance less the round's other debits (its
// credits do not count), a credit against the balance plus the round's other credits. So whichever
// legs survive, every balance on the way stays within its limits. Pure.

#include <boost/unordered/unordered_flat_map.hpp>

#include "base/messages/rounds.hpp"
#include "shard-agent/logic/draft.hpp"
#include "shard-agent/logic/local_evaluation.hpp"

namespace koshel::agent {

class VoteEvaluation {
 public:
  VoteEvaluation(const Draft& heads, const StoredByKey& stored) : heads_(heads), stored_(stored) {}

  messages::Vote vote(const messages::Leg& leg);
  // Limits and a frozen status go along: they stand in the way of no move.
  messages::Vote vote(const messages::Depart& depart) const;
  // `world` pays the opening balance in.
  messages::Vote vote(const messages::OpenAccount& open, AccountId world);

 private:
  struct Sums {
    Money debits;
    Money credits;
  };
  enum class Direction : std::int8_t { Debit, Credit };
  messages::Vote vote(AccountId account, const Head& head, Money amount, Direction direction);

  const Draft& heads_;
  const StoredByKey& stored_;
  boost::unordered_flat_map<AccountId, Sums, std::hash<AccountId>> sums_;
  boost::unordered_flat_map<TransferId, bool, std::hash<TransferId>> seen_;
};

}  // namespace koshel::agent
