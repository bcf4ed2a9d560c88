// Cursors: only what this service has written is read again.

#include <array>

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/transfer_ids.hpp"
#include "tests/fuzz/input.hpp"

namespace {

using namespace koshel;
using namespace koshel::coordinator;

struct Kind {
  std::string_view name;
  std::size_t numbers;
};
constexpr std::array kKinds = {Kind{"users", 1}, Kind{"tokens", 1}, Kind{"audit-log", 1},
                               Kind{"entries", 3}};

// The query parameter of a page that goes on at `content`.
std::string parameter_of(const std::string& content) {
  const auto body = page_response("", content).body;
  constexpr std::string_view kBefore = R"({"items":[],"next_cursor":")";
  INVARIANT(body.starts_with(kBefore) && body.ends_with("\"}"));
  return body.substr(kBefore.size(), body.size() - kBefore.size() - 2);
}

Checked<PageRequest> page_with(std::string name, std::string value) {
  platform::HttpRequest request;
  request.query.emplace_back(std::move(name), std::move(value));
  return page_of(request, {});
}

void check_content(const std::string& content) {
  int readers = 0;
  for (const auto& [name, numbers] : kKinds) {
    const auto read = read_cursor(content, name, numbers);
    if (!read) {
      INVARIANT(read.error().code == ProblemCode::InvalidCursor && !read.error().detail.empty());
      continue;
    }
    ++readers;
    INVARIANT(write_cursor(name, read.value()) == content);
    for (const auto number : read.value()) INVARIANT(number >= 0);
  }
  INVARIANT(readers <= 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  check_content(text);
  const auto written = page_with("cursor", parameter_of(text));
  INVARIANT(written && written.value().cursor == text);

  const auto page = page_with("cursor", text);
  if (page) {
    INVARIANT(parameter_of(*page.value().cursor) == text);
    check_content(*page.value().cursor);
  } else {
    INVARIANT(page.error().code == ProblemCode::InvalidCursor && !page.error().detail.empty());
  }
  if (const auto limited = page_with("limit", text)) {
    INVARIANT(limited.value().limit >= 1 && limited.value().limit <= 1000);
  }
  return 0;
}
