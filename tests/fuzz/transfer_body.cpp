// POST /v1/transfers: a key in the first line (empty: none), the body behind it.

#include "tests/fuzz/desk.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  static fuzz::Desk desk(platform::AuthMode::None);
  auto body = fuzz::text_of(data, size);
  const std::string key(fuzz::take_line(body));
  auto request = fuzz::post("/v1/transfers", body);
  if (!key.empty()) request.headers.emplace_back("idempotency-key", key);
  const auto response = desk.ask(std::move(request));
  INVARIANT(response.status != 200);
  if (!fuzz::is_sound(response)) return 0;

  const auto transfer = fuzz::object_of(body);
  fuzz::check_members(transfer, {"from", "to", "amount", "metadata"});
  INVARIANT(fuzz::has_sound_numbers(transfer));
  INVARIANT(fuzz::is_party(transfer.at("from")) && fuzz::is_party(transfer.at("to")));
  INVARIANT(fuzz::is_positive_amount(transfer.at("amount")));
  INVARIANT(key.size() <= 255 && key.find_first_of(std::string_view(" \t\0", 3)) == key.npos);
  return 0;
}
