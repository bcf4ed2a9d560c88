#include "base/name.hpp"

#include <gtest/gtest.h>

#include <string>

namespace koshel {
namespace {

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

std::string fault_of(std::string_view text) {
  return check_name(text).fault;
}

TEST(Name, MayBeOfAnyScript) {
  for (const auto* name :
       {"alice", "Bob.Smith", "a_b-c.9", "вася-пупкин", "Ёлка", "张伟", "王小明", "أحمد", "משה",
        "さくら", "ソフィア", "김민준", "Γιώργος", "ไอริณ", "Նարեկ", "٣٤"}) {
    const auto check = check_name(name);
    EXPECT_EQ(check.fault, "") << name;
    EXPECT_EQ(check.name, name);
  }
}

TEST(Name, MayHaveMarksAsHindiDoes) {
  for (const auto* name : {"हिन्दी", "प्रिया", "श्रीकृष्ण", "தமிழ்"}) {
    EXPECT_EQ(check_name(name).fault, "") << name;
  }
}

TEST(Name, TypedInTwoWaysIsOneName) {
  const std::string composed = "\xd0\xb9";            // U+0439
  const std::string decomposed = "\xd0\xb8\xcc\x86";  // U+0438 U+0306
  EXPECT_EQ(check_name(composed).name, composed);
  EXPECT_EQ(check_name(decomposed).name, composed);
  EXPECT_EQ(check_name("Zoe\xcc\x88").name, check_name("Zoë").name);
}

TEST(Name, KeepsItsCase) {
  EXPECT_NE(check_name("Alice").name, check_name("alice").name);
}

TEST(Name, IsNotEmpty) {
  EXPECT_EQ(fault_of(""), "is empty");
}

TEST(Name, HasNoEmojiSpacesOrSymbols) {
  for (const auto* name :
       {"😀", "bob😀", "a b", " a", "a\n", "a/b", "a@b", "a:b", "a+b", "€", "½", "a\u200d",
        "\u202e"
        "a",
        "a\u00a0b", "“a”", "①"}) {
    EXPECT_EQ(fault_of(name), "has a character that is not a letter, a digit or one of . _ -")
        << name;
  }
  EXPECT_NE(fault_of(std::string_view("a\0b", 3)), "");
}

TEST(Name, DoesNotBeginWithAMark) {
  EXPECT_NE(fault_of("\xcc\x81"
                     "a"),
            "");
}

TEST(Name, BeginningWithAnAtSignIsReserved) {
  EXPECT_EQ(fault_of(kWorldName), "starts with @, which is reserved");
  EXPECT_EQ(fault_of("@"), "starts with @, which is reserved");
}

TEST(Name, HasAtMost64CharactersHoweverManyBytes) {
  for (const auto* letter : {"a", "я", "张", "𠀀"}) {
    EXPECT_EQ(fault_of(repeated(letter, 64)), "") << letter;
    EXPECT_EQ(fault_of(repeated(letter, 65)), "is longer than 64 characters") << letter;
  }
  EXPECT_EQ(fault_of(std::string(1 << 20, 'a')), "is longer than 64 characters");
}

TEST(Name, IsCountedInItsNormalForm) {
  EXPECT_EQ(fault_of(repeated("\xd0\xb8\xcc\x86", 64)), "");
  EXPECT_EQ(fault_of(repeated("\xd0\xb8\xcc\x86", 65)), "is longer than 64 characters");
}

TEST(Name, IsValidUtf8) {
  for (const auto* name : {"\xff", "a\x80", "\xc3", "a\xe5\xbc", "\xc0\xaf", "\xed\xa0\x80",
                           "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"}) {
    EXPECT_EQ(fault_of(name), "is not valid UTF-8");
  }
}

TEST(ShardName, IsFitForUrlsAndMetrics) {
  EXPECT_TRUE(is_valid_shard_name("shard-1"));
  EXPECT_FALSE(is_valid_shard_name("Shard"));
  EXPECT_FALSE(is_valid_shard_name("a/b"));
  EXPECT_FALSE(is_valid_shard_name(""));
}

TEST(Name, HasNoCharacterThatLeavesNoTrace) {
  for (const auto* name :
       {"shop\u034f", "shop\ufe0f", "shop\U000e0100", "\u3164shop", "sh\uffa0op", "\u115fshop"}) {
    EXPECT_EQ(fault_of(name), "has a character that is not a letter, a digit or one of . _ -")
        << name;
  }
}

TEST(Label, MayBeWhatCanBeSeen) {
  for (const auto* label : {"shop", "ci bot", "payroll/2026 (März)", "@world", "😀"}) {
    EXPECT_EQ(find_label_fault(label), "") << label;
  }
  EXPECT_EQ(find_label_fault(repeated("й", 64)), "");
  EXPECT_EQ(find_label_fault(repeated("й", 65)), "is longer than 64 characters");
  EXPECT_EQ(find_label_fault(""), "is empty");
  EXPECT_EQ(find_label_fault(" a"), "begins or ends with a space");
  for (const auto* label : {"a\nb", "a\u202eb", "\x1b[2J", "a\xff"}) {
    EXPECT_EQ(find_label_fault(label), "has a character that cannot be seen") << label;
  }
}

}  // namespace
}  // namespace koshel
