#pragma once
// Reads one HTTP/1.1 request out of bytes as they come; no I/O. Stricter than HTTP has to be: where
// two readers could see different ends of a request, it is refused, and no field after the head
// counts. How the bytes were cut into pieces never changes what is read.

#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <string>
#include <string_view>

#include "platform/http.hpp"

namespace koshel::platform {

class RequestReader {
 public:
  explicit RequestReader(const HttpConfig& limits);

  enum class Step {
    NeedsMore,
    WantsContinue,  // once: the client waits for a word before it sends the body
    Complete,
    Refused  // for good; `fault` says why
  };
  struct Progress {
    std::size_t used = 0;  // of the bytes; the rest is to be given again, with more
    Step step = Step::NeedsMore;
  };
  // `bytes` begin where it left off. What it leaves of them is never more than header_bytes_max,
  // unless the request is complete.
  Progress take(std::string_view bytes);

  ProtocolFault fault() const { return fault_; }
  std::size_t body_bytes() const { return parser_.get().body().size(); }  // so far

  // Of a complete request.
  unsigned version() const { return parser_.get().version(); }  // 11
  bool keeps_alive() const { return keeps_alive_; }
  // Method, headers, body, and what the target says; false when the target is malformed.
  bool move_to(HttpRequest& request);

 private:
  enum class Line { Begin, Inside, AfterCr };  // where in the head the next byte stands

  bool is_sound(char byte);
  Progress take_head(std::string_view bytes);
  Progress take_body(std::string_view bytes, std::size_t used);
  bool is_framed_plainly() const;
  Progress refuse(ProtocolFault fault);

  boost::beast::http::request_parser<boost::beast::http::string_body> parser_;
  std::size_t head_bytes_max_;
  std::size_t scanned_ = 0;  // bytes of the head
  std::size_t line_bytes_ = 0;
  Line line_ = Line::Begin;
  bool is_head_read_ = false;
  bool keeps_alive_ = false;
  ProtocolFault fault_ = ProtocolFault::Malformed;
  std::vector<std::pair<std::string, std::string>> headers_;  // of the head
};

}  // namespace koshel::platform
