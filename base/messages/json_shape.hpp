#pragma once
// The vocabulary in which json.cpp states the wire form of each struct, once for both directions. A
// shape lists a struct's members in their order on the wire; JsonWriter and JsonReader follow it.
// The names of an array's parts are never sent: they are for the errors of the reader.

#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>

namespace koshel::messages {

template <class Struct, class Member>
struct Part {
  std::string_view name;
  Member Struct::*member;
};
template <class Struct, class Member>
constexpr Part<Struct, Member> part(std::string_view name, Member Struct::*member) {
  return {name, member};
}

// The last part of an array, which is left out when it is empty.
template <class Struct>
struct LastText {
  std::string_view name;
  std::string Struct::*member;
};
template <class Struct>
constexpr LastText<Struct> last_text(std::string_view name, std::string Struct::*member) {
  return {name, member};
}
template <class Part>
inline constexpr bool kMayBeLeftOut = false;
template <class Struct>
inline constexpr bool kMayBeLeftOut<LastText<Struct>> = true;

// {"name": part, ...}: every name is there, and no other.
template <class... Parts>
struct ObjectShape {
  std::tuple<Parts...> parts;
};
template <class... Parts>
constexpr ObjectShape<Parts...> object(Parts... parts) {
  return {{parts...}};
}

// ["tag", part, ...]. Without parts it is the string "tag"; an empty tag is not sent.
template <class... Parts>
struct ArrayShape {
  std::string_view tag;
  std::tuple<Parts...> parts;
};
template <class... Parts>
constexpr ArrayShape<Parts...> array(std::string_view tag, Parts... parts) {
  return {tag, {parts...}};
}

// An enumeration: one word for each enumerator.
template <class Enum>
struct Word {
  Enum value;
  std::string_view text;
};
template <class Enum, std::size_t kCount>
struct WordsShape {
  std::array<Word<Enum>, kCount> words;
};
template <class Enum, std::size_t kCount>
constexpr WordsShape<Enum, kCount> words(const Word<Enum> (&list)[kCount]) {
  return {std::to_array(list)};
}

struct NoShape {};
// Specialised in json.cpp for every struct and enumeration that is sent.
template <class T>
inline constexpr NoShape kShape{};
template <class T>
concept HasShape = !std::same_as<decltype(kShape<T>), const NoShape>;

}  // namespace koshel::messages
