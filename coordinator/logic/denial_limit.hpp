#pragma once
// How many denied calls of one caller leave a row in the audit trail: nobody who has a token, and
// no right to anything, can fill it. Calls beyond are counted, and told with the next row.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/time.hpp"

namespace koshel::coordinator {

class DenialLimit {
 public:
  static constexpr int kPerMinute = 60;

  struct Row {
    std::int64_t untold_before = 0;  // denied calls of this caller without a row
  };
  // Of a call that is denied now; null: it leaves no row.
  std::optional<Row> take(const std::string& caller, Instant now);

 private:
  struct Minute {
    Instant begin;
    int rows = 0;
    std::int64_t untold = 0;
  };
  void forget_old(Instant now);

  std::map<std::string, Minute> minutes_;  // of who was denied lately
};

}  // namespace koshel::coordinator
