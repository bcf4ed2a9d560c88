#include "coordinator/io/api/transfer_ids.hpp"

#include <sodium.h>

#include <array>
#include <charconv>
#include <cstring>

#include "base/invariant.hpp"

namespace koshel::coordinator {
namespace {

TransferSuffix suffix_of(const std::array<unsigned char, 16>& bytes) {
  TransferSuffix suffix;
  std::memcpy(&suffix.low, bytes.data(), sizeof suffix.low);
  std::memcpy(&suffix.high, bytes.data() + sizeof suffix.low, sizeof suffix.high);
  return suffix;
}

}  // namespace

TransferSuffix suffix_of_key(std::string_view key) {
  constexpr std::string_view kDomain = "koshel idempotency key";
  std::array<unsigned char, 16> hash{};
  const auto result = crypto_generichash(
      hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(key.data()), key.size(),
      reinterpret_cast<const unsigned char*>(kDomain.data()), kDomain.size());
  INVARIANT(result == 0);
  return suffix_of(hash);
}

TransferSuffix random_suffix() {
  std::array<unsigned char, 16> bytes{};
  randombytes_buf(bytes.data(), bytes.size());
  return suffix_of(bytes);
}

std::string write_cursor(std::string_view kind, const std::vector<std::int64_t>& numbers) {
  std::string text(kind);
  for (const auto number : numbers) text += ":" + std::to_string(number);
  return text;
}

Checked<std::vector<std::int64_t>> read_cursor(std::string_view content, std::string_view kind,
                                               std::size_t numbers) {
  const Problem invalid{ProblemCode::InvalidCursor, "the cursor belongs to another request"};
  if (!content.starts_with(kind)) return invalid;
  std::vector<std::int64_t> values;
  for (auto rest = content.substr(kind.size()); rest.starts_with(':');) {
    std::int64_t value = 0;
    const auto* last = rest.data() + rest.size();
    const auto [end, error] = std::from_chars(rest.data() + 1, last, value);
    if (error != std::errc() || value < 0) return invalid;
    values.push_back(value);
    rest = {end, last};
  }
  // Leading zeros and the like are not what write_cursor writes.
  if (values.size() != numbers || write_cursor(kind, values) != content) return invalid;
  return values;
}

}  // namespace koshel::coordinator
