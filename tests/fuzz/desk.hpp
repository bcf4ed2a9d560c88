#pragma once
// The coordinator's API as it is, with a directory that answers every question at once with "not
// now". So a request goes as far as its syntax lets it: what is refused for its own sake says so,
// and what is sound ends at the directory. No thread, no socket, no waiting.

#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "coordinator/io/api/api.hpp"
#include "tests/fuzz/input.hpp"

namespace koshel::fuzz {

class Desk {
 public:
  explicit Desk(platform::AuthMode mode);

  // Any call that needs no name of its caller, or whose caller is everybody.
  platform::HttpResponse ask(platform::HttpRequest request);
  platform::HttpResponse login(platform::HttpRequest request);  // no trail is kept of it
  // Of an admin, in a cluster that asks who calls.
  platform::HttpResponse add_token(platform::HttpRequest request);
  platform::HttpResponse set_roles(platform::HttpRequest request, std::string name);
  platform::HttpResponse change_own_password(platform::HttpRequest request, std::string name);

 private:
  platform::HttpResponse finish(coordinator::Respond respond);

  platform::Config config_;
  boost::asio::io_context loop_;
  platform::PgPool directory_;
  coordinator::CoordinatorService service_;
  coordinator::Api api_;
  directory::AccessStore access_store_;
  coordinator::Gate gate_;
  coordinator::PasswordPool passwords_;
  coordinator::StaffApi staff_;
  coordinator::AccessApi access_;
};

platform::HttpRequest post(std::string path, std::string_view body);

// Checks that the answer is one that a client understands: JSON in UTF-8, and a problem has a code,
// its status and a sentence; nothing is broken on our side. Says whether what was asked is sound.
bool is_sound(const platform::HttpResponse& response);

// The body as an object that was read independently; for a sound request.
boost::json::object object_of(std::string_view body);
// Whether `value` is an amount as the contract has it, above zero.
bool is_positive_amount(const boost::json::value& value);
// Whether it holds no number that JSON has no word for.
bool has_sound_numbers(const boost::json::value& value);
bool is_party(const boost::json::value& value);  // a name or @world
void check_members(const boost::json::object& object,
                   std::initializer_list<std::string_view> allowed);

}  // namespace koshel::fuzz
