#pragma once
// Answers are written straight into text: a batch has thousands of results, and no tree is needed.

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

#include "base/ledger.hpp"

namespace koshel::coordinator {

// As a JSON string. What is not UTF-8 (a client's own bytes in a sentence) becomes U+FFFD.
std::string json_quoted(std::string_view text);
// The first bytes of a text, never half a character, and "..." where more follow.
std::string shortened(std::string_view text, std::size_t bytes_max);

// Whether every number in it can be written again. One beyond the range of a double is read as
// infinite, for which JSON has no word.
bool is_writable(const boost::json::value& value);

// Members of a JSON object, comma between them, without its braces.
class JsonMembers {
 public:
  JsonMembers& raw(std::string_view name, std::string_view json);
  // `value` is known to need no escaping: a number as text, an id, a checked name, a word of ours.
  JsonMembers& plain(std::string_view name, std::string_view value);
  JsonMembers& text(std::string_view name, std::string_view value);
  JsonMembers& amount(std::string_view name, Money money, const Currency& currency);
  JsonMembers& number(std::string_view name, std::int64_t value);
  std::string take() { return std::move(text_); }
  std::string object() { return "{" + std::move(text_) + "}"; }

 private:
  void name(std::string_view name);
  std::string text_;
};

}  // namespace koshel::coordinator
