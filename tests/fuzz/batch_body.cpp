// POST /v1/transfers/batch and /v1/users/batch: every item has a result of its own, in order.

#include "tests/fuzz/desk.hpp"

namespace {

using namespace koshel;

void check_results(const platform::HttpResponse& response, std::string_view body,
                   std::string_view member) {
  if (!fuzz::is_sound(response)) return;
  INVARIANT(response.status == 200);
  const auto asked = fuzz::object_of(body);
  const auto told = fuzz::object_of(response.body);
  const auto& items = asked.at(member).as_array();
  const auto& results = told.at("results").as_array();
  INVARIANT(asked.size() == 1 && items.size() == results.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& result = results[i].as_object();
    INVARIANT(result.at("detail").as_string().size() > 10);
    if (result.at("status").as_string() != "not_committed") continue;  // not for its own sake
    const auto& item = items[i].as_object();
    INVARIANT(fuzz::has_sound_numbers(items[i]));
    if (member == "users") {
      fuzz::check_members(item, {"name", "max_balance", "min_balance", "balance", "currency"});
    } else {
      fuzz::check_members(item, {"from", "to", "amount", "metadata", "idempotency_key"});
      INVARIANT(fuzz::is_positive_amount(item.at("amount")));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::Desk desk(platform::AuthMode::None);
  const auto body = fuzz::text_of(data, size);
  check_results(desk.ask(fuzz::post("/v1/transfers/batch", body)), body, "transfers");
  check_results(desk.ask(fuzz::post("/v1/users/batch", body)), body, "users");
  return 0;
}
