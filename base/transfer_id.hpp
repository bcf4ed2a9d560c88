#pragma once
// A transfer's id is a UUID of version 8 (RFC 9562): 48 bits of the account that can move (the
// payer, or for a deposit the payee), then 74 bits that come from the idempotency key or from
// chance. So the id alone tells which user's shard answers for it, and ids of one account lie
// beside each other.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.hpp"

namespace koshel {

// 74 bits: `high` counts its low 12 bits (UUID field custom_b), `low` its low 62 (custom_c).
struct TransferSuffix {
  std::uint16_t high = 0;
  std::uint64_t low = 0;
};

class TransferId {
 public:
  TransferId() = default;
  TransferId(AccountId anchor, TransferSuffix suffix);
  AccountId anchor() const { return AccountId(static_cast<std::int64_t>(high_ >> 16)); }
  std::string to_string() const;
  void append_to(std::string& text) const;
  // Any UUID spelling of 36 characters whose version is 8 and variant is RFC 9562; else nullopt.
  static std::optional<TransferId> parse(std::string_view text);
  std::uint64_t low() const { return low_; }
  auto operator<=>(const TransferId&) const = default;

 private:
  std::uint64_t high_ = 0;
  std::uint64_t low_ = 0;
};

}  // namespace koshel

template <>
struct std::hash<koshel::TransferId> {
  std::size_t operator()(const koshel::TransferId& id) const noexcept {
    return static_cast<std::size_t>(id.low()) ^ std::hash<koshel::AccountId>()(id.anchor());
  }
};
