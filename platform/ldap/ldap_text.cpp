#include "platform/ldap/ldap_text.hpp"

#include <ldap.h>

#include <algorithm>
#include <array>
#include <boost/algorithm/string/case_conv.hpp>
#include <locale>
#include <memory>

#include "base/invariant.hpp"

namespace koshel::platform {
namespace {

struct FreeText {
  void operator()(char* text) const { ldap_memfree(text); }
};
using Text = std::unique_ptr<char, FreeText>;

// libldap reads only.
berval as_berval(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}

}  // namespace

std::string filter_value(std::string_view text) {
  if (text.empty()) return {};
  auto in = as_berval(text);
  berval out{};
  INVARIANT(ldap_bv2escaped_filter_value(&in, &out) == 0);  // else there is no memory
  const Text owned(out.bv_val);
  return {out.bv_val, out.bv_len};
}

std::optional<std::string> dn_value(std::string_view text) {
  constexpr std::string_view kBefore = "x=";
  LDAPAVA ava{as_berval("x"), as_berval(text), LDAP_AVA_STRING, nullptr};
  std::array<LDAPAVA*, 2> rdn{&ava, nullptr};
  char* written = nullptr;
  if (ldap_rdn2str(rdn.data(), &written, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS) {
    return std::nullopt;
  }
  const Text owned(written);
  return std::string(written + kBefore.size());
}

std::optional<std::string> normal_dn(const std::string& text) {
  LDAPDN read = nullptr;
  if (text.empty() || ldap_str2dn(text.c_str(), &read, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS) {
    return std::nullopt;
  }
  const std::unique_ptr<LDAPRDN, decltype(&ldap_dnfree)> dn(read, &ldap_dnfree);
  char* written = nullptr;
  if (ldap_dn2str(dn.get(), &written, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS) return std::nullopt;
  const Text owned(written);
  return boost::algorithm::to_lower_copy(std::string(written), std::locale::classic());
}

std::string fill_in(std::string_view pattern, const std::vector<Placeholder>& placeholders) {
  std::string text;
  while (!pattern.empty()) {
    const auto found = std::ranges::find_if(
        placeholders, [&](const auto& each) { return pattern.starts_with(each.mark); });
    if (found == placeholders.end()) {
      text += pattern.front();
      pattern.remove_prefix(1);
    } else {
      text += found->value;
      pattern.remove_prefix(found->mark.size());
    }
  }
  return text;
}

}  // namespace koshel::platform
