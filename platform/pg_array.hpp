#pragma once
// PostgreSQL array literals for use as parameters: "{1,2,3}", "{\"a b\",c}".

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace koshel::platform {

inline void append_array_element(std::string& text, std::int64_t value) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  text.append(digits, end);
}

inline void append_array_element(std::string& text, std::string_view value) {
  text += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') text += '\\';
    text += c;
  }
  text += '"';
}

// `element` turns each item into an int64 or a string.
template <class Range, class Element>
std::string pg_array(const Range& range, Element element) {
  std::string text = "{";
  for (const auto& item : range) {
    if (text.size() > 1) text += ',';
    append_array_element(text, element(item));
  }
  text += '}';
  return text;
}

}  // namespace koshel::platform
