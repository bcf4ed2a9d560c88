#include "coordinator/logic/access.hpp"

#include <cstdlib>

#include "base/name.hpp"

namespace koshel::coordinator {
namespace {

bool reads_all(const Caller& caller) {
  return caller.roles.has_any({Role::Auditor, Role::Admin});
}

}  // namespace

std::string asker_of(const Caller& caller) {
  switch (caller.how) {
    case Caller::How::Open:
      return "";
    case Caller::How::Session: {
      const bool is_staff = caller.roles.has_any({Role::Teller, Role::Auditor, Role::Admin});
      return (is_staff ? "staff:" : "user:") + caller.name;
    }
    case Caller::How::ApiToken:
      return "token:" + std::to_string(caller.token_id) + ":" + caller.name;
  }
  std::abort();
}

bool may_see_askers(const Caller& caller) {
  return reads_all(caller);
}

bool owns(const Caller& caller, std::string_view name) {
  return caller.how == Caller::How::Session && caller.name == name;
}

bool may_see_account(const Caller& caller, std::string_view name) {
  return reads_all(caller) || caller.roles.has(Role::Teller) || owns(caller, name);
}

bool may_see_history(const Caller& caller, std::string_view name) {
  return reads_all(caller) || owns(caller, name);
}

bool has_world_side(Parties parties) {
  return parties.from == kWorldName || parties.to == kWorldName;
}

bool may_see_transfer(const Caller& caller, Parties parties) {
  if (reads_all(caller) || owns(caller, parties.from) || owns(caller, parties.to)) return true;
  return caller.roles.has(Role::Teller) && has_world_side(parties);
}

bool may_transfer(const Caller& caller, Parties parties) {
  if (caller.roles.has(Role::Admin)) return true;
  if (has_world_side(parties)) return caller.roles.has(Role::Teller);
  return owns(caller, parties.from);
}

}  // namespace koshel::coordinator
