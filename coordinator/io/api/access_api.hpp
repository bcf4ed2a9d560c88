#pragma once
// /v1/login, /v1/logout, /v1/whoami and passwords. A password of the directory's own is found right
// or wrong in `prove`, one of LDAP's in `open_by_ldap`.

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/gate.hpp"
#include "coordinator/io/api/ldap_pool.hpp"
#include "coordinator/io/api/note.hpp"
#include "coordinator/io/api/password_pool.hpp"

namespace koshel::coordinator {

struct AccessContext {
  ApiContext api;
  directory::AccessStore& store;
  Gate& gate;
  PasswordPool& passwords;
  LdapPool* ldap;  // knows passwords and roles; null: the directory does
};

// Of mode `none`, where nobody has a name.
std::optional<Problem> check_names_are_asked(const AccessContext& context);
// The same of mode `ldap`; `what` is kept there, and how it is changed.
std::optional<Problem> check_kept_here(const AccessContext& context, std::string_view what);
std::string roles_json(Roles roles);

class AccessApi {
 public:
  explicit AccessApi(AccessContext context) : context_(context) {}

  Respond login(platform::HttpRequest request, Note* note);  // null: no trail is kept
  Respond logout(platform::HttpRequest request, Caller caller);
  Respond whoami(Caller caller);
  Respond set_password(platform::HttpRequest request, Caller caller, std::string name);

 private:
  // Null: the password is wrong, or the name has none: nobody can tell which. RATE_LIMITED.
  template <class T>
  using Proven = boost::asio::awaitable<Checked<std::optional<T>>>;

  // The attempt is counted and may be looked at. RATE_LIMITED.
  boost::asio::awaitable<Checked<directory::LoginAttempt>> begin(directory::LoginSource source,
                                                                 bool has_place, Instant deadline);
  Proven<directory::PasswordProof> prove(platform::WorkPool::Place place,
                                         directory::LoginSource source, std::string password,
                                         Instant deadline);
  Proven<directory::Session> open_by_password(directory::NewSession session, std::string password,
                                              Instant deadline);
  Proven<directory::Session> open_by_ldap(directory::NewSession session, std::string password,
                                          Instant deadline);
  Respond change_own(directory::LoginSource source, Caller caller, std::string current,
                     std::string password, Instant deadline);
  Respond store_password(directory::NewPassword password, std::string text, Instant deadline);

  AccessContext context_;
};

}  // namespace koshel::coordinator
