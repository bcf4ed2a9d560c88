#pragma once
// Passwords, tokens and failed logins in the directory database. It stores hashes and hands them
// out; whether a password is right is found elsewhere. All times are the directory's clock, so that
// coordinators agree.

#include <array>
#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "directory/logic/login_throttle.hpp"
#include "directory/logic/roles.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {

using TokenHash = std::array<unsigned char, 32>;

// Who tries to log in, from where.
struct LoginSource {
  std::string name;
  std::string address;
};

struct LoginAttempt {
  std::chrono::milliseconds wait{0};  // not zero: too soon after failures
  bool has_password = false;
  std::string password_hash;  // without a password another name's, which takes the same time
  std::int64_t password_version = 0;  // another one when the password is changed
};

// A password of the directory's own.
struct PasswordProof {
  std::int64_t version = 0;
  std::string hash;      // as stored
  std::string new_hash;  // of the same password, to be stored instead, or empty
};

// Where passwords are found right, and roles come from.
enum class ProvenBy { Password, Ldap };

struct LdapRoles {
  Roles roles;
  std::chrono::milliseconds age{0};  // since LDAP was asked
};

struct NewSession {
  LoginSource source;
  TokenHash token{};
  std::chrono::milliseconds lasts{0};
  int sessions_max = 0;
};

struct Session {
  Roles roles;
  Timestamp expires_at;
};

struct TokenOwner {
  std::int64_t token = 0;  // its number, never used twice
  bool is_session = false;
  std::string name;  // of an API token its label
  Roles roles;
  std::optional<Timestamp> expires_at;
  std::optional<std::chrono::milliseconds> roles_age;  // of a session by LDAP
};

struct NewPassword {
  std::string name;
  std::string hash;
  std::optional<std::int64_t> old_version;  // that was found right; none: whatever it was
  std::optional<TokenHash> session;         // that goes on; all others of the name end
};

struct NewApiToken {
  std::string label;
  Roles roles;
  TokenHash token{};
  std::string created_by;
  std::optional<Timestamp> expires_at;
};

struct ApiToken {
  std::int64_t id = 0;
  std::string label;
  Roles roles;
  std::string created_by;
  Timestamp created_at;
  std::optional<Timestamp> expires_at;
};

// A change that has no answer by its deadline is Unavailable, and may be made or not.
class AccessStore {
 public:
  // Sessions that were opened another way than `proven_by` are none here.
  AccessStore(platform::PgPool& pool, ThrottleRules rules, ProvenBy proven_by)
      : pool_(pool), rules_(rules), proven_by_(proven_by) {}

  // Counts the attempt as failed before it is looked at: who tries many times at once gains
  // nothing. `end_login` and `excuse` take it back.
  boost::asio::awaitable<Result<LoginAttempt>> begin_login(LoginSource source, Instant deadline);
  // Null: the password was changed meanwhile.
  boost::asio::awaitable<Result<std::optional<Session>>> end_login(NewSession session,
                                                                   PasswordProof proof,
                                                                   Instant deadline);
  boost::asio::awaitable<Result<Session>> end_ldap_login(NewSession session, LdapRoles roles,
                                                         Instant deadline);
  boost::asio::awaitable<Result<void>> excuse(LoginSource source);

  // Null: no such token, or it has expired.
  boost::asio::awaitable<Result<std::optional<TokenOwner>>> find_token(TokenHash token,
                                                                       Instant deadline);
  boost::asio::awaitable<Result<void>> end_session(TokenHash token, Instant deadline);
  // All of a name. False: nobody of that name may log in.
  boost::asio::awaitable<Result<bool>> end_sessions(std::string name, Instant deadline);

  // Of a name that has logged in by LDAP. What was asked later is kept.
  boost::asio::awaitable<Result<void>> set_ldap_roles(std::string name, LdapRoles roles);
  boost::asio::awaitable<Result<void>> end_ldap_sessions(std::string name);

  // False: there is no such name, or its password is no longer `old_version`.
  boost::asio::awaitable<Result<bool>> set_password(NewPassword password, Instant deadline);
  boost::asio::awaitable<Result<void>> set_roles(std::string name, Roles roles, Instant deadline);

  boost::asio::awaitable<Result<ApiToken>> add_token(NewApiToken token, Instant deadline);
  boost::asio::awaitable<Result<std::vector<ApiToken>>> tokens_after(std::int64_t after, int limit,
                                                                     Instant deadline);
  // False: there is none.
  boost::asio::awaitable<Result<bool>> remove_token(std::int64_t id, Instant deadline);

 private:
  platform::PgPool& pool_;
  ThrottleRules rules_;
  ProvenBy proven_by_;
};

}  // namespace koshel::directory
