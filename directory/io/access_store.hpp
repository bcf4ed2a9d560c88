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

struct ThrottleRules {
  ThrottleRule name;
  ThrottleRule address;
};

// Who tries to log in, from where.
struct LoginSource {
  std::string name;
  std::string address;
};

struct LoginAttempt {
  std::chrono::milliseconds wait{0};  // not zero: too soon after failures
  std::string password_hash;          // empty: the name has no password
};

struct NewSession {
  LoginSource source;
  std::string password_hash;  // that was found right
  std::string new_hash;       // empty: the old one is good
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
};

struct NewPassword {
  std::string name;
  std::string hash;
  std::string old_hash;              // that was found right; empty: whatever it was
  std::optional<TokenHash> session;  // that goes on; all others of the name end
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

class AccessStore {
 public:
  AccessStore(platform::PgPool& pool, ThrottleRules rules) : pool_(pool), rules_(rules) {}

  // Counts the attempt as failed before it is looked at: who tries many times at once gains
  // nothing. `end_login` and `excuse` take it back.
  boost::asio::awaitable<Result<LoginAttempt>> begin_login(LoginSource source, Instant deadline);
  // Null: the password was changed meanwhile.
  boost::asio::awaitable<Result<std::optional<Session>>> end_login(NewSession session);
  boost::asio::awaitable<Result<void>> excuse(LoginSource source);

  // Null: no such token, or it has expired.
  boost::asio::awaitable<Result<std::optional<TokenOwner>>> find_token(TokenHash token,
                                                                       Instant deadline);
  boost::asio::awaitable<Result<void>> end_session(TokenHash token);

  // False: there is no such name, or `old_hash` is no longer its password's.
  boost::asio::awaitable<Result<bool>> set_password(NewPassword password);
  boost::asio::awaitable<Result<void>> set_roles(std::string name, Roles roles);

  boost::asio::awaitable<Result<ApiToken>> add_token(NewApiToken token);
  boost::asio::awaitable<Result<std::vector<ApiToken>>> tokens_after(std::int64_t after, int limit,
                                                                     Instant deadline);
  boost::asio::awaitable<Result<bool>> remove_token(std::int64_t id);  // false: there is none

 private:
  platform::PgPool& pool_;
  ThrottleRules rules_;
};

}  // namespace koshel::directory
