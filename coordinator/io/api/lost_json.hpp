#pragma once
// Finds what Boost.JSON would read without an error and not keep: of a key that stands twice in an
// object only the last value is left, of a number with many digits what a double holds. Only
// numbers in metadata matter, which is given back as it came; others are for their fields to judge.

#include <optional>
#include <string>
#include <string_view>

namespace koshel::coordinator {

struct LostJson {
  std::string what;  // "field 'amount'", "metadata's number 123456789012345678901"
  std::string_view why;
};

// `text` was parsed before and is valid JSON.
std::optional<LostJson> find_lost(std::string_view text);

}  // namespace koshel::coordinator
