#pragma once
// Which passwords people may choose: of 8 to 1024 characters, whatever they are, and not one of
// those that everybody tries first.

#include <string>
#include <string_view>

namespace koshel::coordinator {

inline constexpr int kPasswordCharactersMin = 8;
inline constexpr int kPasswordCharactersMax = 1024;

// What is wrong with it, as a clause for a sentence that starts with the field; empty: nothing.
// `password` is valid UTF-8. It never repeats the password.
std::string find_password_fault(std::string_view password);

}  // namespace koshel::coordinator
