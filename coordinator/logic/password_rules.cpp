#include "coordinator/logic/password_rules.hpp"

#include <algorithm>
#include <array>

namespace koshel::coordinator {
namespace {

// The commonest of 8 characters or more in lists of passwords that were stolen; in lower case.
constexpr auto kCommon = std::to_array<std::string_view>({
    "00000000",      "01234567",     "0123456789",   "0987654321",   "10203040",   "11111111",
    "1111111111",    "112233445566", "11223344",     "1122334455",   "12121212",   "12341234",
    "1234512345",    "12344321",     "12345678",     "123456789",    "1234567890", "12345678910",
    "123456789a",    "1234567a",     "1234qwer",     "123123123",    "123321123",  "123654789",
    "12qwaszx",      "13243546",     "147258369",    "147852369",    "159753456",  "18atcskd2w",
    "1q2w3e4r",      "1q2w3e4r5t",   "1qaz2wsx",     "1qaz2wsx3edc", "22222222",   "33333333",
    "3rjs1la7qe",    "55555555",     "66666666",     "741852963",    "77777777",   "789456123",
    "87654321",      "88888888",     "963852741",    "98765432",     "987654321",  "9876543210",
    "99999999",      "a1234567",     "a12345678",    "a123456789",   "aa123456",   "aa12345678",
    "aaaaaaaa",      "abc12345",     "abcd1234",     "abcdefgh",     "admin123",   "admin1234",
    "administrator", "alexander",    "asdf1234",     "asdfasdf",     "asdfghjk",   "asdfghjkl",
    "babygirl",      "barcelona",    "baseball",     "basketball",   "blink182",   "butterfly",
    "changeme",      "charlie1",     "chocolate",    "computer",     "cristina",   "danielle",
    "dearbook",      "elephant",     "elizabeth",    "facebook",     "fitness1",   "football",
    "football1",     "franklin",     "garfield",     "greenday",     "hello123",   "iloveyou",
    "iloveyou1",     "internet",     "jennifer",     "jonathan",     "jordan23",   "juventus",
    "letmein1",      "liverpool",    "liverpool1",   "lollipop",     "manchester", "marlboro",
    "maverick",      "mercedes",     "metallica",    "michelle",     "midnight",   "minecraft",
    "mustang1",      "mynoob123",    "nicholas",     "p@ssw0rd",     "p@ssword",   "pa$$w0rd",
    "pass1234",      "passw0rd",     "password",     "password!",    "password01", "password1",
    "password12",    "password123",  "password1234", "passwort",     "pokemon1",   "portugal",
    "princess",      "princess1",    "q1w2e3r4",     "q1w2e3r4t5",   "qazwsxedc",  "qq123456",
    "qwer1234",      "qwerty12",     "qwerty123",    "qwerty1234",   "qwertyui",   "qwertyuiop",
    "rockstar",      "samantha",     "secret123",    "skywalker",    "snowball",   "spiderman",
    "starwars",      "startrek",     "steelers",     "sunshine",     "sunshine1",  "superman",
    "superman1",     "swordfish",    "test1234",     "tinkerbell",   "trustno1",   "unknown1",
    "veronica",      "victoria",     "welcome1",     "welcome123",   "whatever",   "zaq12wsx",
    "zxcvbnm1",      "zxcvbnm123",
});

bool is_common(std::string_view password) {
  std::string lower(password);
  for (auto& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return std::ranges::find(kCommon, lower) != kCommon.end();
}

}  // namespace

std::string find_password_fault(std::string_view password) {
  const auto characters = std::ranges::count_if(
      password, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  if (characters < kPasswordCharactersMin) {
    return "must have " + std::to_string(kPasswordCharactersMin) + " characters at least";
  }
  if (characters > kPasswordCharactersMax) {
    return "must have " + std::to_string(kPasswordCharactersMax) + " characters at most";
  }
  if (is_common(password)) return "is one that everybody tries first; choose another";
  return "";
}

}  // namespace koshel::coordinator
