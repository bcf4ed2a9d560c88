#include "shard-agent/logic/vote_evaluation.hpp"

namespace koshel::agent {

using messages::Leg;
using messages::Side;
using messages::Vote;

Vote VoteEvaluation::vote(const Leg& leg) {
  const auto& transfer = leg.transfer;
  const bool is_payer = leg.side == Side::Payer;
  const auto account = is_payer ? transfer.from : transfer.to;
  const auto* head = heads_.head(account);
  if (head == nullptr) return messages::Moved{account};
  if (is_payer && transfer.is_keyed) {
    if (const auto found = stored_.find(transfer.id); found != stored_.end()) {
      if (!is_same_request(transfer, *found->second)) return messages::KeyReused{};
      return messages::Replayed{*found->second};
    }
    if (!seen_.try_emplace(transfer.id, true).second) return messages::Busy{account, false};
  }
  return vote(account, *head, transfer.amount, is_payer ? Direction::Debit : Direction::Credit);
}

Vote VoteEvaluation::vote(const messages::Depart& depart) const {
  const auto* head = heads_.head(depart.account);
  if (head == nullptr) return messages::Moved{depart.account};
  return messages::Leaving{*head};
}

Vote VoteEvaluation::vote(const messages::OpenAccount& open, AccountId world) {
  if (!open.balance.is_positive()) return messages::Yes{};
  const auto* head = heads_.head(world);
  const auto unopened = unopened_world(open.currency);
  return vote(world, head == nullptr ? unopened : *head, open.balance, Direction::Debit);
}

Vote VoteEvaluation::vote(AccountId account, const Head& head, Money amount, Direction direction) {
  if (const auto refusal = check_active(account, head)) return messages::Refused{*refusal};

  // Against the committed balance alone a no is final; against the round's other legs it is not.
  const auto check = direction == Direction::Debit ? check_debit : check_credit;
  if (const auto refusal = check(account, head, amount)) return messages::Refused{*refusal};
  auto& sums = sums_[account];
  auto& sum = direction == Direction::Debit ? sums.debits : sums.credits;
  const auto total = sum.plus(amount);
  if (!total || check(account, head, *total)) return messages::Retry{};
  sum = *total;
  return messages::Yes{};
}

}  // namespace koshel::agent
