#pragma once
// What the agent remembers of accounts' heads. A memory and nothing more: every append compares it
// with the database, so a stale head costs a retry, never a coin. Bounded: two generations, of
// which the older is dropped whole when the younger has filled its half.

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/invariant.hpp"
#include "base/ledger.hpp"

namespace koshel::agent {

class HeadCache {
 public:
  explicit HeadCache(std::size_t heads_max) : half_(heads_max / 2) { INVARIANT(half_ > 0); }

  std::optional<Head> find(AccountId account) {
    if (const auto young = young_.find(account); young != young_.end()) return young->second;
    const auto old = old_.find(account);
    if (old == old_.end()) return std::nullopt;
    const auto head = old->second;
    put(account, head);
    return head;
  }

  void put(AccountId account, const Head& head) {
    if (young_.size() >= half_ && !young_.contains(account)) {
      old_ = std::exchange(young_, {});
    }
    young_.insert_or_assign(account, head);
  }

  void forget(AccountId account) {
    young_.erase(account);
    old_.erase(account);
  }

  void clear() {
    young_.clear();
    old_.clear();
  }

  std::size_t size() const { return young_.size() + old_.size(); }

 private:
  boost::unordered_flat_map<AccountId, Head, std::hash<AccountId>> young_;
  boost::unordered_flat_map<AccountId, Head, std::hash<AccountId>> old_;
  std::size_t half_;
};

}  // namespace koshel::agent
