// Names: one that is taken stays itself, and fits into a JSON text, a path and a line as it is.

#include "base/name.hpp"

#include <algorithm>

#include "platform/http.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  const auto text = fuzz::text_of(data, size);
  const auto [name, fault] = check_name(text);
  INVARIANT(name.empty() != fault.empty());
  if (is_valid_shard_name(text)) INVARIANT(text.size() <= 63 && fault.empty() && name == text);
  if (!fault.empty()) return 0;

  const auto again = check_name(name);
  INVARIANT(again.fault.empty() && again.name == name);
  INVARIANT(name != kWorldName && !name.starts_with('@'));
  const auto is_harmless = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-' || static_cast<unsigned char>(c) >= 0x80;
  };
  INVARIANT(std::ranges::all_of(name, is_harmless));
  const auto is_first_byte = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  INVARIANT(std::ranges::count_if(name, is_first_byte) <= kNameCharactersMax);
  INVARIANT(platform::percent_decode(platform::percent_encode(name)) == name);
  return 0;
}
