#pragma once
// The way in: the admin who is there before anybody could have made one over the API.

#include <optional>
#include <pqxx/pqxx>
#include <string>

#include "base/result.hpp"
#include "platform/config.hpp"

namespace koshel::directory {

// Gives `name` (in normal form) role admin and a password, which is returned and known to nobody
// else. Null: the name can log in already, and nothing was changed. `directory` is a connection to
// a directory whose schema is up to date; libsodium is initialised. Heavy: it hashes.
Result<std::optional<std::string>> make_first_admin(pqxx::connection& directory,
                                                    const std::string& name,
                                                    const platform::PasswordConfig& passwords);

}  // namespace koshel::directory
