#pragma once
// Passwords and other secrets by libsodium: Argon2id for what people choose, random bits for what we
// give out. Blocking and heavy: for a pool of its own, or the console.

#include <string>
#include <string_view>

#include "platform/config.hpp"

namespace koshel::platform {

// The hash with its parameters and salt as printable text; empty: the memory cannot be had.
std::string hash_password(std::string_view password, const PasswordConfig& config);

enum class PasswordCheck {
  Wrong,
  Right,
  RightButOld,  // the hash was made with other parameters than the config's
};
PasswordCheck check_password(const std::string& hash, std::string_view password,
                             const PasswordConfig& config);

// `bytes` random bytes in URL-safe base64 without padding.
std::string random_secret(std::size_t bytes);
void wipe(std::string& secret);

}  // namespace koshel::platform
