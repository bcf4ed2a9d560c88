#include "base/printable.hpp"

#include <utf8proc.h>

#include <cstdint>
#include <cstdio>

namespace koshel {
namespace {

constexpr utf8proc_int32_t kReplacement = 0xFFFD;

bool is_harmless(utf8proc_int32_t character) {
  switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_CC:  // ESC, newlines, and the C1 set, which some terminals obey too
    case UTF8PROC_CATEGORY_CF:  // turns of direction, what is not to be seen
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
      return false;
    default:
      return true;
  }
}

void append_unit(std::string& text, std::uint32_t unit) {
  char spelt[8];
  std::snprintf(spelt, sizeof spelt, "\\u%04x", unit & 0xFFFF);
  text += spelt;
}

void append_spelt(std::string& text, utf8proc_int32_t character) {
  const auto code = static_cast<std::uint32_t>(character);
  if (code <= 0xFFFF) return append_unit(text, code);
  append_unit(text, 0xD800 + ((code - 0x10000) >> 10));
  append_unit(text, 0xDC00 + ((code - 0x10000) & 0x3FF));
}

}  // namespace

std::string printable(std::string_view text) {
  std::string clean;
  clean.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t character = 0;
    const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &character);
    if (used <= 0) {
      append_spelt(clean, kReplacement);
      text.remove_prefix(1);
      continue;
    }
    const auto size = static_cast<std::size_t>(used);
    if (is_harmless(character)) {
      clean.append(text, 0, size);
    } else {
      append_spelt(clean, character);
    }
    text.remove_prefix(size);
  }
  return clean;
}

std::string printable_lines(std::string_view text) {
  std::string clean;
  for (;;) {
    const auto end = text.find('\n');
    clean += printable(text.substr(0, end));
    if (end == std::string_view::npos) return clean;
    clean += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace koshel
