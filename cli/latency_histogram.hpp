#pragma once
// Latencies in buckets of at most 1.6 % width, from 1 microsecond to hours: adding one costs a few
// instructions, and percentiles come out as the upper end of their bucket.

#include <array>
#include <bit>
#include <chrono>
#include <cstdint>

namespace koshel::cli {

class LatencyHistogram {
 public:
  void add(std::chrono::nanoseconds latency, std::uint64_t times) {
    const auto us = static_cast<std::uint64_t>(latency.count() < 0 ? 0 : latency.count()) / 1'000;
    counts_[bucket_of(us)] += times;
    total_ += times;
  }

  // `share` between 0 and 1: the latency that this share of all did not exceed; 0 when nothing was
  // added.
  std::chrono::microseconds percentile(double share) const {
    auto left = static_cast<std::uint64_t>(share * static_cast<double>(total_) + 0.5);
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] >= left && counts_[i] > 0) return upper_end_of(i);
      left -= counts_[i] < left ? counts_[i] : left;
    }
    return std::chrono::microseconds(0);
  }

  std::uint64_t total() const { return total_; }

 private:
  static constexpr int kBits = 6;
  static constexpr std::size_t kPerOctave = std::size_t{1} << kBits;

  static std::size_t bucket_of(std::uint64_t us) {
    if (us < kPerOctave) return us;
    const int shift = static_cast<int>(std::bit_width(us)) - 1 - kBits;
    const std::size_t bucket = kPerOctave * static_cast<std::size_t>(shift) + (us >> shift);
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static std::chrono::microseconds upper_end_of(std::size_t bucket) {
    if (bucket < kPerOctave) return std::chrono::microseconds(bucket);
    const auto shift = bucket / kPerOctave - 1;
    const auto mantissa = kPerOctave + bucket % kPerOctave;
    return std::chrono::microseconds(((mantissa + 1) << shift) - 1);
  }

  static constexpr std::size_t kBuckets = kPerOctave * 30;
  std::array<std::uint64_t, kBuckets> counts_{};
  std::uint64_t total_ = 0;
};

}  // namespace koshel::cli
