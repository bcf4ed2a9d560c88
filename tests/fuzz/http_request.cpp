// Requests out of bytes: how the bytes arrive changes nothing, and no two readers can disagree about
// where a request ends.

#include <algorithm>
#include <vector>

#include "platform/request_reader.hpp"
#include "tests/fuzz/input.hpp"

namespace koshel::fuzz {
namespace {

using platform::HttpRequest;
using platform::ProtocolFault;
using platform::RequestReader;

constexpr std::size_t kHeadMax = 512;
constexpr std::size_t kBodyMax = 1024;

struct Read {  // of one connection
  std::vector<HttpRequest> requests;
  std::vector<bool> is_kept;
  std::optional<ProtocolFault> fault;
  std::size_t continues = 0;
};

bool is_same(const HttpRequest& one, const HttpRequest& other) {
  return one.method == other.method && one.path == other.path && one.segments == other.segments &&
         one.query == other.query && one.headers == other.headers && one.body == other.body;
}

void check_request(const HttpRequest& request) {
  INVARIANT(!request.method.empty());
  INVARIANT(request.body.size() <= kBodyMax);
  const auto count = [&](std::string_view name) {
    return std::ranges::count(request.headers, name, &std::pair<std::string, std::string>::first);
  };
  INVARIANT(count("content-length") + count("transfer-encoding") <= 1);
  INVARIANT(count("host") <= 1);
  if (const auto* length = request.header("content-length")) {
    INVARIANT(std::stoull(*length) == request.body.size());
  } else if (count("transfer-encoding") == 0) {
    INVARIANT(request.body.empty());
  }
  for (const auto& [name, value] : request.headers) {
    INVARIANT(!name.empty() && name.find_first_of(" \t\r\n:") == std::string::npos);
    INVARIANT(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
}

// As the server reads: what was not used is given again, with more.
Read read_in_pieces(std::string_view bytes, std::size_t piece) {
  platform::HttpConfig limits;
  limits.header_bytes_max = kHeadMax;
  limits.body_bytes_max = kBodyMax;
  Read read;
  std::size_t begin = 0;
  std::size_t end = 0;
  std::optional<RequestReader> reader(limits);
  while (end < bytes.size() || begin < end) {
    const bool has_more = end < bytes.size();
    if (begin == end || has_more) end = std::min(bytes.size(), end + piece);
    const auto [used, step] = reader->take(bytes.substr(begin, end - begin));
    INVARIANT(used <= end - begin);
    begin += used;
    if (step == RequestReader::Step::Refused) {
      read.fault = reader->fault();
      return read;
    }
    if (step == RequestReader::Step::WantsContinue) ++read.continues;
    if (step == RequestReader::Step::Complete) {
      HttpRequest request;
      read.is_kept.push_back(reader->keeps_alive());
      if (reader->move_to(request)) check_request(request);
      read.requests.push_back(std::move(request));
      if (!read.is_kept.back()) return read;
      reader.emplace(limits);
      continue;
    }
    INVARIANT(end - begin <= kHeadMax);
    if (step == RequestReader::Step::NeedsMore && !has_more) return read;
  }
  return read;
}

}  // namespace
}  // namespace koshel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel::fuzz;
  const auto bytes = text_of(data, size);
  const auto whole = read_in_pieces(bytes, bytes.size() + 1);
  for (const std::size_t piece : {1, 3, 17}) {
    const auto again = read_in_pieces(bytes, piece);
    INVARIANT(whole.fault == again.fault);
    INVARIANT(whole.is_kept == again.is_kept);
    INVARIANT(std::ranges::equal(whole.requests, again.requests, is_same));
  }
  return 0;
}
