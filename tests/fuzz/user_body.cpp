// POST /v1/users, and PATCH /v1/users/{name} with new limits.

#include "tests/fuzz/desk.hpp"

namespace {

using namespace koshel;

void check_new_user(const boost::json::object& user) {
  fuzz::check_members(user, {"name", "max_balance", "min_balance", "balance", "currency"});
  const auto* currency = user.if_contains("currency");
  const auto* kind = find_currency(currency ? std::string_view(currency->as_string()) : "EUR");
  INVARIANT(kind != nullptr && user.at("name") != "@world");
  for (const auto field : {"max_balance", "min_balance", "balance"}) {
    const auto* amount = user.if_contains(field);
    INVARIANT(amount == nullptr || !parse_amount(amount->as_string(), *kind).fault);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::Desk desk(platform::AuthMode::None);
  const auto body = fuzz::text_of(data, size);
  if (fuzz::is_sound(desk.ask(fuzz::post("/v1/users", body)))) {
    check_new_user(fuzz::object_of(body));
  }
  auto patch = fuzz::post("/v1/users/anna", body);
  patch.method = "PATCH";
  if (fuzz::is_sound(desk.ask(std::move(patch)))) {
    const auto change = fuzz::object_of(body);
    INVARIANT(!change.empty());
    fuzz::check_members(change, {"min_balance", "max_balance", "status"});
  }
  return 0;
}
