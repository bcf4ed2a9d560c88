// Targets of requests: what is read can be written again and says the same.

#include "platform/http_target_text.hpp"
#include "tests/fuzz/input.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  const auto text = fuzz::text_of(data, size);
  INVARIANT(platform::percent_decode(platform::percent_encode(text)) == text);

  platform::HttpRequest request;
  if (!platform::read_target(text, request)) return 0;
  INVARIANT(text.starts_with('/'));
  INVARIANT(request.path.find('?') == std::string::npos);
  std::string again;
  for (const auto& segment : request.segments) again += "/" + platform::percent_encode(segment);
  char separator = '?';
  for (const auto& [name, value] : request.query) {
    again += separator + platform::percent_encode(name) + "=" + platform::percent_encode(value);
    separator = '&';
  }
  platform::HttpRequest reread;
  INVARIANT(platform::read_target(again, reread));
  INVARIANT(reread.segments == request.segments);
  INVARIANT(reread.query == request.query);
  return 0;
}
