#include "base/messages/json_reader.hpp"

namespace koshel::messages {

std::string JsonPlace::to_string() const {
  if (!parent) return std::string(name);
  auto text = parent->to_string();
  if (name.empty()) return text + '[' + std::to_string(index) + ']';
  return text.empty() ? std::string(name) : text + '.' + std::string(name);
}

bool JsonReader::read(const Value& value, const Place& place, double& out) {
  const auto* text = value.if_string();
  if (!text) return fail(place, "expected a number in quotes");
  const auto* end = text->data() + text->size();
  const auto [last, error] = std::from_chars(text->data(), end, out);
  if (error == std::errc() && last == end && std::isfinite(out)) return true;
  return fail(place, "expected a number in quotes");
}

bool JsonReader::read(const Value& value, const Place& place, TransferId& out) {
  const auto* text = value.if_string();
  const auto id = text ? TransferId::parse({text->data(), text->size()}) : std::nullopt;
  if (!id) return fail(place, "expected a transfer id");
  out = *id;
  return true;
}

bool JsonReader::read(const Value& value, const Place& place, std::string& out) {
  const auto* text = value.if_string();
  if (!text) return fail(place, "expected a string");
  out.assign(text->data(), text->size());
  return true;
}

const JsonReader::Value* JsonReader::only_field(const Value& object, const Place& place) {
  const auto* fields = object.if_object();
  const auto* found = fields && fields->size() == 1
                          ? fields->if_contains({place.name.data(), place.name.size()})
                          : nullptr;
  if (!found) fail(place, "expected this field and no other");
  return found;
}

bool JsonReader::fail(const Place& place, std::string_view reason) {
  const auto where = place.to_string();
  failure_ = where.empty() ? "message: " : "message field '" + where + "': ";
  failure_ += reason;
  return false;
}

}  // namespace koshel::messages
