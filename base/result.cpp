#include "base/result.hpp"

#include <cstdlib>

namespace koshel {

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::Retryable:
      return "retryable";
    case Fault::Unavailable:
      return "unavailable";
    case Fault::InDoubt:
      return "in doubt";
    case Fault::Overloaded:
      return "overloaded";
    case Fault::Internal:
      return "internal";
  }
  std::abort();
}

}  // namespace koshel
