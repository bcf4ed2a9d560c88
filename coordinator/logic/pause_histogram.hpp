#pragma once
// How long accounts could not be used while they were cut over to another shard, in Prometheus'
// way: each bucket counts what was not longer than its bound. Monotonic.

#include <array>
#include <cstdint>

#include "base/time.hpp"

namespace koshel::coordinator {

struct PauseHistogram {
  static constexpr std::array kBounds{1,   2,   5,   10,    20,    50,
                                      100, 200, 500, 1'000, 2'000, 5'000};  // ms

  void add(Duration pause, std::int64_t accounts) {
    for (std::size_t i = 0; i < kBounds.size(); ++i) {
      if (pause <= std::chrono::milliseconds(kBounds[i])) counts[i] += accounts;
    }
    count += accounts;
    seconds += std::chrono::duration<double>(pause).count() * static_cast<double>(accounts);
    if (pause > longest) longest = pause;
  }

  std::array<std::int64_t, kBounds.size()> counts{};
  std::int64_t count = 0;  // of all
  double seconds = 0;      // in all
  Duration longest{};
};

}  // namespace koshel::coordinator
