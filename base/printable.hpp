#pragma once
// Text that came from elsewhere (a client, a server, a file, a database) as a terminal may see it:
// what would move the cursor, change colours, end a line or turn the reading direction is written
// out. The spelling is JSON's, so text that was JSON stays the same JSON.

#include <string>
#include <string_view>

namespace koshel {

// Control and format characters and line separators become \u001b, or two such for a character
// beyond U+FFFF; bytes that are no UTF-8 become \ufffd. Text that is clean comes back as it was.
std::string printable(std::string_view text);
// The same for a text of several lines: its '\n' stay.
std::string printable_lines(std::string_view text);

}  // namespace koshel
