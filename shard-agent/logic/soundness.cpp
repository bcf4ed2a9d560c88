#include "shard-agent/logic/soundness.hpp"

#include <boost/unordered/unordered_flat_set.hpp>

#include "shard-agent/logic/draft.hpp"

namespace koshel::agent {
namespace {

using Fault = std::optional<std::string>;

Fault fault_of(const Transfer& transfer) {
  if (!transfer.amount.is_positive()) return "an amount is not positive";
  if (transfer.from == transfer.to) return "a transfer has one account on both sides";
  if (transfer.from.is_world() && transfer.to.is_world()) return "a transfer has no user in it";
  if (transfer.id.anchor() != anchor_of(transfer))
    return "a transfer's id begins with no side of it";
  return std::nullopt;
}

Fault fault_of(const messages::LimitChange& change) {
  if (change.account.is_world()) return "the limits of @world cannot be changed";
  return std::nullopt;
}

Fault fault_of(const messages::RememberRefusal& remember) {
  return fault_of(remember.transfer);
}

Fault fault_of(const messages::Leg& leg) {
  const auto& transfer = leg.transfer;
  // @world is on every shard, so its side never needs a second one.
  if (transfer.from.is_world() || transfer.to.is_world()) return "a leg has @world on a side";
  return fault_of(transfer);
}

Fault fault_of(const messages::OpenAccount& open) {
  if (open.account.is_world()) return "@world is never opened by a round";
  if (open.balance < Money()) return "an opening balance is negative";
  if (open.min_balance > open.balance || open.balance > open.max_balance) {
    return "an opening balance is outside of its limits";
  }
  return std::nullopt;
}

template <class Orders>
Fault first_fault(const Orders& orders) {
  for (const auto& order : orders) {
    auto fault = std::visit([](const auto& what) { return fault_of(what); }, order.what);
    if (fault) return fault;
  }
  return std::nullopt;
}

}  // namespace

Fault find_fault(const messages::LocalRound& round) {
  return first_fault(round.orders);
}

Fault find_fault(const messages::Reserve& reserve) {
  boost::unordered_flat_set<AccountId, std::hash<AccountId>> opened;
  for (const auto& order : reserve.orders) {
    const auto* open = std::get_if<messages::OpenAccount>(&order.what);
    if (open != nullptr && !opened.insert(open->account).second)
      return "an account is opened twice";
  }
  return first_fault(reserve.orders);
}

}  // namespace koshel::agent
