#pragma once
// Finds a key that an object of a JSON text has twice: Boost.JSON keeps the last one silently.

#include <optional>
#include <string>
#include <string_view>

namespace koshel::coordinator {

// `text` was parsed before and is valid JSON.
std::optional<std::string> find_duplicate_key(std::string_view text);

}  // namespace koshel::coordinator
