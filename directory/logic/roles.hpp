#pragma once
// What a caller may be. Stored by name; `user` belongs to who owns an account and is stored for API
// tokens only.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace koshel::directory {

enum class Role : std::uint8_t { User, Teller, Auditor, Admin };
std::string_view to_string(Role role);
std::optional<Role> find_role(std::string_view name);

class Roles {
 public:
  constexpr Roles() = default;
  constexpr Roles(std::initializer_list<Role> roles) {
    for (const auto role : roles) add(role);
  }
  static constexpr Roles all() { return {Role::User, Role::Teller, Role::Auditor, Role::Admin}; }

  constexpr void add(Role role) { bits_ |= bit(role); }
  constexpr void remove(Role role) { bits_ &= static_cast<std::uint8_t>(~bit(role)); }
  constexpr bool has(Role role) const { return (bits_ & bit(role)) != 0; }
  constexpr bool has_any(Roles others) const { return (bits_ & others.bits_) != 0; }
  constexpr bool is_empty() const { return bits_ == 0; }
  std::vector<std::string_view> names() const;  // in the order of Role
  bool operator==(const Roles&) const = default;

 private:
  static constexpr std::uint8_t bit(Role role) {
    return static_cast<std::uint8_t>(1u << static_cast<unsigned>(role));
  }
  std::uint8_t bits_ = 0;
};

// "auditor,admin", as the directory writes them; words it does not know are left out.
Roles parse_roles(std::string_view list);

}  // namespace koshel::directory
