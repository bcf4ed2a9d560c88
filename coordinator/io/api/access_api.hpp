#pragma once
// /v1/login, /v1/logout, /v1/whoami and passwords. A password is found right or wrong in one place,
// `prove`; another source of passwords takes its place there.

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/gate.hpp"
#include "coordinator/io/api/note.hpp"
#include "coordinator/io/api/password_pool.hpp"

namespace koshel::coordinator {

struct AccessContext {
  ApiContext api;
  directory::AccessStore& store;
  Gate& gate;
  PasswordPool& passwords;
};

// Of mode `none`, where nobody has a name.
std::optional<Problem> check_names_are_asked(const AccessContext& context);
std::string roles_json(Roles roles);

class AccessApi {
 public:
  explicit AccessApi(AccessContext context) : context_(context) {}

  Respond login(platform::HttpRequest request, Note* note);  // null: no trail is kept
  Respond logout(Caller caller);
  Respond whoami(Caller caller);
  Respond set_password(platform::HttpRequest request, Caller caller, std::string name);

 private:
  struct Proof {
    std::string hash;      // as stored
    std::string new_hash;  // to be stored instead, or empty
  };
  // Null: the password is wrong, or the name has none: nobody can tell which. RATE_LIMITED.
  boost::asio::awaitable<Checked<std::optional<Proof>>> prove(directory::LoginSource source,
                                                              std::string password,
                                                              Instant deadline);
  Respond change_own(directory::LoginSource source, Caller caller, std::string current,
                     std::string password, Instant deadline);
  Respond store_password(directory::NewPassword password, std::string text);

  AccessContext context_;
};

}  // namespace koshel::coordinator
