#include "base/sqlstate.hpp"

namespace koshel {

Fault fault_of_sqlstate(std::string_view sqlstate) {
  if (sqlstate.starts_with("57P") || sqlstate.starts_with("08")) return Fault::InDoubt;
  if (sqlstate == "40001" || sqlstate == "40P01" || sqlstate == "55P03" || sqlstate == "57014" ||
      sqlstate == "55000") {
    return Fault::Retryable;
  }
  if (sqlstate.starts_with("53") || sqlstate == "25006") return Fault::Unavailable;
  return Fault::Internal;
}

}  // namespace koshel
