#include "platform/config_ldap.hpp"

namespace koshel::platform {
namespace {

constexpr std::string_view kTlsScheme = "ldaps://";
constexpr std::string_view kPlainScheme = "ldap://";

// Of HOST, HOST:PORT or [ADDRESS]:PORT.
std::string host_of(const std::string& authority) {
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  return authority.substr(0, authority.find(':'));
}

// Empty: the URL is good.
std::string find_url_fault(const std::string& url, bool start_tls) {
  const bool has_tls = url.starts_with(kTlsScheme);
  if (!has_tls && !url.starts_with(kPlainScheme)) {
    return "'" + url + "' is not ldaps://HOST[:PORT] or ldap://HOST[:PORT]";
  }
  const auto authority = url.substr(has_tls ? kTlsScheme.size() : kPlainScheme.size());
  if (host_of(authority).empty() || authority.find_first_of("/?@, ") != std::string::npos) {
    return "'" + url + "' must be a scheme, a host and perhaps a port, and nothing else";
  }
  if (has_tls && start_tls) {
    return "start_tls is for ldap://, and " + url + " has TLS from the start: keep one of them";
  }
  if (!has_tls && !start_tls && !is_loopback(host_of(authority))) {
    return url + " would carry passwords in clear text: write ldaps:// or start_tls: true";
  }
  return {};
}

void read_groups(ConfigSection section, std::vector<LdapGroup>& groups) {
  constexpr std::string_view kRoles[] = {"teller", "auditor", "admin"};
  for (const auto& key : section.keys()) {
    LdapGroup group{key, {}};
    section.texts(key, group.roles);
    for (const auto& role : group.roles) {
      if (!std::ranges::count(kRoles, role)) section.fail(key, "may hold teller, auditor, admin");
    }
    groups.push_back(std::move(group));
  }
  section.end();
}

void demand(ConfigSection& section, const std::string& key, const std::string& value,
            const std::string& what) {
  if (value.empty()) section.fail(key, "is missing; " + what);
}

void demand_placeholder(ConfigSection& section, const std::string& key, const std::string& value,
                        bool has_dn) {
  const bool is_there = value.find("{name}") != std::string::npos ||
                        (has_dn && value.find("{dn}") != std::string::npos);
  if (!is_there) section.fail(key, has_dn ? "must hold {dn} or {name}" : "must hold {name}");
}

void demand_filter(ConfigSection& section, const std::string& key, const std::string& value) {
  if (!value.starts_with('(') || !value.ends_with(')')) {
    section.fail(key, "must be a filter in parentheses, such as (uid={name})");
  }
}

}  // namespace

void read_ldap(ConfigSection section, LdapConfig& ldap) {
  section.texts("urls", ldap.urls);
  if (ldap.urls.empty())
    section.fail("urls", "is missing; a list such as [ldaps://ldap.example.org]");
  section.flag("start_tls", ldap.start_tls);
  for (const auto& url : ldap.urls) {
    if (const auto fault = find_url_fault(url, ldap.start_tls); !fault.empty()) {
      section.fail("urls", fault);
    }
  }
  section.file("ca_file", ldap.ca_file);
  const bool has_template = section.text("user_dn_template", ldap.user_dn_template);
  section.text("bind_dn", ldap.bind_dn);
  section.file("bind_password_file", ldap.bind_password_file);
  if (ldap.bind_dn.empty() != ldap.bind_password_file.empty()) {
    section.fail("bind_password_file", "goes with bind_dn: write both, or none of them");
  }
  const bool has_base = section.text("base", ldap.base);
  const bool has_filter = section.text("filter", ldap.filter);
  if (has_template) {
    demand_placeholder(section, "user_dn_template", ldap.user_dn_template, false);
    if (has_base || has_filter) {
      section.fail("user_dn_template", "says where people are: take base and filter away, or this");
    }
  } else {
    demand(section, "base", ldap.base, "below which DN people are, or user_dn_template");
    demand(section, "bind_dn", ldap.bind_dn, "the account that searches, or user_dn_template");
    demand_filter(section, "filter", ldap.filter);
    demand_placeholder(section, "filter", ldap.filter, false);
  }
  section.text("name_attribute", ldap.name_attribute);
  demand(section, "name_attribute", ldap.name_attribute, "the attribute that holds a name");
  section.text("group_base", ldap.group_base);
  demand(section, "group_base", ldap.group_base, "below which DN the groups are");
  section.text("group_filter", ldap.group_filter);
  demand_filter(section, "group_filter", ldap.group_filter);
  demand_placeholder(section, "group_filter", ldap.group_filter, true);
  section.section("groups", [&](ConfigSection groups) { read_groups(groups, ldap.groups); });
  const auto has_admin = [](const LdapGroup& group) {
    return std::ranges::count(group.roles, "admin") > 0;
  };
  if (std::ranges::none_of(ldap.groups, has_admin)) {
    section.fail("groups", "must give role admin to a group, such as koshel-admins: [admin]");
  }
  section.time("roles_ttl_ms", ldap.roles_ttl, {1'000, kDay});
  section.time("connect_timeout_ms", ldap.connect_timeout, {10, 60'000});
  section.time("operation_timeout_ms", ldap.operation_timeout, {10, 60'000});
  section.number("connections", ldap.connections, {1, 64});
  section.number("waiting_max", ldap.waiting_max, {0, 100'000});
  section.end();
}

}  // namespace koshel::platform
