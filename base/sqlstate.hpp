#pragma once
// What an SQLSTATE of PostgreSQL says about the statement that failed with it: whether anything can
// have happened, and whether another try may go better.

#include <string_view>

#include "base/result.hpp"

namespace koshel {

//   40001, 40P01, 55P03, 57014, 55000  Retryable
//   53xxx, 25006 (now a standby)       Unavailable
//   08xxx, 57Pxx (the session ended)   InDoubt: it may have been committed a moment before
//   any other                          Internal
Fault fault_of_sqlstate(std::string_view sqlstate);

}  // namespace koshel
