#include "base/messages/rounds.hpp"

#include <cstdlib>

namespace koshel::messages {

std::string_view to_string(RoundFault fault) {
  switch (fault) {
    case RoundFault::Stale:
      return "stale";
    case RoundFault::Rejected:
      return "rejected";
    case RoundFault::Voided:
      return "voided";
    case RoundFault::Expired:
      return "expired";
    case RoundFault::OldEpoch:
      return "old epoch";
    case RoundFault::Overloaded:
      return "overloaded";
    case RoundFault::Starting:
      return "starting";
    case RoundFault::Unavailable:
      return "unavailable";
  }
  std::abort();
}

}  // namespace koshel::messages
