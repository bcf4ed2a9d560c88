// POST /v1/admin/tokens and PUT /v1/admin/roles/{name}: the name in the first line.

#include "directory/logic/roles.hpp"
#include "tests/fuzz/desk.hpp"

namespace {

using namespace koshel;

void check_roles(const boost::json::object& asked) {
  for (const auto& role : asked.at("roles").as_array()) {
    INVARIANT(directory::find_role(role.as_string()).has_value());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::Desk desk(platform::AuthMode::Password);
  auto body = fuzz::text_of(data, size);
  const std::string name(fuzz::take_line(body));
  if (fuzz::is_sound(desk.add_token(fuzz::post("/v1/admin/tokens", body)))) {
    const auto token = fuzz::object_of(body);
    fuzz::check_members(token, {"label", "roles", "expires_at"});
    INVARIANT(!token.at("roles").as_array().empty());
    check_roles(token);
  }
  if (fuzz::is_sound(desk.set_roles(fuzz::post("/v1/admin/roles/x", body), name))) {
    INVARIANT(fuzz::is_party(boost::json::value(name)));
    const auto roles = fuzz::object_of(body);
    fuzz::check_members(roles, {"roles"});
    check_roles(roles);
  }
  return 0;
}
