#include "directory/logic/decisions.hpp"

#include <cstdlib>

namespace koshel::directory {

std::string_view to_string(Decision decision) {
  switch (decision) {
    case Decision::Commit:
      return "commit";
    case Decision::Abort:
      return "abort";
    case Decision::Fenced:
      return "fenced";
  }
  std::abort();
}

}  // namespace koshel::directory
