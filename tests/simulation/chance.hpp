#pragma once
// All that is random in a simulation, from one seed. The same seed draws the same numbers on every
// machine: no distribution of the standard library is used, for they differ between libraries.

#include <cstdint>
#include <vector>

#include "base/invariant.hpp"
#include "base/time.hpp"

namespace koshel::simulation {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed) {}

  // SplitMix64.
  std::uint64_t next() {
    auto z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // Evenly from `low` to `high`, both included.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    INVARIANT(low <= high);
    return low + static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(high - low + 1));
  }
  double fraction() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  bool is_hit(double probability) { return probability > 0 && fraction() < probability; }
  Duration between(Duration low, Duration high) {
    return Duration(between(low.count(), high.count()));
  }
  template <class T>
  const T& one_of(const std::vector<T>& choices) {
    return choices[static_cast<std::size_t>(
        between(0, static_cast<std::int64_t>(choices.size()) - 1))];
  }

 private:
  std::uint64_t state_;
};

}  // namespace koshel::simulation
