#include "directory/logic/roles.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace koshel::directory {
namespace {
constexpr std::array kRoles{Role::User, Role::Teller, Role::Auditor, Role::Admin};
}  // namespace

std::string_view to_string(Role role) {
  switch (role) {
    case Role::User:
      return "user";
    case Role::Teller:
      return "teller";
    case Role::Auditor:
      return "auditor";
    case Role::Admin:
      return "admin";
  }
  std::abort();
}

std::optional<Role> find_role(std::string_view name) {
  for (const auto role : kRoles) {
    if (to_string(role) == name) return role;
  }
  return std::nullopt;
}

std::vector<std::string_view> Roles::names() const {
  std::vector<std::string_view> names;
  for (const auto role : kRoles) {
    if (has(role)) names.push_back(to_string(role));
  }
  return names;
}

Roles parse_roles(std::string_view list) {
  Roles roles;
  while (!list.empty()) {
    const auto word = list.substr(0, list.find(','));
    if (const auto role = find_role(word)) roles.add(*role);
    list.remove_prefix(std::min(list.size(), word.size() + 1));
  }
  return roles;
}

}  // namespace koshel::directory
