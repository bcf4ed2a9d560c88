#include "coordinator/io/api/problem.hpp"

#include <algorithm>
#include <array>

#include "base/invariant.hpp"
#include "coordinator/io/api/json_text.hpp"

namespace koshel::coordinator {
namespace {

constexpr std::string_view kNot = "not_committed";
constexpr std::string_view kUnknown = "unknown";
// What a client sent comes back in sentences, but not by megabytes.
constexpr std::size_t kDetailBytesMax = 1000;

using enum ProblemCode;
constexpr auto kKinds = std::to_array<ProblemKind>({
    {MalformedRequest, 400, "MALFORMED_REQUEST", "The request is not HTTP with JSON", kNot, false},
    {ValidationError, 400, "VALIDATION_ERROR", "A field is not valid", kNot, false},
    {InvalidAmount, 400, "INVALID_AMOUNT", "An amount is not valid", kNot, false},
    {InvalidCursor, 400, "INVALID_CURSOR", "The cursor is not valid", kNot, false},
    {Unauthenticated, 401, "UNAUTHENTICATED", "It is not known who asks", kNot, false},
    {PermissionDenied, 403, "PERMISSION_DENIED", "The caller may not do this", kNot, false},
    {NotFound, 404, "NOT_FOUND", "There is nothing at this path", kNot, false},
    {UserNotFound, 404, "USER_NOT_FOUND", "There is no such user", kNot, false},
    {TransferNotFound, 404, "TRANSFER_NOT_FOUND", "There is no such transfer", kNot, false},
    {ShardNotFound, 404, "SHARD_NOT_FOUND", "There is no such shard", kNot, false},
    {MethodNotAllowed, 405, "METHOD_NOT_ALLOWED", "The method is not allowed", kNot, false},
    {RequestTimeout, 408, "REQUEST_TIMEOUT", "The request came too slowly", kNot, true},
    {UserAlreadyExists, 409, "USER_ALREADY_EXISTS", "The name is taken", kNot, false},
    {IdempotencyInProgress, 409, "IDEMPOTENCY_IN_PROGRESS", "The key is under way", kUnknown, true},
    {ShardAlreadyExists, 409, "SHARD_ALREADY_EXISTS", "The shard is in service", kNot, false},
    {ShardNotEmpty, 409, "SHARD_NOT_EMPTY", "Something is left on the shard", kNot, false},
    {RebalanceInProgress, 409, "REBALANCE_IN_PROGRESS", "A rebalance is under way", kNot, false},
    {PayloadTooLarge, 413, "PAYLOAD_TOO_LARGE", "The body is too large", kNot, false},
    {BatchTooLarge, 413, "BATCH_TOO_LARGE", "The batch is too large", kNot, false},
    {UnsupportedMediaType, 415, "UNSUPPORTED_MEDIA_TYPE", "The body must be JSON", kNot, false},
    {InsufficientFunds, 422, "INSUFFICIENT_FUNDS", "The balance would fall below its minimum", kNot,
     false},
    {BalanceLimitExceeded, 422, "BALANCE_LIMIT_EXCEEDED", "The balance would exceed its maximum",
     kNot, false},
    {SameAccount, 422, "SAME_ACCOUNT", "Payer and payee are the same", kNot, false},
    {CurrencyMismatch, 422, "CURRENCY_MISMATCH", "The currencies differ", kNot, false},
    {AccountFrozen, 422, "ACCOUNT_FROZEN", "The account is frozen", kNot, false},
    {LimitsInvalid, 422, "LIMITS_INVALID", "The limits do not fit", kNot, false},
    {IdempotencyKeyReused, 422, "IDEMPOTENCY_KEY_REUSED", "The key was used for another request",
     kNot, false},
    {RateLimited, 429, "RATE_LIMITED", "Too many attempts", kNot, true},
    {HeadersTooLarge, 431, "HEADERS_TOO_LARGE", "The headers are too large", kNot, false},
    {Internal, 500, "INTERNAL", "Something is broken on our side", kNot, false},
    {ShardUnavailable, 503, "SHARD_UNAVAILABLE", "A shard cannot be reached", kNot, true},
    {DirectoryUnavailable, 503, "DIRECTORY_UNAVAILABLE", "The directory cannot be reached", kNot,
     true},
    {Overloaded, 503, "OVERLOADED", "Too much is waiting", kNot, true},
    {Contention, 503, "CONTENTION", "The account is too busy", kNot, true},
    {OutcomeUnknown, 504, "OUTCOME_UNKNOWN", "The outcome is not known yet", kUnknown, true},
});

}  // namespace

const ProblemKind& kind_of(ProblemCode code) {
  const auto* kind = std::ranges::find(kKinds, code, &ProblemKind::code);
  INVARIANT(kind != kKinds.end());
  return *kind;
}

Problem Problem::with(std::string name, std::string_view text) const {
  auto problem = *this;
  problem.members.emplace_back(std::move(name), json_quoted(text));
  return problem;
}

std::string members_of(const Problem& problem) {
  const auto& kind = kind_of(problem.code);
  JsonMembers members;
  members.plain("code", kind.name)
      .plain("title", kind.title)
      .text("detail", shortened(problem.detail, kDetailBytesMax))
      .plain("outcome", kind.outcome)
      .raw("retryable", kind.is_retryable ? "true" : "false");
  for (const auto& [name, value] : problem.members) members.raw(name, value);
  return members.take();
}

platform::HttpResponse to_response(const Problem& problem) {
  const auto& kind = kind_of(problem.code);
  std::string type = "urn:koshel:problem:";
  for (const char c : kind.name) type += c == '_' ? '-' : static_cast<char>(c | 0x20);
  JsonMembers members;
  members.plain("type", type).raw("status", std::to_string(kind.status));
  platform::HttpResponse response{kind.status,
                                  "application/problem+json",
                                  "{" + members.take() + "," + members_of(problem) + "}",
                                  {}};
  if (kind.status == 503 || kind.status == 429) {
    response.headers.emplace_back("Retry-After", std::to_string(problem.retry_after.count()));
  }
  if (kind.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace koshel::coordinator
