#pragma once
// What the audit trail is told of a call. Of most calls the request itself says enough; where it
// does not, or where only some calls of a route are worth a row, the handler notes it.

#include <cstdint>
#include <string>

namespace koshel::coordinator {

// Of a route: which of its calls leave a row. A call that is denied always does.
enum class Trail {
  None,
  IfNoted,   // the handler decides
  WithBody,  // every call that is not malformed, with its body
  NoBody,    // the same without it: it holds a secret, or thousands of items
};

struct Note {
  bool is_wanted = false;  // for Trail::IfNoted
  bool is_denied = false;  // all that is worth a row was denied, though the status is another
  std::string target;      // instead of what the path names
  std::string detail;      // a JSON object, instead of the body; or empty
  std::int64_t untold_before = 0;  // denied calls of this caller that left no row
};

}  // namespace koshel::coordinator
