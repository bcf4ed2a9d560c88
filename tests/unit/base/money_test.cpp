#include "base/money.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace koshel {
namespace {

const Currency& currency(std::string_view code) {
  return *find_currency(code);
}

Money parsed(std::string_view text, std::string_view code) {
  const auto amount = parse_amount(text, currency(code));
  EXPECT_FALSE(amount.fault) << text;
  return amount.money;
}

std::optional<AmountFault> fault_of(std::string_view text, std::string_view code) {
  return parse_amount(text, currency(code)).fault;
}

TEST(Currency, IsFoundByCodeAndByNumber) {
  EXPECT_EQ(currency("EUR").id, CurrencyId(978));
  EXPECT_EQ(find_currency(CurrencyId(414))->code, "KWD");
  EXPECT_EQ(find_currency("AED")->decimals, 2);
  EXPECT_EQ(find_currency("ZMW")->id, CurrencyId(967));
}

TEST(Currency, IsNotFoundByWhatIsNoCode) {
  for (const auto* code : {"", "E", "EU", "EURO", "eur", "AAA", "ZZZ", "XYZ"}) {
    EXPECT_EQ(find_currency(code), nullptr) << code;
  }
  EXPECT_EQ(find_currency(CurrencyId(0)), nullptr);
  EXPECT_EQ(find_currency(CurrencyId(999)), nullptr);
}

TEST(Amount, IsParsedInMinorUnits) {
  EXPECT_EQ(parsed("10.50", "EUR"), Money(1050));
  EXPECT_EQ(parsed("10.5", "EUR"), Money(1050));
  EXPECT_EQ(parsed("10", "EUR"), Money(1000));
  EXPECT_EQ(parsed("0.01", "EUR"), Money(1));
  EXPECT_EQ(parsed("007", "EUR"), Money(700));
  EXPECT_EQ(parsed("0", "EUR"), Money(0));
}

TEST(Amount, OfAYenHasNoDecimals) {
  EXPECT_EQ(parsed("1050", "JPY"), Money(1050));
  EXPECT_EQ(fault_of("10.5", "JPY"), AmountFault::TooManyDecimals);
  EXPECT_EQ(fault_of("10.0", "JPY"), AmountFault::TooManyDecimals);
  EXPECT_EQ(fault_of("10.", "JPY"), AmountFault::NotANumber);
  EXPECT_EQ(format_amount(Money(1050), currency("JPY")), "1050");
  EXPECT_EQ(format_amount(Money(0), currency("JPY")), "0");
  EXPECT_EQ(format_amount(Money(-7), currency("JPY")), "-7");
}

TEST(Amount, OfADinarHasThreeDecimals) {
  EXPECT_EQ(parsed("1.5", "KWD"), Money(1500));
  EXPECT_EQ(parsed("1.005", "KWD"), Money(1005));
  EXPECT_EQ(fault_of("1.0005", "KWD"), AmountFault::TooManyDecimals);
  EXPECT_EQ(format_amount(Money(1005), currency("KWD")), "1.005");
  EXPECT_EQ(format_amount(Money(5), currency("KWD")), "0.005");
}

TEST(Amount, MayBeNegative) {
  EXPECT_EQ(parsed("-10.50", "EUR"), Money(-1050));
  EXPECT_EQ(parsed("-0", "EUR"), Money(0));
  EXPECT_EQ(format_amount(Money(-1050), currency("EUR")), "-10.50");
  EXPECT_EQ(format_amount(Money(-5), currency("EUR")), "-0.05");
}

TEST(Amount, IsBoundedByTwoToThe62MinorUnits) {
  EXPECT_EQ(parsed("46116860184273879.04", "EUR"), kWorldMax);
  EXPECT_EQ(parsed("-46116860184273879.04", "EUR"), kWorldMin);
  EXPECT_EQ(parsed("4611686018427387904", "JPY"), kWorldMax);
  EXPECT_EQ(fault_of("46116860184273879.05", "EUR"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("-46116860184273879.05", "EUR"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("4611686018427387905", "JPY"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("9223372036854775807", "JPY"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("9223372036854775808", "JPY"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("92233720368547758.07", "EUR"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("92233720368547759", "EUR"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of("18446744073709551617", "JPY"), AmountFault::TooLarge);
  EXPECT_EQ(fault_of(std::string(1000, '9'), "KWD"), AmountFault::TooLarge);
}

TEST(Amount, MayHaveMoreLeadingZerosThanDigitsFit) {
  EXPECT_EQ(parsed(std::string(1000, '0') + "1.5", "EUR"), Money(150));
}

TEST(Amount, WithTooManyDecimalsIsRefusedEvenIfTheyAreZeros) {
  EXPECT_EQ(fault_of("1.001", "EUR"), AmountFault::TooManyDecimals);
  EXPECT_EQ(fault_of("1.000", "EUR"), AmountFault::TooManyDecimals);
}

TEST(Amount, IsPlainDigitsOnly) {
  for (const auto* text :
       {"",     "-",   ".",   "-.",    ".5",  "5.",   "-.5",  "+1",   "--1", "1-",
        " 1",   "1 ",  "1,5", "1.5.0", "1e3", "0x1",  "1_0",  "NaN",  "inf", "1.-5",
        "1. 5", "ten", "١",   "１",    "1\n", "1.5€", "\xff", "1'000"}) {
    EXPECT_EQ(fault_of(text, "EUR"), AmountFault::NotANumber) << text;
  }
  EXPECT_EQ(fault_of(std::string_view("1\0", 2), "EUR"), AmountFault::NotANumber);
}

TEST(Amount, IsFormattedAndParsedBackTheSame) {
  for (const auto* code : {"EUR", "JPY", "KWD"}) {
    for (const std::int64_t minor : {0L, 1L, 9L, 10L, 99L, 100L, 999L, 1000L, 123456789L}) {
      for (const auto money : {Money(minor), Money(-minor), kWorldMin, kWorldMax}) {
        EXPECT_EQ(parsed(format_amount(money, currency(code)), code), money);
      }
    }
  }
}

TEST(Amount, IsFormattedEvenAtTheEndsOfItsType) {
  constexpr std::numeric_limits<std::int64_t> kLimits;
  EXPECT_EQ(format_amount(Money(kLimits.max()), currency("EUR")), "92233720368547758.07");
  EXPECT_EQ(format_amount(Money(kLimits.min()), currency("EUR")), "-92233720368547758.08");
}

TEST(Money, SumThatDoesNotFitIsNothing) {
  constexpr std::numeric_limits<std::int64_t> kLimits;
  EXPECT_EQ(Money(2).plus(Money(3)), Money(5));
  EXPECT_EQ(Money(2).minus(Money(3)), Money(-1));
  EXPECT_FALSE(Money(kLimits.max()).plus(Money(1)));
  EXPECT_FALSE(Money(kLimits.min()).minus(Money(1)));
  EXPECT_FALSE(Money(0).minus(Money(kLimits.min())));
  EXPECT_FALSE(kWorldMax.plus(kWorldMax));
  EXPECT_EQ(kWorldMin.plus(kWorldMin), Money(kLimits.min()));
}

TEST(AmountFault, IsDescribedForPeople) {
  EXPECT_EQ(describe(AmountFault::TooManyDecimals), "has more decimals than the currency");
}

}  // namespace
}  // namespace koshel
