// Where nothing is found lost, every key survives the reading, and every number of metadata.

#include <boost/json.hpp>

#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/lost_json.hpp"
#include "tests/fuzz/input.hpp"

namespace {

namespace json = boost::json;

// Members of all objects.
std::size_t count_members(const json::value& value) {
  std::size_t count = 0;
  if (value.is_array()) {
    for (const auto& item : value.get_array()) count += count_members(item);
  } else if (value.is_object()) {
    for (const auto& member : value.get_object()) count += 1 + count_members(member.value());
  }
  return count;
}

// Colons outside of strings: one for each member as it was written.
std::size_t count_colons(std::string_view text) {
  std::size_t count = 0;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      is_in_string = !is_in_string;
    else if (text[i] == ':' && !is_in_string)
      ++count;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  const auto text = fuzz::text_of(data, size);
  json::error_code error;
  const auto value = json::parse(text, error);
  const auto lost = coordinator::find_lost(text);
  if (error) return 0;
  const bool loses_keys = count_members(value) != count_colons(text);
  if (loses_keys) INVARIANT(lost);
  if (lost && !loses_keys) INVARIANT(lost->what.starts_with("metadata's number "));
  const auto* object = value.if_object();
  const auto* metadata = object != nullptr ? object->if_contains("metadata") : nullptr;
  if (metadata != nullptr && metadata->is_object() && !lost) {
    INVARIANT(coordinator::is_writable(*metadata));
  }
  return 0;
}
