#include "base/printable.hpp"

#include <gtest/gtest.h>

namespace koshel {
namespace {

TEST(Printable, LeavesCleanTextOfAnyScriptAlone) {
  for (const std::string text : {"", "anna", "Анна", "日本", "a\\u001b", "e\u0301", "\U0001F600"}) {
    EXPECT_EQ(printable(text), text);
  }
}

TEST(Printable, SpellsWhatATerminalObeys) {
  EXPECT_EQ(printable("\x1b[2J"), "\\u001b[2J");
  EXPECT_EQ(printable("a\r\n\tb\x7f"), "a\\u000d\\u000a\\u0009b\\u007f");
  EXPECT_EQ(printable(std::string_view("\0", 1)), "\\u0000");
  EXPECT_EQ(printable("\u009b31m"), "\\u009b31m");  // CSI as one character of the C1 set
}

TEST(Printable, SpellsWhatHidesOrTurnsText) {
  EXPECT_EQ(printable("\u202Eanna"), "\\u202eanna");
  EXPECT_EQ(printable("a\u200Bb\u2028c"), "a\\u200bb\\u2028c");
  EXPECT_EQ(printable("\U000E0041"), "\\udb40\\udc41");
}

TEST(Printable, ReplacesBytesThatAreNoText) {
  EXPECT_EQ(printable("a\x9b"
                      "b"),
            "a\\ufffdb");
  EXPECT_EQ(printable("\xc3"), "\\ufffd");
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd");  // a lone surrogate
}

TEST(Printable, ChangesNothingTheSecondTime) {
  const auto once = printable("\x1b]0;title\x07\xff\u202E");
  EXPECT_EQ(printable(once), once);
}

TEST(Printable, KeepsLinesWhereTheyAreMeant) {
  EXPECT_EQ(printable_lines("one\ntwo\x1b\n"), "one\ntwo\\u001b\n");
}

}  // namespace
}  // namespace koshel
