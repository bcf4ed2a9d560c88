// URLs of agents and servers: nothing in them can become a line of a request of ours.

#include "platform/http.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  const std::string text(fuzz::text_of(data, size));
  const auto parsed = platform::parse_url(text);
  if (!parsed) {
    INVARIANT(!parsed.error().context.empty());
    return 0;
  }
  const auto& [is_tls, host, port, prefix] = parsed.value();
  INVARIANT(is_tls == text.starts_with("https://"));
  INVARIANT(!host.empty());
  const int number = std::stoi(port);
  INVARIANT(number >= 1 && number <= 65535);
  INVARIANT(prefix.empty() || (prefix.starts_with('/') && !prefix.ends_with('/')));
  for (const char c : host + prefix) INVARIANT(c > ' ' && c < '\x7f');
  return 0;
}
