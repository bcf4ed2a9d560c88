#pragma once
// /v1/admin/audit: runs an audit and says what it found. It takes as long as it takes, and has no
// deadline.

#include "coordinator/io/api/context.hpp"
#include "coordinator/io/audit.hpp"

namespace koshel::coordinator {

class AuditApi {
 public:
  explicit AuditApi(ApiContext context) : context_(context) {}

  Respond run(platform::HttpRequest request);

 private:
  boost::asio::awaitable<CutResult<std::vector<AuditCheck>>> audit();

  ApiContext context_;
  std::unique_ptr<AuditCut> cut_;  // of the audit under way; here, so that it ends before the loop
};

}  // namespace koshel::coordinator
