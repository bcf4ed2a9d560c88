#pragma once
// Appends values to one string as JSON, after the shapes of json_shape.hpp. It builds no document
// in between, and what it writes is always valid JSON: bytes that are not UTF-8 become U+FFFD.

#include <utf8proc.h>

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "base/ids.hpp"
#include "base/invariant.hpp"
#include "base/messages/json_shape.hpp"
#include "base/money.hpp"
#include "base/time.hpp"
#include "base/transfer_id.hpp"

namespace koshel::messages {

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  void write(bool value) { out_ += value ? "true" : "false"; }
  template <std::signed_integral Integer>
  void write(Integer value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out_.append(digits, end);
  }
  // As a string of the fewest digits that give the same double: JSON readers round numbers.
  void write(double value) {
    INVARIANT(std::isfinite(value));
    char digits[32];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    (out_ += '"').append(digits, end) += '"';
  }
  template <class Tag, class Rep>
  void write(StrongId<Tag, Rep> id) {
    write(id.value());
  }
  void write(AccountId id) { write(id.value()); }
  void write(Money money) { write(money.minor_units()); }
  void write(Timestamp at) { write(std::int64_t{at.time_since_epoch().count()}); }
  void write(const TransferId& id) {
    out_ += '"';
    id.append_to(out_);
    out_ += '"';
  }
  void write(const std::string& text);

  template <class T>
  void write(const std::optional<T>& value) {
    value ? write(*value) : void(out_ += "null");
  }
  template <class T>
  void write(const std::vector<T>& values) {
    char separator = '[';
    for (const auto& value : values) {
      out_ += separator;
      write(value);
      separator = ',';
    }
    out_ += values.empty() ? "[]" : "]";
  }
  template <class... Alternatives>
  void write(const std::variant<Alternatives...>& value) {
    std::visit([this](const auto& alternative) { write(alternative); }, value);
  }
  template <HasShape T>
  void write(const T& value) {
    write_shape(value, kShape<T>);
  }

 private:
  template <class T, class... Parts>
  void write_shape(const T& value, const ObjectShape<Parts...>& shape) {
    char separator = '{';
    const auto write_part = [&](const auto& part) {
      ((out_ += separator) += '"').append(part.name) += "\":";
      write(value.*part.member);
      separator = ',';
    };
    std::apply([&](const auto&... parts) { (write_part(parts), ...); }, shape.parts);
    out_ += '}';
  }

  template <class T>
  void write_shape(const T&, const ArrayShape<>& shape) {
    write_word(shape.tag);
  }
  template <class T, class... Parts>
  void write_shape(const T& value, const ArrayShape<Parts...>& shape) {
    char separator = '[';
    if (!shape.tag.empty()) {
      out_ += separator;
      write_word(shape.tag);
      separator = ',';
    }
    const auto write_part = [&]<class Part>(const Part& part) {
      if constexpr (kMayBeLeftOut<Part>) {
        if ((value.*part.member).empty()) return;
      }
      out_ += separator;
      write(value.*part.member);
      separator = ',';
    };
    std::apply([&](const auto&... parts) { (write_part(parts), ...); }, shape.parts);
    out_ += ']';
  }

  template <class Enum, std::size_t kCount>
  void write_shape(Enum value, const WordsShape<Enum, kCount>& shape) {
    for (const auto& word : shape.words) {
      if (word.value == value) return write_word(word.text);
    }
    INVARIANT(!"an enumerator without a word");
  }

  void write_word(std::string_view word) { (out_ += '"').append(word) += '"'; }

  std::string& out_;
};

inline void JsonWriter::write(const std::string& text) {
  constexpr char kHex[] = "0123456789abcdef";
  out_ += '"';
  const auto* bytes = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  std::size_t plain = 0;  // from here to i nothing needs a change
  const auto replace = [&](std::size_t i, std::string_view by) {
    out_.append(text, plain, i - plain).append(by);
    plain = i + 1;
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = bytes[i];
    if (byte == '"') {
      replace(i, "\\\"");
    } else if (byte == '\\') {
      replace(i, "\\\\");
    } else if (byte < 0x20) {
      const char escape[] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 0xf]};
      replace(i, {escape, sizeof escape});
    } else if (byte >= 0x80) {
      utf8proc_int32_t character = 0;
      const auto left = static_cast<utf8proc_ssize_t>(text.size() - i);
      const auto used = utf8proc_iterate(bytes + i, left, &character);
      if (used > 0) {
        i += static_cast<std::size_t>(used) - 1;
      } else {
        replace(i, "\xef\xbf\xbd");
      }
    }
  }
  out_.append(text, plain) += '"';
}

}  // namespace koshel::messages
