#pragma once
// Who calls and what they may. Roles are rights on the whole cluster; beside them everybody may
// read their own account and pay from it. Of an account that is not theirs, callers without a role
// learn the name and nothing else: what belongs to it answers like what does not exist.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.hpp"
#include "directory/logic/roles.hpp"

namespace koshel::coordinator {

using directory::Role;
using directory::Roles;

using TokenHash = std::array<unsigned char, 32>;

struct Caller {
  enum class How { Open, Session, ApiToken };  // Open: the cluster asks nobody who they are
  std::string name;                            // of a session; an API token's label
  Roles roles;
  How how = How::Open;
  TokenHash token{};
  std::optional<Timestamp> expires_at;
  std::int64_t token_id = 0;

  static Caller anyone() { return {"@anyone", Roles::all(), How::Open, {}, std::nullopt}; }
};

// Of a route: nobody is asked, whoever is known, or who has one of these roles.
class Rule {
 public:
  static constexpr Rule open() { return Rule(Kind::Open, {}); }
  static constexpr Rule known() { return Rule(Kind::Known, {}); }
  static constexpr Rule only(Roles roles) { return Rule(Kind::Only, roles); }

  constexpr bool is_open() const { return kind_ == Kind::Open; }
  bool lets_in(const Caller& caller) const {
    return kind_ != Kind::Only || caller.roles.has_any(roles_);
  }
  Roles roles() const { return roles_; }  // of `only`

 private:
  enum class Kind { Open, Known, Only };
  constexpr Rule(Kind kind, Roles roles) : kind_(kind), roles_(roles) {}
  Kind kind_;
  Roles roles_;
};

// The caller as an entry of the ledger names them: "user:anna"; with a role of staff "staff:tina";
// "token:17:shop" of an API token, by number and label. Empty where nobody is asked who they are.
std::string asker_of(const Caller& caller);
bool may_see_askers(const Caller& caller);

// `name` is an account's, in normal form.
bool owns(const Caller& caller, std::string_view name);
// Balance, limits, version of the account; false: its name alone.
bool may_see_account(const Caller& caller, std::string_view name);
// Its entries, and by key its transfers. A teller needs to see only what `may_see_transfer` says.
bool may_see_history(const Caller& caller, std::string_view name);

struct Parties {  // of a transfer, by name
  std::string_view from;
  std::string_view to;
};
bool has_world_side(Parties parties);  // a deposit or a withdrawal
bool may_see_transfer(const Caller& caller, Parties parties);
bool may_transfer(const Caller& caller, Parties parties);

}  // namespace koshel::coordinator
