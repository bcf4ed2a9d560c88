#pragma once
// /v1/users: create (one or many), show, list, change limits and status, history.

#include <boost/json.hpp>

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/note.hpp"

namespace koshel::coordinator {

class UsersApi {
 public:
  explicit UsersApi(ApiContext context) : context_(context) {}

  Respond create(platform::HttpRequest request, Caller caller);
  Respond create_batch(platform::HttpRequest request, Caller caller,
                       Note* note);  // `note` may be null
  Respond show(platform::HttpRequest request, Caller caller, std::string name);
  Respond list(platform::HttpRequest request);
  Respond change(platform::HttpRequest request, Caller caller, std::string name);
  Respond entries(platform::HttpRequest request, Caller caller, std::string name);

 private:
  struct NewUser {
    std::string name;
    const Currency* currency = nullptr;
    Money min_balance;
    Money max_balance;
    Money balance;
  };
  using Created = std::vector<Checked<FoundUser>>;

  Checked<NewUser> read_user(const boost::json::value& value) const;
  boost::asio::awaitable<Created> create_users(std::vector<Checked<NewUser>> users,
                                               std::string asked_by, Instant deadline);
  boost::asio::awaitable<void> place_users(const std::vector<Checked<NewUser>>& users,
                                           std::vector<std::optional<Problem>>& problems,
                                           std::vector<OpenOrder>& orders,
                                           std::vector<std::size_t>& places, Instant deadline);
  boost::asio::awaitable<Checked<std::vector<FoundUser>>> read_heads(
      std::vector<directory::NamedRoute> routes, Instant deadline);

  ApiContext context_;
};

}  // namespace koshel::coordinator
