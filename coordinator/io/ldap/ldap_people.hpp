#pragma once
// What LDAP knows of people: whether a password is right, and which roles their groups give them.
// Blocking, for several threads at once. Servers are asked in the config's order, beginning with
// the one that answered last; connections of the service account are kept. Who is not found exactly
// once, under the very name that was given, is nobody.

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "directory/logic/roles.hpp"
#include "platform/ldap/ldap_connection.hpp"

namespace koshel::coordinator {

using directory::Roles;

class LdapPeople {
 public:
  // Null is what both answer with where there is nobody, or the password is wrong. Every error is
  // Unavailable, and logged.
  using Answer = Result<std::optional<Roles>>;

  explicit LdapPeople(const platform::LdapConfig& config);

  // What in the config cannot work, as a sentence that names the key; empty: nothing was found.
  static std::string find_fault(const platform::LdapConfig& config);

  // `name` is in normal form. Without a service account only who logs in can ask for their roles.
  Answer prove(const std::string& name, const std::string& password, Instant deadline);
  bool can_look_up() const { return !config_.bind_dn.empty(); }
  Answer look_up(const std::string& name, Instant deadline);

 private:
  using Connection = platform::LdapConnection;
  struct Server {
    std::string url;
    std::vector<Connection> idle;  // of the service account
    Instant quiet_until{};         // failures are not logged before
  };

  template <class Work>
  Answer on_a_server(Instant deadline, Work work);
  template <class Work>
  Answer as_service(Server& server, Instant deadline, Work work);
  std::optional<Connection> take_idle(Server& server);
  void keep(Server& server, Connection connection);
  void log_failure(Server& server, const Error& error);

  std::string dn_of_template(const std::string& name) const;
  // The DN; null: nobody.
  Result<std::optional<std::string>> find_person(Connection& connection,
                                                 const std::string& name) const;
  Answer roles_of(Connection& connection, const std::string& name, const std::string& dn) const;

  const platform::LdapConfig& config_;
  std::map<std::string, Roles> roles_of_group_;  // by normal DN, or by cn in small letters
  std::mutex mutex_;                             // of what follows
  std::vector<Server> servers_;
  std::size_t first_ = 0;  // to be asked
};

}  // namespace koshel::coordinator
