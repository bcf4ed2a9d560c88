// Amounts: what is read is written back as the same number, within the bounds of any account.

#include <algorithm>

#include "base/money.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace koshel;

// The digits that count: without sign, point, zeros before the whole and behind the fraction.
std::string plain(std::string_view text) {
  std::string whole(text.substr(0, text.find('.')));
  std::string fraction(text.find('.') == std::string_view::npos ? ""
                                                                : text.substr(text.find('.') + 1));
  if (whole.starts_with('-')) whole.erase(0, 1);
  whole.erase(0, std::min(whole.find_first_not_of('0'), whole.size()));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return whole + "." + fraction;
}

void check(std::string_view text, const Currency& currency) {
  const auto [money, fault] = parse_amount(text, currency);
  if (fault) {
    INVARIANT(!describe(*fault).empty());
    INVARIANT(money == Money());
    return;
  }
  INVARIANT(money >= kWorldMin && money <= kWorldMax);
  const auto written = format_amount(money, currency);
  INVARIANT(parse_amount(written, currency).money == money);
  INVARIANT(plain(written) == plain(text));
  INVARIANT((money < Money()) == (written.front() == '-'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = fuzz::text_of(data, size);
  for (const auto code : {"EUR", "JPY", "KWD"}) check(text, *find_currency(code));
  if (size >= sizeof(std::int64_t)) {  // any number can be told
    std::int64_t minor = 0;
    std::copy_n(data, sizeof minor, reinterpret_cast<std::uint8_t*>(&minor));
    for (const auto code : {"EUR", "JPY", "KWD"}) {
      const auto told = format_amount(Money(minor), *find_currency(code));
      const auto read = parse_amount(told, *find_currency(code));
      INVARIANT(read.fault == AmountFault::TooLarge || read.money == Money(minor));
    }
  }
  return 0;
}
