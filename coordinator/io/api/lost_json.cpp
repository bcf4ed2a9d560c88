#include "coordinator/io/api/lost_json.hpp"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <cmath>
#include <vector>

namespace koshel::coordinator {
namespace {

constexpr std::string_view kMetadata = "metadata";
// So many digits of any number are still there when a double has been read from it and written.
constexpr std::size_t kDigitsKept = 17;
constexpr std::size_t kDigitsTold = 40;

// Of a number as JSON writes it, without zeros before and behind.
std::size_t significant_digits(std::string_view number) {
  std::string digits;
  for (const char c : number.substr(0, number.find_first_of("eE"))) {
    if (c >= '0' && c <= '9' && !(digits.empty() && c == '0')) digits += c;
  }
  return digits.find_last_not_of('0') + 1;
}

// A handler of Boost.JSON's event parser that remembers the keys of the objects still open.
struct LossHandler {
  static constexpr std::size_t max_object_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_array_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_key_size = static_cast<std::size_t>(-1);
  static constexpr std::size_t max_string_size = static_cast<std::size_t>(-1);
  using error_code = boost::json::error_code;
  using view = boost::json::string_view;

  // Keys are compared when their object ends, in order: a client chooses how many there are.
  std::vector<std::string> keys;           // of all open objects, outermost first
  std::vector<std::size_t> object_begins;  // where each open object's keys begin
  std::size_t metadata_depth = 0;          // how many objects are open with it; 0: outside of any
  std::string partial;                     // of a key or a number
  std::optional<LostJson> lost;

  bool on_object_begin(error_code&) {
    object_begins.push_back(keys.size());
    if (metadata_depth == 0 && !keys.empty() && keys.back() == kMetadata) {
      metadata_depth = object_begins.size();
    }
    return true;
  }
  bool on_object_end(std::size_t, error_code&) {
    const auto begin = keys.begin() + static_cast<std::ptrdiff_t>(object_begins.back());
    std::sort(begin, keys.end());
    const auto twice = std::adjacent_find(begin, keys.end());
    if (twice != keys.end()) lost = {"field '" + *twice + "'", "stands twice in the same object"};
    keys.erase(begin, keys.end());
    if (metadata_depth == object_begins.size()) metadata_depth = 0;
    object_begins.pop_back();
    return !lost;
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
  bool on_number_part(view part, error_code&) {
    partial.append(part.data(), part.size());
    return true;
  }
  bool on_double(double value, view part, error_code&) {
    partial.append(part.data(), part.size());
    const auto number = std::exchange(partial, {});
    if (metadata_depth == 0) return true;
    const bool is_integer = number.find_first_of(".eE") == number.npos;  // one beyond 64 bits
    if (!is_integer && std::isfinite(value) && significant_digits(number) <= kDigitsKept)
      return true;
    lost = {"metadata's number " + number.substr(0, kDigitsTold),
            "would not be kept as it is: send it as a string"};
    return false;
  }
  bool on_int64(std::int64_t, view, error_code&) { return end_integer(); }
  bool on_uint64(std::uint64_t, view, error_code&) { return end_integer(); }
  bool end_integer() {
    partial.clear();
    return true;
  }

  bool on_document_begin(error_code&) { return true; }
  bool on_document_end(error_code&) { return true; }
  bool on_array_begin(error_code&) { return true; }
  bool on_array_end(std::size_t, error_code&) { return true; }
  bool on_string_part(view, std::size_t, error_code&) { return true; }
  bool on_string(view, std::size_t, error_code&) { return true; }
  bool on_bool(bool, error_code&) { return true; }
  bool on_null(error_code&) { return true; }
  bool on_comment_part(view, error_code&) { return true; }
  bool on_comment(view, error_code&) { return true; }
};

}  // namespace

std::optional<LostJson> find_lost(std::string_view text) {
  boost::json::basic_parser<LossHandler> parser{boost::json::parse_options{}};
  boost::json::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return parser.handler().lost;
}

}  // namespace koshel::coordinator
