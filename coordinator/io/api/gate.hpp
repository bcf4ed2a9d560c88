#pragma once
// Says who calls: reads the token of a request and asks the directory whose it is, or a cache. When
// the directory cannot be asked, nobody is let in on a guess.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string_view>

#include "coordinator/io/api/problem.hpp"
#include "coordinator/io/api/session_roles.hpp"
#include "coordinator/logic/token_cache.hpp"
#include "directory/io/access_store.hpp"
#include "platform/config.hpp"

namespace koshel::coordinator {

// A new token, as it stands in the header; its hash is what is stored.
std::string make_token();
TokenHash hash_of_token(std::string_view token);

class Gate {
 public:
  // `roles`: of sessions by LDAP; null: there are none.
  Gate(boost::asio::any_io_executor loop, directory::AccessStore& store, SessionRoles* roles,
       const platform::Config& config);

  // Null: it takes `ask` to know.
  std::optional<Caller> remembered(const platform::HttpRequest& request);
  // UNAUTHENTICATED, DIRECTORY_UNAVAILABLE, OVERLOADED.
  boost::asio::awaitable<Checked<Caller>> ask(std::optional<std::string> authorization,
                                              Instant deadline);
  void forget(const TokenHash& token) { cache_.forget(token); }
  void forget_all() { cache_.forget_all(); }
  std::size_t cached() const { return cache_.size(); }

 private:
  boost::asio::awaitable<Checked<Caller>> find(TokenHash token, Instant deadline);
  boost::asio::awaitable<void> ask_again(TokenHash token);

  boost::asio::any_io_executor loop_;
  directory::AccessStore& store_;
  SessionRoles* roles_;
  const platform::Config& config_;
  TokenCache cache_;
};

}  // namespace koshel::coordinator
