#include "base/transfer_id.hpp"

namespace koshel {
namespace {

constexpr std::uint64_t kVersion8 = 0x8000;
constexpr std::uint64_t kVariant = std::uint64_t{0b10} << 62;
constexpr std::uint64_t kLow62 = (std::uint64_t{1} << 62) - 1;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_dash_position(std::size_t i) {
  return i == 8 || i == 13 || i == 18 || i == 23;
}

}  // namespace

TransferId::TransferId(AccountId anchor, TransferSuffix suffix)
    : high_(static_cast<std::uint64_t>(anchor.value()) << 16 | kVersion8 | (suffix.high & 0xfffu)),
      low_(kVariant | (suffix.low & kLow62)) {}

void TransferId::append_to(std::string& text) const {
  constexpr char kDigits[] = "0123456789abcdef";
  char uuid[36];
  auto* at = uuid;
  for (int nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) *at++ = '-';
    const auto word = nibble < 16 ? high_ : low_;
    *at++ = kDigits[word >> (60 - 4 * (nibble % 16)) & 0xf];
  }
  text.append(uuid, sizeof uuid);
}

std::string TransferId::to_string() const {
  std::string text;
  text.reserve(36);
  append_to(text);
  return text;
}

std::optional<TransferId> TransferId::parse(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  std::uint64_t words[2] = {0, 0};
  int nibble = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_dash_position(i)) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    const int value = hex_value(text[i]);
    if (value < 0) return std::nullopt;
    auto& word = words[nibble++ / 16];
    word = word << 4 | static_cast<std::uint64_t>(value);
  }
  if ((words[0] & 0xf000) != kVersion8 || (words[1] & ~kLow62) != kVariant) return std::nullopt;
  TransferId id;
  id.high_ = words[0];
  id.low_ = words[1];
  return id;
}

}  // namespace koshel
