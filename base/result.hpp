#pragma once
// Operational errors are values: Result<T> holds a T or an Error. The Fault says what the caller
// can do about it; the context is for people and logs, never for decisions and never for clients.

#include <boost/outcome/result.hpp>
#include <boost/outcome/try.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace koshel {

enum class Fault {
  Retryable,    // nothing happened; the same call may go through at once
  Unavailable,  // nothing happened; the other side cannot be reached
  InDoubt,      // the call was sent and its answer lost: it happened or it did not
  Overloaded,   // nothing happened; a bound of ours was reached
  Internal,     // a defect or a broken environment: nobody can do better than report it
};

struct Error {
  Fault fault = Fault::Internal;
  std::string context;
  std::string sqlstate{};  // when PostgreSQL said it, else empty
};

template <class T>
using Result = boost::outcome_v2::basic_result<T, Error, boost::outcome_v2::policy::terminate>;

inline auto success() {
  return boost::outcome_v2::success();
}

#define KOSHEL_TRY(...) BOOST_OUTCOME_TRY(__VA_ARGS__)

}  // namespace koshel
