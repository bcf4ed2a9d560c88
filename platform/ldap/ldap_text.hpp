#pragma once
// What people type, put into LDAP's own languages: always escaped, so that it stays one value.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace koshel::platform {

// As a value in a filter, RFC 4515.
std::string filter_value(std::string_view text);
// As a value in a DN, RFC 4514. Valid UTF-8 is expected; null: it is not.
std::optional<std::string> dn_value(std::string_view text);
// One spelling for all that differ in case (of ASCII), spaces and escapes; null: not a DN.
std::optional<std::string> normal_dn(const std::string& text);

struct Placeholder {
  std::string_view mark;  // "{name}"
  std::string_view value;
};
// In one pass: a mark inside a value stays what it is.
std::string fill_in(std::string_view pattern, const std::vector<Placeholder>& placeholders);

}  // namespace koshel::platform
