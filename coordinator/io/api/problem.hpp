#pragma once
// What goes wrong, as clients see it: RFC 9457 problem details with a stable code. One code has one
// status, one default outcome and one answer to "does it help to try again".

#include <boost/outcome/result.hpp>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/http.hpp"

namespace koshel::coordinator {

enum class ProblemCode {
  MalformedRequest,
  ValidationError,
  InvalidAmount,
  InvalidCursor,
  Unauthenticated,
  PermissionDenied,
  NotFound,
  UserNotFound,
  TransferNotFound,
  ShardNotFound,
  MethodNotAllowed,
  RequestTimeout,
  UserAlreadyExists,
  IdempotencyInProgress,
  ShardAlreadyExists,
  ShardNotEmpty,
  RebalanceInProgress,
  PayloadTooLarge,
  BatchTooLarge,
  UnsupportedMediaType,
  InsufficientFunds,
  BalanceLimitExceeded,
  SameAccount,
  CurrencyMismatch,
  AccountFrozen,
  LimitsInvalid,
  IdempotencyKeyReused,
  RateLimited,
  HeadersTooLarge,
  Internal,
  ShardUnavailable,
  DirectoryUnavailable,
  Overloaded,
  Contention,
  OutcomeUnknown,
};

struct ProblemKind {
  ProblemCode code;
  int status;
  std::string_view name;  // "USER_NOT_FOUND"
  std::string_view title;
  std::string_view outcome;  // not_committed | unknown
  bool is_retryable;
};
const ProblemKind& kind_of(ProblemCode code);

struct Problem {
  ProblemCode code = ProblemCode::Internal;
  std::string detail;
  std::vector<std::pair<std::string, std::string>> members = {};  // more members, values as JSON
  std::chrono::seconds retry_after{1};                            // where that is told

  Problem with(std::string name, std::string_view text) const;  // one more member, a string
};

// The members of a problem without braces: for a response of its own or inside a batch's result.
std::string members_of(const Problem& problem);
platform::HttpResponse to_response(const Problem& problem);

// A value, or the problem to answer with.
template <class T>
using Checked = boost::outcome_v2::basic_result<T, Problem, boost::outcome_v2::policy::terminate>;

}  // namespace koshel::coordinator
