#pragma once
// Which accounts rounds in flight have taken. Nobody waits for a hold: who finds one is turned away
// and comes again, so there is no deadlock. Whoever was turned away often enough gets the account
// kept free for a bounded moment. Never looks at balances, never talks to the database.

#include <boost/unordered/unordered_flat_map.hpp>
#include <optional>

#include "base/ids.hpp"
#include "base/time.hpp"
#include "base/transfer_id.hpp"

namespace koshel::agent {

enum class HoldReason {
  RoundInFlight,
  InDoubt,  // prepared before this agent started: its transfers are not known, only its accounts
};

class Holds {
 public:
  struct Options {
    int patience;  // times turned away, after which an account is kept
    Duration keep_for;
  };
  struct Hold {
    RoundId round;
    HoldReason reason = HoldReason::RoundInFlight;
  };
  // Who asks for an account: `claim` names the order across its tries.
  struct Request {
    RoundId round;
    TransferId claim;
    int times_busy = 0;
  };

  explicit Holds(Options options) : options_(options) {}

  const Hold* find(AccountId account) const {
    const auto held = held_.find(account);
    return held == held_.end() ? nullptr : &held->second;
  }

  // True if `request.round` may take the account or has it.
  bool is_free(AccountId account, const Request& request, Instant now) const {
    const auto held = held_.find(account);
    const bool is_taken = held != held_.end() && held->second.round != request.round;
    return !is_taken && !is_kept_from(account, request, now);
  }

  // The same; a patient request that is turned away reserves the account's next free moment.
  bool is_free_for(AccountId account, const Request& request, Instant now) {
    if (is_free(account, request, now)) return true;
    keep_if_patient(account, request, now);
    return false;
  }

  void take(AccountId account, RoundId round, HoldReason reason = HoldReason::RoundInFlight) {
    held_.try_emplace(account, Hold{round, reason});
    kept_.erase(account);
  }

  void release(AccountId account, RoundId round) {
    const auto held = held_.find(account);
    if (held != held_.end() && held->second.round == round) held_.erase(held);
  }

  void clear() {
    held_.clear();
    kept_.clear();
  }

  // Drops what was kept for orders that did not come back.
  void expire(Instant now) {
    boost::unordered::erase_if(kept_, [now](const auto& kept) { return kept.second.until <= now; });
  }

  std::size_t size() const { return held_.size(); }

 private:
  struct Kept {
    TransferId claim;
    int times_busy = 0;
    Instant until;
  };

  bool is_kept_from(AccountId account, const Request& request, Instant now) const {
    if (kept_.empty()) return false;
    const auto kept = kept_.find(account);
    return kept != kept_.end() && kept->second.until > now && kept->second.claim != request.claim;
  }

  void keep_if_patient(AccountId account, const Request& request, Instant now) {
    if (request.times_busy < options_.patience) return;
    auto& kept = kept_[account];
    const bool is_stronger =
        kept.until <= now || kept.claim == request.claim || kept.times_busy < request.times_busy;
    if (is_stronger) kept = {request.claim, request.times_busy, now + options_.keep_for};
  }

  boost::unordered_flat_map<AccountId, Hold, std::hash<AccountId>> held_;
  boost::unordered_flat_map<AccountId, Kept, std::hash<AccountId>> kept_;
  Options options_;
};

}  // namespace koshel::agent
