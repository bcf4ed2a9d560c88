#pragma once
// /v1/admin/audit-log: the audit trail, newest first; and how a call becomes an entry of it.

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/api/note.hpp"
#include "directory/io/audit_log_store.hpp"

namespace koshel::coordinator {

class AuditLogApi {
 public:
  AuditLogApi(ApiContext context, directory::AuditLogStore& store)
      : context_(context), store_(store) {}

  Respond list(platform::HttpRequest request);

 private:
  ApiContext context_;
  directory::AuditLogStore& store_;
};

// What is kept of a call while its handler has it.
struct AuditedCall {
  std::string what;  // "PATCH /v1/users/{}"
  std::string target;
  std::optional<std::string> who;
  std::string how;
  std::optional<std::int64_t> token;  // of an API token its number: labels may be alike
  std::string peer;
  std::string request_id;
  std::string body;  // empty: not to be kept
};
// One line of JSON, whatever the call holds.
std::string audit_entry(const AuditedCall& call, const Note& note,
                        const platform::HttpResponse& response);

}  // namespace koshel::coordinator
