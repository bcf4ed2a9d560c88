#pragma once
// Internal to config.cpp: the section `auth.ldap`, and which of its keys go together.

#include "platform/config.hpp"
#include "platform/config_reader.hpp"

namespace koshel::platform {

void read_ldap(ConfigSection section, LdapConfig& ldap);

}  // namespace koshel::platform
