#include "platform/request_reader.hpp"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <cctype>

#include "platform/http_target_text.hpp"

namespace koshel::platform {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using beast::error_code;

namespace {

// Beast's parser must not see fewer bytes of the last chunk than the shortest has, after it has seen
// its first line: a Debug build would abort. No chunk is the last bytes of a request but that one.
constexpr std::size_t kLastChunkBytes = std::string_view("0\r\n\r\n").size();

ProtocolFault fault_of(const error_code& error) {
  if (error == http::error::header_limit) return ProtocolFault::HeadersTooLarge;
  if (error == http::error::body_limit) return ProtocolFault::PayloadTooLarge;
  return ProtocolFault::Malformed;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (auto& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  return lower;
}

// Whether the first line of a chunk that is not the last one is there to its end. Where Beast wants
// more even so, an extension's quotes are open: it would go on reading beyond the line, and count
// the chunk's bytes once more each time.
bool has_line_of_chunk(std::string_view rest) {
  if (rest.starts_with("\r\n")) rest.remove_prefix(2);  // of the chunk before
  const auto size = rest.substr(std::min(rest.find_first_not_of('0'), rest.size()));
  return !size.empty() && std::isxdigit(static_cast<unsigned char>(size.front())) != 0 &&
         size.find("\r\n") != std::string_view::npos;
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

RequestReader::RequestReader(const HttpConfig& limits) : head_bytes_max_(limits.header_bytes_max) {
  // The head is only given to the parser when it is whole and within its bound.
  parser_.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max));
  parser_.body_limit(limits.body_bytes_max);
}

RequestReader::Progress RequestReader::take(std::string_view bytes) {
  return is_head_read_ ? take_body(bytes, 0) : take_head(bytes);
}

// Lines end in CR LF, hold no other control character than a tab, and none goes on in the next. The
// empty line ends the head.
bool RequestReader::is_sound(char byte) {
  if (line_ == Line::AfterCr) {
    line_ = Line::Begin;
    return byte == '\n';
  }
  const bool is_control = (byte >= '\0' && byte < ' ') || byte == '\x7f';
  if (line_ == Line::Begin) {
    line_bytes_ = 0;
    if (byte == ' ' || byte == '\t') return false;
  }
  if (byte == '\r') {
    line_ = Line::AfterCr;
    return true;
  }
  ++line_bytes_;
  line_ = Line::Inside;
  return !is_control || byte == '\t';
}

RequestReader::Progress RequestReader::take_head(std::string_view bytes) {
  bool is_whole = false;
  while (scanned_ < bytes.size() && !is_whole) {
    if (scanned_ == head_bytes_max_) return refuse(ProtocolFault::HeadersTooLarge);
    if (!is_sound(bytes[scanned_++])) return refuse(ProtocolFault::Malformed);
    is_whole = line_ == Line::Begin && line_bytes_ == 0;
  }
  if (!is_whole) return {};
  error_code error;
  const auto used = parser_.put(boost::asio::buffer(bytes.data(), scanned_), error);
  if (error && error != http::error::need_more) return refuse(fault_of(error));
  if (!parser_.is_header_done() || used != scanned_ || !is_framed_plainly()) {
    return refuse(ProtocolFault::Malformed);
  }
  is_head_read_ = true;
  keeps_alive_ = parser_.get().keep_alive();
  for (const auto& field : parser_.get()) {
    headers_.emplace_back(lower_case(field.name_string()), std::string(field.value()));
  }
  const bool waits = parser_.get().version() == 11 && !parser_.is_done() &&
                     beast::iequals(parser_.get()[http::field::expect], "100-continue");
  if (waits && used == bytes.size()) return {used, Step::WantsContinue};
  return take_body(bytes, used);
}

// Whether everybody who reads the head finds the same end of the request, and one host.
bool RequestReader::is_framed_plainly() const {
  const auto& head = parser_.get();
  const bool is_newest = head.version() == 11;
  const auto lengths = head.count(http::field::content_length);
  const auto encodings = head.count(http::field::transfer_encoding);
  const auto hosts = head.count(http::field::host);
  if (lengths > 1 || encodings > 1 || lengths + encodings > 1) return false;
  if (lengths == 1 && !is_digits(head[http::field::content_length])) return false;
  if (encodings == 1 &&
      !(is_newest && beast::iequals(head[http::field::transfer_encoding], "chunked"))) {
    return false;
  }
  return hosts == 1 || (hosts == 0 && !is_newest);
}

// The parser sees no more than head_bytes_max_ at a time: where that does not take it further, the
// head of a chunk is too long, or what follows the last chunk.
RequestReader::Progress RequestReader::take_body(std::string_view bytes, std::size_t used) {
  const std::size_t least = parser_.chunked() ? kLastChunkBytes : 1;
  while (!parser_.is_done() && bytes.size() - used >= least) {
    const auto window = bytes.substr(used, head_bytes_max_);
    error_code error;
    const auto taken = parser_.put(boost::asio::buffer(window.data(), window.size()), error);
    if (error && error != http::error::need_more) return refuse(fault_of(error));
    if (error && parser_.chunked() && has_line_of_chunk(window.substr(taken))) {
      return refuse(ProtocolFault::Malformed);
    }
    if (taken == 0 && window.size() == head_bytes_max_) {
      return refuse(ProtocolFault::HeadersTooLarge);
    }
    if (taken == 0) break;
    used += taken;
  }
  return {used, parser_.is_done() ? Step::Complete : Step::NeedsMore};
}

RequestReader::Progress RequestReader::refuse(ProtocolFault fault) {
  fault_ = fault;
  return {0, Step::Refused};
}

bool RequestReader::move_to(HttpRequest& request) {
  auto message = parser_.release();
  request.method = std::string(message.method_string());
  request.headers = std::move(headers_);
  request.body = std::move(message.body());
  return read_target(message.target(), request);
}

}  // namespace koshel::platform
