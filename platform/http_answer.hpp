#pragma once
// What a server sends, with what it knows of the request beside the handler's response.

#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <string>

#include "platform/http.hpp"

namespace koshel::platform {

struct Answer {
  HttpResponse response;
  std::string request_id;
  unsigned version = 11;
  bool keep_alive = true;
  bool is_head = false;
};

boost::beast::http::response<boost::beast::http::string_body> to_message(Answer answer);

}  // namespace koshel::platform
