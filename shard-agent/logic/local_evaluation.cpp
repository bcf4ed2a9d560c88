#include "shard-agent/logic/local_evaluation.hpp"

namespace koshel::agent {

using messages::LocalAnswer;

std::optional<LocalAnswer> LocalEvaluation::answer_of_key(const Transfer& transfer) {
  if (!transfer.is_keyed) return std::nullopt;
  if (const auto found = stored_.find(transfer.id); found != stored_.end()) {
    if (!is_same_request(transfer, *found->second)) return messages::KeyReused{};
    return messages::Replayed{*found->second};
  }
  // A second use within the round comes again later and then finds the first one's answer.
  const auto [place, is_new] = seen_.try_emplace(transfer.id, true);
  if (!is_new) return messages::Busy{anchor_of(transfer), false};
  return std::nullopt;
}

LocalAnswer LocalEvaluation::answer(const Transfer& transfer) {
  if (draft_.head(anchor_of(transfer)) == nullptr) return messages::Moved{anchor_of(transfer)};
  if (auto known = answer_of_key(transfer)) return std::move(*known);
  const auto* from = draft_.head(transfer.from);
  if (from == nullptr) return messages::Moved{transfer.from};
  const auto* to = draft_.head(transfer.to);
  if (to == nullptr) return messages::Moved{transfer.to};

  auto refusal = check_active(transfer.from, *from);
  if (!refusal) refusal = check_active(transfer.to, *to);
  if (!refusal) refusal = check_debit(transfer.from, *from, transfer.amount);
  if (!refusal) refusal = check_credit(transfer.to, *to, transfer.amount);
  if (refusal) {
    if (transfer.is_keyed) draft_.remember_refusal(transfer, *refusal);
    return messages::Refused{*refusal};
  }
  const auto payer = draft_.debit(transfer.from, transfer);
  const auto payee = draft_.credit(transfer.to, transfer);
  return messages::Applied{payer, payee, at_};
}

LocalAnswer LocalEvaluation::answer(const messages::LimitChange& change) {
  const auto* head = draft_.head(change.account);
  if (head == nullptr) return messages::Moved{change.account};
  const auto min = change.min_balance.value_or(head->min_balance);
  const auto max = change.max_balance.value_or(head->max_balance);
  if (const auto refusal = check_limits(change.account, head->balance, min, max)) {
    return messages::Refused{*refusal};
  }
  const bool has_new_limits = min != head->min_balance || max != head->max_balance;
  const bool has_new_status = change.status && *change.status != head->status;
  if (has_new_limits) draft_.set_limits(change.account, {min, max, change.asked_by});
  if (has_new_status) draft_.set_status(change.account, {*change.status, change.asked_by});
  if (!has_new_limits && !has_new_status) has_answered_unwritten_ = true;
  return messages::Changed{*draft_.head(change.account)};
}

LocalAnswer LocalEvaluation::answer(const messages::RememberRefusal& remember) {
  const auto anchor = anchor_of(remember.transfer);
  if (draft_.head(anchor) == nullptr) return messages::Moved{anchor};
  if (auto known = answer_of_key(remember.transfer)) return std::move(*known);
  draft_.remember_refusal(remember.transfer, remember.refusal);
  return messages::Refused{remember.refusal};
}

}  // namespace koshel::agent
