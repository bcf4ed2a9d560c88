#pragma once
// Money is a signed count of a currency's minor unit (cents). Every sum is checked: what does not
// fit in 64 bits is nullopt, never a wrapped number. Decimal strings exist only at the edges of the
// system.

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ids.hpp"

namespace koshel {

class Money {
 public:
  constexpr Money() = default;
  constexpr explicit Money(std::int64_t minor_units) : minor_(minor_units) {}
  constexpr std::int64_t minor_units() const { return minor_; }
  constexpr auto operator<=>(const Money&) const = default;
  constexpr bool is_positive() const { return minor_ > 0; }

  constexpr std::optional<Money> plus(Money other) const {
    std::int64_t sum = 0;
    if (__builtin_add_overflow(minor_, other.minor_, &sum)) return std::nullopt;
    return Money(sum);
  }
  constexpr std::optional<Money> minus(Money other) const {
    std::int64_t difference = 0;
    if (__builtin_sub_overflow(minor_, other.minor_, &difference)) return std::nullopt;
    return Money(difference);
  }
  // Amounts are positive when they are negated (a debit), so this cannot overflow.
  constexpr Money negated() const { return Money(-minor_); }

 private:
  std::int64_t minor_ = 0;
};

// Bounds of `@world`: far enough for any sum of users, near enough that no check overflows.
inline constexpr Money kWorldMin{-(std::int64_t{1} << 62)};
inline constexpr Money kWorldMax{std::int64_t{1} << 62};

// A currency of ISO 4217: its numeric code is the id, its exponent the number of decimals.
struct Currency {
  CurrencyId id;
  std::string_view code;
  int decimals;
};
const Currency* find_currency(std::string_view code);
const Currency* find_currency(CurrencyId id);

enum class AmountFault { NotANumber, TooManyDecimals, TooLarge };
std::string_view describe(AmountFault fault);

struct ParsedAmount {
  Money money;
  std::optional<AmountFault> fault;
};
// Plain decimals only: optional '-', digits, optional '.' and digits. No exponent, no spaces, no
// '+'.
ParsedAmount parse_amount(std::string_view text, const Currency& currency);
std::string format_amount(Money money, const Currency& currency);

}  // namespace koshel
