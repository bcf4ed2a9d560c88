#include "base/money.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/invariant.hpp"

namespace koshel {
namespace {

// ISO 4217, list one: code, numeric code, exponent. Sorted by code for the look-up.
// clang-format off
constexpr auto kCurrencies = std::to_array<Currency>({
    {CurrencyId(784), "AED", 2}, {CurrencyId(971), "AFN", 2}, {CurrencyId(8), "ALL", 2},
    {CurrencyId(51), "AMD", 2}, {CurrencyId(973), "AOA", 2}, {CurrencyId(32), "ARS", 2},
    {CurrencyId(36), "AUD", 2}, {CurrencyId(533), "AWG", 2}, {CurrencyId(944), "AZN", 2},
    {CurrencyId(977), "BAM", 2}, {CurrencyId(52), "BBD", 2}, {CurrencyId(50), "BDT", 2},
    {CurrencyId(975), "BGN", 2}, {CurrencyId(48), "BHD", 3}, {CurrencyId(108), "BIF", 0},
    {CurrencyId(60), "BMD", 2}, {CurrencyId(96), "BND", 2}, {CurrencyId(68), "BOB", 2},
    {CurrencyId(986), "BRL", 2}, {CurrencyId(44), "BSD", 2}, {CurrencyId(64), "BTN", 2},
    {CurrencyId(72), "BWP", 2}, {CurrencyId(933), "BYN", 2}, {CurrencyId(84), "BZD", 2},
    {CurrencyId(124), "CAD", 2}, {CurrencyId(976), "CDF", 2}, {CurrencyId(756), "CHF", 2},
    {CurrencyId(152), "CLP", 0}, {CurrencyId(156), "CNY", 2}, {CurrencyId(170), "COP", 2},
    {CurrencyId(188), "CRC", 2}, {CurrencyId(192), "CUP", 2}, {CurrencyId(132), "CVE", 2},
    {CurrencyId(203), "CZK", 2}, {CurrencyId(262), "DJF", 0}, {CurrencyId(208), "DKK", 2},
    {CurrencyId(214), "DOP", 2}, {CurrencyId(12), "DZD", 2}, {CurrencyId(818), "EGP", 2},
    {CurrencyId(232), "ERN", 2}, {CurrencyId(230), "ETB", 2}, {CurrencyId(978), "EUR", 2},
    {CurrencyId(242), "FJD", 2}, {CurrencyId(238), "FKP", 2}, {CurrencyId(826), "GBP", 2},
    {CurrencyId(981), "GEL", 2}, {CurrencyId(936), "GHS", 2}, {CurrencyId(292), "GIP", 2},
    {CurrencyId(270), "GMD", 2}, {CurrencyId(324), "GNF", 0}, {CurrencyId(320), "GTQ", 2},
    {CurrencyId(328), "GYD", 2}, {CurrencyId(344), "HKD", 2}, {CurrencyId(340), "HNL", 2},
    {CurrencyId(332), "HTG", 2}, {CurrencyId(348), "HUF", 2}, {CurrencyId(360), "IDR", 2},
    {CurrencyId(376), "ILS", 2}, {CurrencyId(356), "INR", 2}, {CurrencyId(368), "IQD", 3},
    {CurrencyId(364), "IRR", 2}, {CurrencyId(352), "ISK", 0}, {CurrencyId(388), "JMD", 2},
    {CurrencyId(400), "JOD", 3}, {CurrencyId(392), "JPY", 0}, {CurrencyId(404), "KES", 2},
    {CurrencyId(417), "KGS", 2}, {CurrencyId(116), "KHR", 2}, {CurrencyId(174), "KMF", 0},
    {CurrencyId(408), "KPW", 2}, {CurrencyId(410), "KRW", 0}, {CurrencyId(414), "KWD", 3},
    {CurrencyId(136), "KYD", 2}, {CurrencyId(398), "KZT", 2}, {CurrencyId(418), "LAK", 2},
    {CurrencyId(422), "LBP", 2}, {CurrencyId(144), "LKR", 2}, {CurrencyId(430), "LRD", 2},
    {CurrencyId(426), "LSL", 2}, {CurrencyId(434), "LYD", 3}, {CurrencyId(504), "MAD", 2},
    {CurrencyId(498), "MDL", 2}, {CurrencyId(969), "MGA", 2}, {CurrencyId(807), "MKD", 2},
    {CurrencyId(104), "MMK", 2}, {CurrencyId(496), "MNT", 2}, {CurrencyId(446), "MOP", 2},
    {CurrencyId(929), "MRU", 2}, {CurrencyId(480), "MUR", 2}, {CurrencyId(462), "MVR", 2},
    {CurrencyId(454), "MWK", 2}, {CurrencyId(484), "MXN", 2}, {CurrencyId(458), "MYR", 2},
    {CurrencyId(943), "MZN", 2}, {CurrencyId(516), "NAD", 2}, {CurrencyId(566), "NGN", 2},
    {CurrencyId(558), "NIO", 2}, {CurrencyId(578), "NOK", 2}, {CurrencyId(524), "NPR", 2},
    {CurrencyId(554), "NZD", 2}, {CurrencyId(512), "OMR", 3}, {CurrencyId(590), "PAB", 2},
    {CurrencyId(604), "PEN", 2}, {CurrencyId(598), "PGK", 2}, {CurrencyId(608), "PHP", 2},
    {CurrencyId(586), "PKR", 2}, {CurrencyId(985), "PLN", 2}, {CurrencyId(600), "PYG", 0},
    {CurrencyId(634), "QAR", 2}, {CurrencyId(946), "RON", 2}, {CurrencyId(941), "RSD", 2},
    {CurrencyId(643), "RUB", 2}, {CurrencyId(646), "RWF", 0}, {CurrencyId(682), "SAR", 2},
    {CurrencyId(90), "SBD", 2}, {CurrencyId(690), "SCR", 2}, {CurrencyId(938), "SDG", 2},
    {CurrencyId(752), "SEK", 2}, {CurrencyId(702), "SGD", 2}, {CurrencyId(654), "SHP", 2},
    {CurrencyId(925), "SLE", 2}, {CurrencyId(706), "SOS", 2}, {CurrencyId(968), "SRD", 2},
    {CurrencyId(728), "SSP", 2}, {CurrencyId(930), "STN", 2}, {CurrencyId(222), "SVC", 2},
    {CurrencyId(760), "SYP", 2}, {CurrencyId(748), "SZL", 2}, {CurrencyId(764), "THB", 2},
    {CurrencyId(972), "TJS", 2}, {CurrencyId(934), "TMT", 2}, {CurrencyId(788), "TND", 3},
    {CurrencyId(776), "TOP", 2}, {CurrencyId(949), "TRY", 2}, {CurrencyId(780), "TTD", 2},
    {CurrencyId(901), "TWD", 2}, {CurrencyId(834), "TZS", 2}, {CurrencyId(980), "UAH", 2},
    {CurrencyId(800), "UGX", 0}, {CurrencyId(840), "USD", 2}, {CurrencyId(858), "UYU", 2},
    {CurrencyId(860), "UZS", 2}, {CurrencyId(928), "VES", 2}, {CurrencyId(704), "VND", 0},
    {CurrencyId(548), "VUV", 0}, {CurrencyId(882), "WST", 2}, {CurrencyId(950), "XAF", 0},
    {CurrencyId(951), "XCD", 2}, {CurrencyId(952), "XOF", 0}, {CurrencyId(953), "XPF", 0},
    {CurrencyId(886), "YER", 2}, {CurrencyId(710), "ZAR", 2}, {CurrencyId(967), "ZMW", 2},
});
// clang-format on

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

const Currency* find_currency(std::string_view code) {
  const auto* found = std::ranges::lower_bound(kCurrencies, code, {}, &Currency::code);
  return found != kCurrencies.end() && found->code == code ? found : nullptr;
}

const Currency* find_currency(CurrencyId id) {
  const auto* found = std::ranges::find(kCurrencies, id, &Currency::id);
  return found != kCurrencies.end() ? found : nullptr;
}

std::string_view describe(AmountFault fault) {
  switch (fault) {
    case AmountFault::NotANumber:
      return "is not a decimal number such as \"10.50\"";
    case AmountFault::TooManyDecimals:
      return "has more decimals than the currency";
    case AmountFault::TooLarge:
      return "is too large";
  }
  std::abort();
}

ParsedAmount parse_amount(std::string_view text, const Currency& currency) {
  const auto failed = [](AmountFault fault) { return ParsedAmount{Money(), fault}; };
  const bool is_negative = text.starts_with('-');
  if (is_negative) text.remove_prefix(1);
  const auto point = text.find('.');
  const auto whole = text.substr(0, point);
  const auto fraction = point == std::string_view::npos ? "" : text.substr(point + 1);
  const bool has_empty_fraction = point != std::string_view::npos && fraction.empty();
  if (whole.empty() || has_empty_fraction || !std::ranges::all_of(whole, is_digit) ||
      !std::ranges::all_of(fraction, is_digit)) {
    return failed(AmountFault::NotANumber);
  }
  const auto decimals = static_cast<std::size_t>(currency.decimals);
  if (fraction.size() > decimals) return failed(AmountFault::TooManyDecimals);

  std::int64_t value = 0;
  const auto append = [&value](char digit) {
    return !__builtin_mul_overflow(value, 10, &value) &&
           !__builtin_add_overflow(value, digit - '0', &value);
  };
  if (!std::ranges::all_of(whole, append) || !std::ranges::all_of(fraction, append)) {
    return failed(AmountFault::TooLarge);
  }
  for (auto i = fraction.size(); i < decimals; ++i) {
    if (!append('0')) return failed(AmountFault::TooLarge);
  }
  // Users' amounts stay within @world's bounds.
  if (value > kWorldMax.minor_units()) return failed(AmountFault::TooLarge);
  return {Money(is_negative ? -value : value), std::nullopt};
}

std::string format_amount(Money money, const Currency& currency) {
  const auto value = money.minor_units();
  auto digits = std::to_string(value);
  if (value < 0) digits.erase(0, 1);
  const auto decimals = static_cast<std::size_t>(currency.decimals);
  if (decimals > 0) {
    if (digits.size() <= decimals) digits.insert(0, decimals + 1 - digits.size(), '0');
    digits.insert(digits.size() - decimals, 1, '.');
  }
  return value < 0 ? "-" + digits : digits;
}

}  // namespace koshel
