#include "platform/durability.hpp"

#include <string>

namespace koshel::platform {

namespace {
constexpr auto kSettings =
    "select name, setting from pg_settings "
    "where name in ('fsync', 'full_page_writes') order by name";
}  // namespace

Result<void> check_durability(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  for (const auto& row : session.exec(kSettings)) {
    const auto name = row[0].as<std::string>();
    const auto value = row[1].as<std::string>();
    if (value == "off") {
      return Error{Fault::Internal, name + " is " + value +
                                        " on this server: a crash would lose acknowledged money; "
                                        "set " +
                                        name + " = on"};
    }
  }
  if (session.exec("select pg_is_in_recovery()")[0][0].as<bool>()) {
    return Error{Fault::Unavailable,
                 "this server is a standby: point `host` at the primary, or give both and "
                 "target_session_attrs=primary in `options`"};
  }
  return success();
}

}  // namespace koshel::platform
