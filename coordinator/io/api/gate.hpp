#pragma once
// Says who calls: reads the token of a request, asks the directory whose it is, and remembers that
// for a moment. A token that is in use is asked for again before that moment is over, so that calls
// do not wait for it. When the directory cannot be asked, nobody is let in on a guess.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <cstring>
#include <optional>
#include <string_view>

#include "coordinator/io/api/problem.hpp"
#include "coordinator/io/api/session_roles.hpp"
#include "coordinator/logic/access.hpp"
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
  void forget(const TokenHash& token) { known_.erase(token); }
  std::size_t cached() const { return known_.size(); }

 private:
  struct Known {
    Caller caller;
    Instant asked;  // when the directory was
    bool is_asking = false;
  };
  struct FirstBytes {  // of a hash: as good as any other
    std::size_t operator()(const TokenHash& token) const {
      std::size_t value = 0;
      std::memcpy(&value, token.data(), sizeof value);
      return value;
    }
  };

  boost::asio::awaitable<Checked<Caller>> find(TokenHash token, Instant deadline);
  boost::asio::awaitable<void> ask_again(TokenHash token);
  void make_room();

  boost::asio::any_io_executor loop_;
  directory::AccessStore& store_;
  SessionRoles* roles_;
  const platform::Config& config_;
  boost::unordered_flat_map<TokenHash, Known, FirstBytes> known_;
};

}  // namespace koshel::coordinator
