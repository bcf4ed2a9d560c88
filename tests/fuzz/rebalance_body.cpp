// POST /v1/admin/rebalance.

#include "tests/fuzz/desk.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  static fuzz::Desk desk(platform::AuthMode::None);
  const auto body = fuzz::text_of(data, size);
  const auto response = desk.ask(fuzz::post("/v1/admin/rebalance", body));
  INVARIANT(response.status != 200);
  if (!fuzz::is_sound(response)) return 0;
  const auto asked = fuzz::object_of(body);
  fuzz::check_members(asked, {"action", "users_per_second"});
  if (const auto* rate = asked.if_contains("users_per_second")) {
    INVARIANT(rate->as_int64() > 0 && asked.at("action").as_string() == "start");
  }
  return 0;
}
