#pragma once
// Keeps the roles of sessions as young as `auth.ldap.roles_ttl_ms`: those of who is active are
// looked up again after half of that, beside the calls. Whoever has a role beyond their own account
// is not let in with older ones; others lose nothing when LDAP is silent.

#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>

#include "coordinator/io/api/ldap_pool.hpp"
#include "directory/io/access_store.hpp"
#include "platform/config.hpp"

namespace koshel::coordinator {

class SessionRoles {
 public:
  SessionRoles(boost::asio::any_io_executor loop, directory::AccessStore& store, LdapPool& ldap,
               const platform::Config& config)
      : loop_(std::move(loop)), store_(store), ldap_(ldap), config_(config) {}

  // The owner of a session by LDAP, with roles that may be relied on. UNAUTHENTICATED,
  // DIRECTORY_UNAVAILABLE, OVERLOADED.
  boost::asio::awaitable<Checked<directory::TokenOwner>> keep_young(directory::TokenOwner owner);

 private:
  struct LookUp {  // of one name, whoever waits for it
    boost::asio::steady_timer over;
    std::optional<Checked<Roles>> outcome;
  };

  // Null: too many are under way.
  std::shared_ptr<LookUp> begin(const std::string& name);
  boost::asio::awaitable<void> run(std::shared_ptr<LookUp> look_up, platform::WorkPool::Place place,
                                   std::string name, Instant deadline);
  boost::asio::awaitable<Checked<Roles>> ask(platform::WorkPool::Place place, std::string name,
                                             Instant deadline);

  boost::asio::any_io_executor loop_;
  directory::AccessStore& store_;
  LdapPool& ldap_;
  const platform::Config& config_;
  std::map<std::string, std::shared_ptr<LookUp>> under_way_;
};

}  // namespace koshel::coordinator
