#include "directory/io/first_admin.hpp"

#include "platform/password_hash.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {
namespace {
// Nobody calls here who could be named; the audit trail has it all the same.
constexpr auto kMakeAdmin =
    "with made as (insert into logins as l (name, password_hash, roles) "
    "values ($1, $2, '{admin}') on conflict (name) do update "
    "set password_hash = excluded.password_hash, "
    "roles = array_append(array_remove(l.roles, 'admin'), 'admin') "
    "where l.password_hash is null returning name) "
    "select append_audit(null, null, array[json_build_object('who', null, 'how', null, "
    "'what', 'first admin', 'target', name, 'from', 'console', 'status', 201, 'code', null, "
    "'id', null, 'request_id', '', 'detail', null)]) from made";
constexpr std::size_t kRandomBytes = 18;
}  // namespace

Result<std::optional<std::string>> make_first_admin(pqxx::connection& directory,
                                                    const std::string& name,
                                                    const platform::PasswordConfig& passwords) {
  const auto password = platform::random_secret(kRandomBytes);
  const auto hash = platform::hash_password(password, passwords);
  if (hash.empty()) return Error{Fault::Unavailable, "there is no memory to hash a password"};
  return platform::guarded([&]() -> std::optional<std::string> {
    pqxx::nontransaction session(directory);
    if (session.exec_params(kMakeAdmin, name, hash).empty()) return std::nullopt;
    return password;
  });
}

}  // namespace koshel::directory
