#include "coordinator/io/api/duplicate_keys.hpp"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <vector>

namespace koshel::coordinator {
namespace {

// A handler of Boost.JSON's event parser that remembers the keys of the objects still open.
struct KeyHandler {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using error_code = boost::json::error_code;
  using view = boost::json::string_view;

  // Keys are compared when their object ends, in order: a client chooses how many there are.
  std::vector<std::string> keys;           // of all open objects, outermost first
  std::vector<std::size_t> object_begins;  // where each open object's keys begin
  std::string partial;
  std::optional<std::string> duplicate;

  bool on_object_begin(error_code&) {
    object_begins.push_back(keys.size());
    return true;
  }
  bool on_object_end(std::size_t, error_code&) {
    const auto begin = keys.begin() + static_cast<std::ptrdiff_t>(object_begins.back());
    std::sort(begin, keys.end());
    const auto twice = std::adjacent_find(begin, keys.end());
    if (twice != keys.end()) duplicate = *twice;
    keys.erase(begin, keys.end());
    object_begins.pop_back();
    return !duplicate;
  }
  bool on_key_part(view part, std::size_t, error_code&) {
    partial.append(part.data(), part.size());
    return true;
  }
  bool on_key(view part, std::size_t, error_code&) {
    partial.append(part.data(), part.size());
    keys.push_back(std::exchange(partial, {}));
    return true;
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_string_part(view, std::size_t, error_code&) { return true; }
  bool on_string(view, std::size_t, error_code&) { return true; }
  bool on_number_part(view, error_code&) { return true; }
  bool on_int64(std::int64_t, view, error_code&) { return true; }
  bool on_uint64(std::uint64_t, view, error_code&) { return true; }
  bool on_double(double, view, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(view, error_code&) { return true; }
  bool on_comment(view, error_code&) { return true; }
};

}  // namespace

std::optional<std::string> find_duplicate_key(std::string_view text) {
  boost::json::basic_parser<KeyHandler> parser{boost::json::parse_options{}};
  boost::json::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return parser.handler().duplicate;
}

}  // namespace koshel::coordinator
