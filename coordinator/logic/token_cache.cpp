#include "coordinator/logic/token_cache.hpp"

namespace koshel::coordinator {

void TokenCache::answer(const Question& question, const std::optional<Caller>& owner) {
  if (!owner) {
    known_.erase(question.token);
    return;
  }
  if (question.forgotten != forgotten_) return fail(question);
  make_room(question.asked);
  known_.insert_or_assign(question.token, Known{*owner, question.asked});
}

void TokenCache::fail(const Question& question) {
  if (const auto found = known_.find(question.token); found != known_.end()) {
    found->second.is_asking = false;
  }
}

std::optional<TokenCache::Found> TokenCache::find(const TokenHash& token, Instant now) {
  const auto found = known_.find(token);
  if (found == known_.end()) return std::nullopt;
  auto& known = found->second;
  const auto age = now - known.asked;
  if (age >= lifetime_) return std::nullopt;
  const bool is_to_ask = age >= lifetime_ / 2 && !known.is_asking;
  if (is_to_ask) known.is_asking = true;
  return Found{known.caller, is_to_ask};
}

void TokenCache::forget(const TokenHash& token) {
  ++forgotten_;
  known_.erase(token);
}

void TokenCache::forget_all() {
  known_.clear();
  ++forgotten_;
}

void TokenCache::make_room(Instant now) {
  if (known_.size() < size_max_) return;
  erase_if(known_, [&](const auto& entry) { return now - entry.second.asked >= lifetime_; });
  if (known_.size() >= size_max_) known_.clear();
}

}  // namespace koshel::coordinator
