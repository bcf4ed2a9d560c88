#include "base/name.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/ids.hpp"
#include "base/printable.hpp"

namespace koshel {
namespace {

struct Free {
  void operator()(utf8proc_uint8_t* text) const { std::free(text); }
};

// utf8proc gives normal form C as a malloc'ed string, or a negative code for invalid UTF-8.
std::optional<std::string> normal_form(std::string_view text) {
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::ranges::all_of(text, is_ascii)) return std::string(text);
  utf8proc_uint8_t* raw = nullptr;
  const auto size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &raw,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, Free> owned(raw);
  if (size < 0) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(size));
}

enum class CharacterKind { Letter, Mark, Other };

// An ignorable character, such as U+034F or U+3164, leaves no trace on a screen: two names that
// differ in one look the same.
CharacterKind kind_of(utf8proc_int32_t character) {
  if (utf8proc_get_property(character)->ignorable) return CharacterKind::Other;
  if (character == '.' || character == '_' || character == '-') return CharacterKind::Letter;
  switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
      return CharacterKind::Letter;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
      return CharacterKind::Mark;
    default:
      return CharacterKind::Other;
  }
}

}  // namespace

NameCheck check_name(std::string_view text) {
  if (text.empty()) return {"", "is empty"};
  if (text.size() > 4096) return {"", "is longer than 64 characters"};
  auto name = normal_form(text);
  if (!name) return {"", "is not valid UTF-8"};
  if (name->starts_with('@')) return {"", "starts with @, which is reserved"};
  int characters = 0;
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(name->data());
  auto left = static_cast<utf8proc_ssize_t>(name->size());
  while (left > 0) {
    utf8proc_int32_t character = 0;
    const auto used = utf8proc_iterate(at, left, &character);
    if (used <= 0) return {"", "is not valid UTF-8"};
    const auto kind = kind_of(character);
    if (kind == CharacterKind::Other || (kind == CharacterKind::Mark && characters == 0)) {
      return {"", "has a character that is not a letter, a digit or one of . _ -"};
    }
    if (++characters > kNameCharactersMax) return {"", "is longer than 64 characters"};
    at += used;
    left -= used;
  }
  return {std::move(*name), ""};
}

std::string find_label_fault(std::string_view text) {
  if (text.empty()) return "is empty";
  if (printable(text) != text) return "has a character that cannot be seen";
  if (text.starts_with(' ') || text.ends_with(' ')) return "begins or ends with a space";
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  if (std::ranges::count_if(text, is_first_byte) > kNameCharactersMax) {
    return "is longer than 64 characters";
  }
  return "";
}

bool is_valid_shard_name(std::string_view name) {
  return is_valid_cluster_name(name);
}

}  // namespace koshel
