#pragma once
// Reads parsed JSON into structs, after the shapes of json_shape.hpp. Every read() says false at
// the first value that is not what the shape asks for and leaves in failure() its place and the
// reason; the struct is then half-read and must be thrown away.

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/ids.hpp"
#include "base/messages/json_shape.hpp"
#include "base/money.hpp"
#include "base/time.hpp"
#include "base/transfer_id.hpp"

namespace koshel::messages {

// Where a value stands in the message; spelled out only when there is something wrong with it.
struct JsonPlace {
  const JsonPlace* parent = nullptr;
  std::string_view name{};
  std::size_t index = 0;  // where the name is empty

  std::string to_string() const;
};

class JsonReader {
 public:
  using Value = boost::json::value;
  using Place = JsonPlace;

  const std::string& failure() const { return failure_; }

  bool read(const Value& value, const Place& place, bool& out) {
    const auto* found = value.if_bool();
    if (!found) return fail(place, "expected true or false");
    out = *found;
    return true;
  }
  // Every plain integer of a message is a count: it is not negative.
  bool read(const Value& value, const Place& place, std::int32_t& out) {
    return read_integer(value, place, 0, std::numeric_limits<std::int32_t>::max(), out);
  }
  bool read(const Value& value, const Place& place, std::int64_t& out) {
    return read_integer(value, place, 0, std::numeric_limits<std::int64_t>::max(), out);
  }
  bool read(const Value& value, const Place& place, double& out);
  template <class Tag, class Rep>
  bool read(const Value& value, const Place& place, StrongId<Tag, Rep>& out) {
    Rep id = 0;
    if (!read_integer(value, place, 0, std::numeric_limits<Rep>::max(), id)) return false;
    out = StrongId<Tag, Rep>(id);
    return true;
  }
  bool read(const Value& value, const Place& place, AccountId& out) {
    std::int64_t id = 0;
    if (!read_integer(value, place, 0, AccountId::kMax, id)) return false;
    out = AccountId(id);
    return true;
  }
  bool read(const Value& value, const Place& place, Money& out) {
    std::int64_t minor_units = 0;
    if (!read_any_integer(value, place, minor_units)) return false;
    out = Money(minor_units);
    return true;
  }
  bool read(const Value& value, const Place& place, Timestamp& out) {
    std::int64_t since_epoch = 0;
    if (!read_any_integer(value, place, since_epoch)) return false;
    out = Timestamp(std::chrono::microseconds(since_epoch));
    return true;
  }
  bool read(const Value& value, const Place& place, TransferId& out);
  bool read(const Value& value, const Place& place, std::string& out);

  template <class T>
  bool read(const Value& value, const Place& place, std::optional<T>& out) {
    if (value.is_null()) {
      out.reset();
      return true;
    }
    return read(value, place, out.emplace());
  }
  template <class T>
  bool read(const Value& value, const Place& place, std::vector<T>& out) {
    const auto* array = value.if_array();
    if (!array) return fail(place, "expected an array");
    out.resize(array->size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!read((*array)[i], {&place, {}, i}, out[i])) return false;
    }
    return true;
  }
  template <class... Alternatives>
  bool read(const Value& value, const Place& place, std::variant<Alternatives...>& out) {
    const auto tag = tag_of(value);
    bool is_read = false;
    const auto is_chosen = [&]<class T>(std::in_place_type_t<T>) {
      if (tag != kShape<T>.tag) return false;
      is_read = read(value, place, out.template emplace<T>());
      return true;
    };
    if ((is_chosen(std::in_place_type<Alternatives>) || ...)) return is_read;
    return fail(place, "expected a known kind");
  }
  template <HasShape T>
  bool read(const Value& value, const Place& place, T& out) {
    return read_shape(value, place, out, kShape<T>);
  }

  // The value that `object` holds under its only name.
  const Value* only_field(const Value& object, const Place& place);

 private:
  bool read_any_integer(const Value& value, const Place& place, std::int64_t& out) {
    const auto* found = value.if_int64();
    if (!found) return fail(place, "expected an integer");
    out = *found;
    return true;
  }
  template <class Integer>
  bool read_integer(const Value& value, const Place& place, std::int64_t min, std::int64_t max,
                    Integer& out) {
    std::int64_t integer = 0;
    if (!read_any_integer(value, place, integer)) return false;
    if (integer < min || integer > max) return fail(place, "integer out of range");
    out = static_cast<Integer>(integer);
    return true;
  }

  template <class T, class... Parts>
  bool read_shape(const Value& value, const Place& place, T& out,
                  const ObjectShape<Parts...>& shape) {
    const auto* object = value.if_object();
    if (!object) return fail(place, "expected an object");
    const auto read_part = [&](const auto& part) {
      const auto* found = object->if_contains({part.name.data(), part.name.size()});
      const Place part_place{&place, part.name};
      return found ? read(*found, part_place, out.*part.member) : fail(part_place, "is missing");
    };
    if (!std::apply([&](const auto&... parts) { return (read_part(parts) && ...); }, shape.parts)) {
      return false;
    }
    return object->size() == sizeof...(Parts) || fail(place, "has a field that is not known");
  }

  template <class T>
  bool read_shape(const Value& value, const Place& place, T&, const ArrayShape<>& shape) {
    return (value.is_string() && tag_of(value) == shape.tag) ||
           fail(place, "expected the bare tag");
  }
  template <class T, class... Parts>
  bool read_shape(const Value& value, const Place& place, T& out,
                  const ArrayShape<Parts...>& shape) {
    constexpr std::size_t kMost = sizeof...(Parts);
    constexpr std::size_t kLeast = kMost - (kMayBeLeftOut<Parts> + ...);
    const auto* array = value.if_array();
    std::size_t next = shape.tag.empty() ? 0 : 1;
    if (!array || array->size() < next + kLeast || array->size() > next + kMost) {
      const auto count =
          (kLeast < kMost ? std::to_string(kLeast) + " or " : "") + std::to_string(kMost);
      return fail(place, next == 0 ? "expected an array of " + count + " parts"
                                   : "expected " + count + " parts after its tag");
    }
    if (next == 1 && tag_of(value) != shape.tag) return fail(place, "expected another tag");
    const auto read_part = [&](const auto& part) {
      if (next == array->size()) return true;  // a text that was left out
      return read((*array)[next++], {&place, part.name}, out.*part.member);
    };
    return std::apply([&](const auto&... parts) { return (read_part(parts) && ...); }, shape.parts);
  }

  template <class Enum, std::size_t kCount>
  bool read_shape(const Value& value, const Place& place, Enum& out,
                  const WordsShape<Enum, kCount>& shape) {
    const auto* text = value.if_string();
    if (!text) return fail(place, "expected a word");
    for (const auto& word : shape.words) {
      if (word.text != std::string_view(text->data(), text->size())) continue;
      out = word.value;
      return true;
    }
    return fail(place, "expected a known word");
  }

  // The leading word of an array, or a string itself; empty if there is none.
  static std::string_view tag_of(const Value& value) {
    const auto* array = value.if_array();
    if (array && array->empty()) return {};
    const auto* tag = (array ? array->front() : value).if_string();
    return tag ? std::string_view(tag->data(), tag->size()) : std::string_view();
  }

  bool fail(const Place& place, std::string_view reason);

  std::string failure_;
};

}  // namespace koshel::messages
