#include "coordinator/io/ldap/ldap_people.hpp"

#include <algorithm>
#include <boost/algorithm/string/case_conv.hpp>
#include <boost/algorithm/string/predicate.hpp>
#include <fstream>
#include <locale>

#include "platform/ldap/ldap_text.hpp"
#include "platform/log.hpp"

namespace koshel::coordinator {

using platform::LdapConfig;
using platform::LdapScope;
using platform::LdapSearch;

namespace {

constexpr int kGroupsMax = 1000;                  // of one person
constexpr auto kQuiet = std::chrono::seconds(5);  // between two lines about one server

Error unavailable(std::string what) {
  return {Fault::Unavailable, std::move(what)};
}

// A key of the config that has the shape of a DN is one.
std::string group_key(const std::string& group) {
  if (group.find('=') != std::string::npos) {
    if (auto dn = platform::normal_dn(group)) return *dn;
  }
  return boost::algorithm::to_lower_copy(group, std::locale::classic());
}

}  // namespace

std::string LdapPeople::find_fault(const LdapConfig& config) {
  if (!std::ifstream(config.ca_file)) {
    return "auth.ldap.ca_file: " + config.ca_file + " cannot be read; name a file of certificates";
  }
  if (!config.bind_dn.empty()) {
    const auto password = platform::read_bind_password(config);
    if (!password) return password.error().context;
  }
  const auto user_dn = platform::fill_in(config.user_dn_template, {{"{name}", "x"}});
  const std::pair<const char*, const std::string&> dns[] = {{"user_dn_template", user_dn},
                                                            {"bind_dn", config.bind_dn},
                                                            {"base", config.base},
                                                            {"group_base", config.group_base}};
  for (const auto& [key, dn] : dns) {
    if (!dn.empty() && !platform::normal_dn(dn)) {
      return std::string("auth.ldap.") + key + ": " + dn + " is not a DN";
    }
  }
  for (const auto& [group, roles] : config.groups) {
    if (group.find('=') != std::string::npos && !platform::normal_dn(group)) {
      return "auth.ldap.groups: " + group + " is neither a DN nor a cn";
    }
  }
  return {};
}

LdapPeople::LdapPeople(const LdapConfig& config) : config_(config) {
  for (const auto& group : config.groups) {
    for (const auto& role : group.roles) {
      roles_of_group_[group_key(group.group)].add(*directory::find_role(role));
    }
  }
  for (const auto& url : config.urls) servers_.push_back({url, {}, {}});
}

// ---- servers and connections

template <class Work>
LdapPeople::Answer LdapPeople::on_a_server(Instant deadline, Work work) {
  const auto first = [this] {
    const std::scoped_lock lock(mutex_);
    return first_;
  }();
  Answer answer = unavailable("no server was asked");
  for (std::size_t step = 0; step < servers_.size(); ++step) {
    const auto index = (first + step) % servers_.size();
    answer = work(servers_[index]);
    if (answer) {
      const std::scoped_lock lock(mutex_);
      first_ = index;
      return answer;
    }
    log_failure(servers_[index], answer.error());
    if (std::chrono::steady_clock::now() >= deadline) return answer;
  }
  return answer;
}

template <class Work>
LdapPeople::Answer LdapPeople::as_service(Server& server, Instant deadline, Work work) {
  if (auto idle = take_idle(server)) {
    idle->set_deadline(deadline);
    auto answer = work(*idle);
    if (answer) {
      keep(server, std::move(*idle));
      return answer;
    }
    // A server may close what was idle; only a new connection shows whether it is there.
  }
  KOSHEL_TRY(auto connection, Connection::open_as_service(config_, server.url, deadline));
  auto answer = work(connection);
  if (answer) keep(server, std::move(connection));
  return answer;
}

std::optional<LdapPeople::Connection> LdapPeople::take_idle(Server& server) {
  const std::scoped_lock lock(mutex_);
  if (server.idle.empty()) return std::nullopt;
  auto connection = std::move(server.idle.back());
  server.idle.pop_back();
  return connection;
}

void LdapPeople::keep(Server& server, Connection connection) {
  const std::scoped_lock lock(mutex_);
  server.idle.push_back(std::move(connection));
}

void LdapPeople::log_failure(Server& server, const Error& error) {
  const auto now = std::chrono::steady_clock::now();
  {
    const std::scoped_lock lock(mutex_);
    if (now < server.quiet_until) return;
    server.quiet_until = now + kQuiet;
  }
  spdlog::warn("LDAP: {}", error.context);
}

// ---- people

LdapPeople::Answer LdapPeople::prove(const std::string& name, const std::string& password,
                                     Instant deadline) {
  return on_a_server(deadline, [&](Server& server) -> Answer {
    if (!can_look_up()) {
      KOSHEL_TRY(auto own, Connection::open(config_, server.url, deadline));
      KOSHEL_TRY(const bool is_right, own.bind(dn_of_template(name), password));
      if (!is_right) return std::optional<Roles>();
      KOSHEL_TRY(const auto dn, find_person(own, name));
      return dn ? roles_of(own, name, *dn) : Answer(std::nullopt);
    }
    return as_service(server, deadline, [&](Connection& service) -> Answer {
      KOSHEL_TRY(const auto dn, find_person(service, name));
      if (!dn) return std::optional<Roles>();
      KOSHEL_TRY(auto own, Connection::open(config_, server.url, deadline));
      KOSHEL_TRY(const bool is_right, own.bind(*dn, password));
      return is_right ? roles_of(service, name, *dn) : Answer(std::nullopt);
    });
  });
}

LdapPeople::Answer LdapPeople::look_up(const std::string& name, Instant deadline) {
  return on_a_server(deadline, [&](Server& server) {
    return as_service(server, deadline, [&](Connection& service) -> Answer {
      KOSHEL_TRY(const auto dn, find_person(service, name));
      return dn ? roles_of(service, name, *dn) : Answer(std::nullopt);
    });
  });
}

std::string LdapPeople::dn_of_template(const std::string& name) const {
  // A name is valid UTF-8.
  return platform::fill_in(config_.user_dn_template, {{"{name}", *platform::dn_value(name)}});
}

Result<std::optional<std::string>> LdapPeople::find_person(Connection& connection,
                                                           const std::string& name) const {
  constexpr int kEnoughToBeTooMany = 2;
  LdapSearch search{config_.base, LdapScope::Subtree, "", config_.name_attribute,
                    kEnoughToBeTooMany};
  if (config_.user_dn_template.empty()) {
    search.filter = platform::fill_in(config_.filter, {{"{name}", platform::filter_value(name)}});
  } else {
    search.base = dn_of_template(name);
    search.scope = LdapScope::Entry;
    search.filter = "(objectClass=*)";
  }
  KOSHEL_TRY(const auto found, connection.search(search));
  if (found.entries.size() > 1 || found.is_cut) {
    spdlog::warn("LDAP: {} finds more than one entry: nobody is let in by that name",
                 search.filter);
    return std::optional<std::string>();
  }
  if (found.entries.empty()) return std::optional<std::string>();
  const auto& entry = found.entries.front();
  // To LDAP anna and Anna are the same; here they are two.
  if (!std::ranges::count(entry.values, name)) {
    spdlog::info("LDAP: no {} of {} is spelled as the name that was given", config_.name_attribute,
                 entry.dn);
    return std::optional<std::string>();
  }
  return std::optional(entry.dn);
}

LdapPeople::Answer LdapPeople::roles_of(Connection& connection, const std::string& name,
                                        const std::string& dn) const {
  const auto filter = platform::fill_in(
      config_.group_filter,
      {{"{name}", platform::filter_value(name)}, {"{dn}", platform::filter_value(dn)}});
  LdapSearch search{config_.group_base, LdapScope::Subtree, filter, "cn", kGroupsMax};
  KOSHEL_TRY(const auto found, connection.search(search));
  if (found.is_cut) {
    return unavailable(filter + " finds too many groups; narrow auth.ldap.group_filter");
  }
  Roles roles;
  const auto add = [&](const std::string& key) {
    const auto mapped = roles_of_group_.find(key);
    if (mapped == roles_of_group_.end()) return;
    for (const auto role : mapped->second.names()) roles.add(*directory::find_role(role));
  };
  for (const auto& group : found.entries) {
    if (const auto group_dn = platform::normal_dn(group.dn)) add(*group_dn);
    for (const auto& cn : group.values) {
      // One with a `=` could be taken for another group's DN.
      if (cn.find('=') == std::string::npos) {
        add(boost::algorithm::to_lower_copy(cn, std::locale::classic()));
      }
    }
  }
  return std::optional(roles);
}

}  // namespace koshel::coordinator
