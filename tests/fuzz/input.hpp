#pragma once
// What every target shares. A target is one source with a LLVMFuzzerTestOneInput, in which INVARIANT
// says what holds for any input at all. libFuzzer calls it (./dev fuzz), and replay.cpp with the
// inputs of corpus/.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/invariant.hpp"

namespace koshel::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The line at the beginning of `text`, which is taken off it: what a target chooses by.
inline std::string_view take_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(line.size() == text.size() ? line.size() : line.size() + 1);
  return line;
}

}  // namespace koshel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
