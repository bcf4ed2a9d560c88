// Entries of the audit trail, in which stands what the caller has sent: one that the directory could
// not read would hold up all that follow. The target in the first line, then the body.

#include "coordinator/io/api/audit_log_api.hpp"
#include "tests/fuzz/desk.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace koshel;
  auto body = fuzz::text_of(data, size);
  const std::string target(fuzz::take_line(body));
  const coordinator::AuditedCall call{"POST /v1/users", target,           "anna",
                                      "session",        std::nullopt,     "127.0.0.1",
                                      "request-1",      std::string(body)};
  const auto denied = coordinator::to_response({coordinator::ProblemCode::PermissionDenied, "no"});
  const auto entry = fuzz::object_of(coordinator::audit_entry(call, {}, denied));
  INVARIANT(entry.at("status").as_int64() == 403);
  INVARIANT(entry.at("code").as_string() == "PERMISSION_DENIED");
  INVARIANT(entry.at("detail").is_null() || entry.at("detail").is_object());
  return 0;
}
