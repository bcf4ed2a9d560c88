#include "coordinator/logic/lane_flow.hpp"

#include <algorithm>
#include <cmath>

namespace koshel::coordinator {

namespace {

using std::chrono::milliseconds;

// An order that waits so long makes its lane suspect, if it is the youngest of a round or has
// reached its deadline; rounds take less where nothing is wrong.
constexpr Duration kLong = milliseconds(500);
// The youngest of a round has waited less: whatever had been in the way has gone.
constexpr Duration kShort = milliseconds(200);
constexpr Duration kSlice = milliseconds(1'000);
// Of what it was a second ago, the best pace is remembered as so much.
constexpr double kRemembered = 0.9;
// Of a hundred orders so many may be late.
constexpr double kLatePercentMax = 2;
// So few are no backlog, however slow they are.
constexpr std::size_t kFew = 100;

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

void LaneFlow::on_taken(Instant youngest, Instant now) {
  last_taken_ = now;
  if (now - youngest >= kLong) takes_only_old_ = true;
  if (now - youngest < kShort) takes_only_old_ = false;
  if (now - slice_since_ >= kSlice) end_slice(now);
}

void LaneFlow::on_late(Instant submitted, Instant now) {
  if (now - submitted >= kLong) ++late_;
}

void LaneFlow::end_slice(Instant now) {
  const auto length = seconds(now - slice_since_);
  pace_ = answered_ / length;
  best_pace_ = std::max(pace_, best_pace_ * std::pow(kRemembered, length));
  comes_late_ = late_ * 100 > (answered_ + late_) * kLatePercentMax;
  slice_since_ = now;
  answered_ = late_ = 0;
}

bool LaneFlow::can_serve(std::size_t ahead, Instant oldest, Instant deadline, Instant now) const {
  if (ahead < kFew) return true;
  const auto budget = (deadline - now) * 3 / 4;
  const bool stands_still = now - oldest >= budget && now - last_taken_ >= budget;
  if (stands_still) return false;
  if (!takes_only_old_ && !comes_late_) return true;
  const auto present = answered_ / seconds(std::max(now - slice_since_, kSlice / 2));
  const auto pace = comes_late_ ? pace_ : std::max(best_pace_, present);
  return static_cast<double>(ahead) <= pace * seconds(budget);
}

}  // namespace koshel::coordinator
