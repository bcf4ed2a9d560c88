#pragma once
// The audit trail in the directory database: rows are added and read, never changed. An entry is a
// JSON object as text, without control characters.

#include <boost/asio/awaitable.hpp>
#include <string>
#include <vector>

#include "base/ids.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "platform/postgres.hpp"

namespace koshel::directory {

struct AuditBatch {
  Incarnation writer;
  std::int64_t number = 0;  // grows; the same number again is the same batch, and adds nothing
  std::vector<std::string> entries;
};

struct AuditRow {
  std::int64_t sequence = 0;
  Timestamp at;
  std::string entry;
  std::string hash;  // hexadecimal
};

class AuditLogStore {
 public:
  explicit AuditLogStore(platform::PgPool& pool) : pool_(pool) {}

  boost::asio::awaitable<Result<void>> append(AuditBatch batch);
  // The newest rows below `before`, newest first.
  boost::asio::awaitable<Result<std::vector<AuditRow>>> rows_before(std::int64_t before, int limit,
                                                                    Instant deadline);

 private:
  platform::PgPool& pool_;
};

// Walks the chain; for an audit's snapshot. Throws what libpqxx throws.
struct AuditLogFindings {
  std::int64_t rows = 0;
  std::vector<std::string> faults;  // a sentence each, the first ones
};
AuditLogFindings check_audit_log(pqxx::connection& connection);

}  // namespace koshel::directory
