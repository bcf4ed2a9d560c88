#include "coordinator/io/api/json_text.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cmath>

namespace koshel::coordinator {

std::string json_quoted(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    utf8proc_int32_t character = 0;
    const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &character);
    valid += size > 0 ? text.substr(0, static_cast<std::size_t>(size)) : "\uFFFD";
    text.remove_prefix(size > 0 ? static_cast<std::size_t>(size) : 1);
  }
  return boost::json::serialize(boost::json::string_view(valid));
}

std::string shortened(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return std::string(text);
  const auto is_inside = [text](std::size_t at) { return (text[at] & 0xC0) == 0x80; };
  auto size = bytes_max;
  while (size > 0 && is_inside(size)) --size;
  return std::string(text.substr(0, size)) + "...";
}

bool is_writable(const boost::json::value& value) {
  if (const auto* number = value.if_double()) return std::isfinite(*number);
  if (const auto* array = value.if_array()) return std::ranges::all_of(*array, is_writable);
  const auto* object = value.if_object();
  return object == nullptr || std::ranges::all_of(*object, [](const auto& member) {
           return is_writable(member.value());
         });
}

void JsonMembers::name(std::string_view name) {
  if (!text_.empty()) text_ += ',';
  text_ += '"';
  text_ += name;
  text_ += "\":";
}

JsonMembers& JsonMembers::raw(std::string_view name_of, std::string_view json) {
  name(name_of);
  text_ += json;
  return *this;
}

JsonMembers& JsonMembers::plain(std::string_view name_of, std::string_view value) {
  name(name_of);
  text_ += '"';
  text_ += value;
  text_ += '"';
  return *this;
}

JsonMembers& JsonMembers::text(std::string_view name_of, std::string_view value) {
  return raw(name_of, json_quoted(value));
}

JsonMembers& JsonMembers::amount(std::string_view name_of, Money money, const Currency& currency) {
  return plain(name_of, format_amount(money, currency));
}

JsonMembers& JsonMembers::number(std::string_view name_of, std::int64_t value) {
  return raw(name_of, std::to_string(value));
}

}  // namespace koshel::coordinator
