#include "base/ids.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace koshel {
namespace {

constexpr std::string_view kPrefix = "koshel:";

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto* end = text.data() + text.size();
  const auto [last, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || last != end || value < 0) return std::nullopt;
  return value;
}

}  // namespace

bool is_valid_cluster_name(std::string_view name) {
  return !name.empty() && name.size() <= 63 && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::string Gid::to_string() const {
  return std::string(kPrefix) + cluster + ':' + std::to_string(round.incarnation.value()) + ':' +
         std::to_string(round.sequence.value()) + ':' + std::to_string(shard.value());
}

std::optional<Gid> Gid::parse(std::string_view text) {
  const auto whole = text;
  if (!text.starts_with(kPrefix)) return std::nullopt;
  text.remove_prefix(kPrefix.size());
  std::array<std::string_view, 4> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto colon = text.find(':');
    if ((colon == std::string_view::npos) != (i + 1 == parts.size())) return std::nullopt;
    parts[i] = text.substr(0, colon);
    text.remove_prefix(colon == std::string_view::npos ? text.size() : colon + 1);
  }
  const auto incarnation = parse_number(parts[1]);
  const auto sequence = parse_number(parts[2]);
  const auto shard = parse_number(parts[3]);
  if (!is_valid_cluster_name(parts[0]) || !incarnation || !sequence || !shard) return std::nullopt;
  if (*shard > INT32_MAX) return std::nullopt;
  Gid gid{std::string(parts[0]),
          {Incarnation(*incarnation), Sequence(*sequence)},
          ShardId(static_cast<std::int32_t>(*shard))};
  if (gid.to_string() != whole) return std::nullopt;  // leading zeros and the like
  return gid;
}

}  // namespace koshel
