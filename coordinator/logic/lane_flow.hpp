#pragma once
// How fast a lane's orders are answered, and whether one more could still be done in time.
//
// Rounds take all that waits, so a burst alone is no overload, nor is a round that takes its time;
// and the more waits the larger they get and the quicker the lane is, so what it answers at ease says
// little of what it can do. A lane turns orders away
//   - beyond the best pace of late, while even the youngest order of a round has waited long;
//   - beyond its present pace, while too many orders reach their deadlines;
//   - while rounds take nobody: it is expected to go on so for as long as it has done so.

#include <cstddef>

#include "base/time.hpp"

namespace koshel::coordinator {

class LaneFlow {
 public:
  // A round has taken orders, the youngest of which waits since `youngest`.
  void on_taken(Instant youngest, Instant now);
  void on_answered() { ++answered_; }  // an order, by its round
  // An order has reached its deadline, after it had waited since `submitted`.
  void on_late(Instant submitted, Instant now);
  // Whether one more is likely to be answered with a quarter of its time to spare, where `ahead`
  // orders have no answer yet and the oldest that is in no round waits since `oldest`.
  bool can_serve(std::size_t ahead, Instant oldest, Instant deadline, Instant now) const;

 private:
  void end_slice(Instant now);

  Instant last_taken_{};
  bool takes_only_old_ = false;
  // Orders a second, as of the last slice of time: in it, and the best of late.
  double pace_ = 0;
  double best_pace_ = 0;
  bool comes_late_ = false;
  // The slice that is under way.
  Instant slice_since_{};
  double answered_ = 0;
  double late_ = 0;
};

}  // namespace koshel::coordinator
