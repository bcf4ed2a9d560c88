#include "platform/http_answer.hpp"

namespace koshel::platform {

namespace http = boost::beast::http;

http::response<http::string_body> to_message(Answer answer) {
  http::response<http::string_body> message(static_cast<http::status>(answer.response.status),
                                            answer.version);
  const bool has_content = message.result() != http::status::no_content;
  if (has_content) message.set(http::field::content_type, answer.response.content_type);
  message.set("X-Request-Id", answer.request_id);
  for (const auto& [name, value] : answer.response.headers) message.insert(name, value);
  message.keep_alive(answer.keep_alive);
  message.body() = std::move(answer.response.body);
  if (has_content) message.prepare_payload();
  if (answer.is_head) message.body().clear();  // Content-Length stays that of the GET
  return message;
}

}  // namespace koshel::platform
