#pragma once
// One connection to one LDAP server, by OpenLDAP's client library. Blocking, for one thread at a
// time; no call lasts longer than its time-out, looking up the host's name aside. TLS always checks
// the certificate and the host's name; referrals are not followed; no file and no variable of the
// environment changes any of it.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "platform/config.hpp"

struct ldap;

namespace koshel::platform {

// Once, before any thread is started.
void init_ldap();

struct LdapEntry {
  std::string dn;
  std::vector<std::string> values;  // of the attribute that was asked for
};

struct LdapFound {
  std::vector<LdapEntry> entries;
  bool is_cut = false;  // there are more
};

enum class LdapScope { Entry, Subtree };

struct LdapSearch {
  std::string base;
  LdapScope scope = LdapScope::Subtree;
  std::string filter;
  std::string attribute;
  int entries_max = 1;
};

// Of the service account. Read each time: a password that was changed needs no restart.
Result<std::string> read_bind_password(const LdapConfig& config);

// Every error is Unavailable: the server did not answer, or not what was asked. The connection is
// of no use then.
class LdapConnection {
 public:
  // Connects, TLS included.
  static Result<LdapConnection> open(const LdapConfig& config, const std::string& url,
                                     Instant deadline);
  // The same, bound as the service account, which there is.
  static Result<LdapConnection> open_as_service(const LdapConfig& config, const std::string& url,
                                                Instant deadline);

  ~LdapConnection();
  LdapConnection(LdapConnection&&) noexcept;
  LdapConnection& operator=(LdapConnection&&) = delete;

  void set_deadline(Instant deadline) { deadline_ = deadline; }  // of what is called next
  // False: the server refuses them. An empty password is refused here: a server would take the call
  // for an anonymous one and say yes.
  Result<bool> bind(const std::string& dn, std::string_view password);
  // A base that does not exist has no entry with scope Entry, and is an error otherwise.
  Result<LdapFound> search(const LdapSearch& search);

 private:
  struct Close {
    void operator()(ldap* handle) const;
  };
  struct SocketWatch;  // what bounds reads and writes

  LdapConnection(const LdapConfig& config, std::string url, Instant deadline);
  Result<void> create();
  Result<void> limit_time(milliseconds most);
  Error error(const std::string& what, int code) const;

  const LdapConfig* config_;
  std::string url_;
  Instant deadline_;
  std::unique_ptr<SocketWatch> watch_;  // outlives the handle, which knows its address
  std::unique_ptr<ldap, Close> handle_;
};

}  // namespace koshel::platform
