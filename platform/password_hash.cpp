#include "platform/password_hash.hpp"

#include <sodium.h>

#include <array>
#include <vector>

namespace koshel::platform {
namespace {

std::size_t memory_bytes(const PasswordConfig& config) {
  return static_cast<std::size_t>(config.memory_kib) * 1024;
}

}  // namespace

std::string hash_password(std::string_view password, const PasswordConfig& config) {
  std::array<char, crypto_pwhash_STRBYTES> text{};
  const auto passes = static_cast<unsigned long long>(config.passes);
  if (crypto_pwhash_str_alg(text.data(), password.data(), password.size(), passes,
                            memory_bytes(config), crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return "";
  }
  return text.data();
}

PasswordCheck check_password(const std::string& hash, std::string_view password,
                             const PasswordConfig& config) {
  if (crypto_pwhash_str_verify(hash.c_str(), password.data(), password.size()) != 0) {
    return PasswordCheck::Wrong;
  }
  const auto passes = static_cast<unsigned long long>(config.passes);
  const bool is_old =
      crypto_pwhash_str_needs_rehash(hash.c_str(), passes, memory_bytes(config)) != 0;
  return is_old ? PasswordCheck::RightButOld : PasswordCheck::Right;
}

std::string random_secret(std::size_t bytes) {
  std::vector<unsigned char> random(bytes);
  randombytes_buf(random.data(), random.size());
  constexpr int kVariant = sodium_base64_VARIANT_URLSAFE_NO_PADDING;
  std::string text(sodium_base64_encoded_len(bytes, kVariant), '\0');
  sodium_bin2base64(text.data(), text.size(), random.data(), random.size(), kVariant);
  sodium_memzero(random.data(), random.size());
  text.pop_back();  // the terminating NUL
  return text;
}

void wipe(std::string& secret) {
  sodium_memzero(secret.data(), secret.size());
  secret.clear();
}

}  // namespace koshel::platform
