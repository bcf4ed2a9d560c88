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

Fault fault_of(const messages::Depart&) {
  return std::nullopt;
}

Fault fault_of(const messages::Arrive&) {
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

std::optional<AccountId> moving_account(const messages::ReserveOrder& order) {
  if (const auto* depart = std::get_if<messages::Depart>(&order.what)) return depart->account;
  if (const auto* arrive = std::get_if<messages::Arrive>(&order.what)) return arrive->account;
  return std::nullopt;
}

Fault find_fault(const messages::LocalRound& round) {
  return first_fault(round.orders);
}

Fault find_fault(const messages::Reserve& reserve) {
  boost::unordered_flat_set<AccountId, std::hash<AccountId>> once;
  std::size_t departing = 0;
  std::size_t arriving = 0;
  for (const auto& order : reserve.orders) {
    if (const auto* open = std::get_if<messages::OpenAccount>(&order.what)) {
      if (!once.insert(open->account).second) return "an account is opened twice";
    } else if (const auto account = moving_account(order)) {
      ++(std::holds_alternative<messages::Arrive>(order.what) ? arriving : departing);
      if (!once.insert(*account).second) return "an account moves twice";
    }
  }
  const auto is_mixed = [&](std::size_t kind) { return kind > 0 && kind < reserve.orders.size(); };
  if (is_mixed(departing) || is_mixed(arriving)) return "a round of moves has other orders";
  return first_fault(reserve.orders);
}

}  // namespace koshel::agent
