#include "directory/logic/rebalance.hpp"

#include <cstdlib>

namespace koshel::directory {

std::string_view to_string(RebalanceState state) {
  switch (state) {
    case RebalanceState::Idle:
      return "idle";
    case RebalanceState::Running:
      return "running";
    case RebalanceState::Paused:
      return "paused";
    case RebalanceState::Cancelling:
      return "cancelling";
    case RebalanceState::Failed:
      return "failed";
  }
  std::abort();
}

}  // namespace koshel::directory
