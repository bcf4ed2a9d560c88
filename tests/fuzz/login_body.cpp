// POST /v1/login and PUT /v1/users/{name}/password: no password comes back in an answer.

#include "tests/fuzz/desk.hpp"

namespace {

using namespace koshel;

// What answers are made of, apart from what was asked: a secret of these alone may be a piece of one.
constexpr std::string_view kOwnText =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;'\"()[]{}/_-";

void check_secrets(const platform::HttpResponse& response, std::string_view body,
                   std::initializer_list<std::string_view> members) {
  if (!fuzz::is_sound(response)) return;
  const auto asked = fuzz::object_of(body);
  fuzz::check_members(asked, members);
  for (const auto& member : asked) {
    const std::string_view secret = member.value().as_string();
    if (secret.size() < 8 || !std::string_view(member.key()).ends_with("password")) continue;
    if (secret.find_first_not_of(kOwnText) == std::string_view::npos) continue;
    INVARIANT(response.body.find(secret) == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::Desk desk(platform::AuthMode::Password);
  const auto body = fuzz::text_of(data, size);
  const auto login = desk.login(fuzz::post("/v1/login", body));
  INVARIANT(login.status != 200);
  check_secrets(login, body, {"name", "password"});
  const auto change = desk.change_own_password(fuzz::post("/v1/users/anna/password", body), "anna");
  check_secrets(change, body, {"password", "current_password"});
  return 0;
}
