// Headers that the API reads: Authorization in the first line, then Content-Type, Idempotency-Key,
// Koshel-Deadline-Ms. An empty line: the header is not there.

#include <algorithm>

#include "tests/fuzz/desk.hpp"

namespace {

using namespace koshel;

constexpr std::string_view kNames[] = {"authorization", "content-type", "idempotency-key",
                                       "koshel-deadline-ms"};

bool holds_token(std::string_view authorization) {
  const auto at = authorization.find("koshel_");
  return at != authorization.npos && authorization.size() - at == 50;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static fuzz::Desk asking(platform::AuthMode::Password);
  static fuzz::Desk open(platform::AuthMode::None);
  auto text = fuzz::text_of(data, size);
  auto request = fuzz::post("/v1/transfers", R"({"from":"a","to":"b","amount":"1"})");
  request.headers.clear();
  for (const auto name : kNames) {
    std::string value(fuzz::take_line(text));
    if (!value.empty()) request.headers.emplace_back(std::string(name), std::move(value));
  }
  const auto* authorization = request.header("authorization");
  const bool may_be_known = authorization != nullptr && holds_token(*authorization);
  const auto asked = asking.ask(request);
  fuzz::is_sound(asked);
  // Nobody is let in on a guess; what is no JSON for the API is told before.
  INVARIANT(asked.status == 400 || asked.status == 401 || asked.status == 415 || may_be_known);

  const auto answered = open.ask(request);
  if (!fuzz::is_sound(answered)) return 0;
  if (const auto* deadline = request.header("koshel-deadline-ms")) {
    INVARIANT(std::ranges::all_of(*deadline, [](char c) { return c >= '0' && c <= '9'; }));
  }
  if (const auto* type = request.header("content-type")) {
    INVARIANT(type->find("json") != type->npos || type->find("JSON") != type->npos ||
              type->size() >= 16);
  }
  return 0;
}
