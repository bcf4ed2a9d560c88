#pragma once
// User names: 1 to 64 characters of letters (of any script, with their marks), decimal digits and
// `. _ -`, in UTF-8. Names are compared in normal form C, so "й" typed in two ways is one name.

#include <optional>
#include <string>
#include <string_view>

namespace koshel {

inline constexpr std::string_view kWorldName = "@world";
inline constexpr int kNameCharactersMax = 64;

struct NameCheck {
  std::string name;   // in normal form C; valid only if fault is empty
  std::string fault;  // a clause such as "is empty", for a sentence that starts with the field
};
NameCheck check_name(std::string_view text);

// Labels of API tokens: 1 to 64 characters that can be seen, or spaces between them. Empty, or a
// clause as in NameCheck.
std::string find_label_fault(std::string_view text);

// Names of shards: lower-case letters, digits, '-' and '_', 1 to 63: they appear in URLs and
// metrics.
bool is_valid_shard_name(std::string_view name);

}  // namespace koshel
