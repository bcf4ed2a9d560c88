#include "directory/io/audit_log_store.hpp"

#include "platform/pg_array.hpp"

namespace koshel::directory {

namespace asio = boost::asio;

namespace {
constexpr auto kAppend = "select append_audit($1, $2, $3::json[])";
constexpr auto kRowsBefore =
    "select sequence, (extract(epoch from at) * 1000000)::bigint, entry::text, encode(hash, 'hex') "
    "from audit_log where sequence < $1 order by sequence desc limit $2";
constexpr auto kFaults = R"(
  select sequence, before from (
    select sequence, at, entry, hash, lag(sequence, 1, 0::bigint) over chain as before,
           lag(hash, 1, ''::bytea) over chain as hash_before
      from audit_log window chain as (order by sequence)) r
   where before <> sequence - 1 or hash <> audit_hash(hash_before, sequence, at, entry)
   order by sequence limit 20)";
constexpr auto kHead =
    "select h.sequence, coalesce(l.sequence, 0), h.hash = coalesce(l.hash, ''::bytea), "
    "(select count(*) from audit_log) from audit_log_head h "
    "left join (select sequence, hash from audit_log order by sequence desc limit 1) l on true";

std::string rows_text(std::int64_t first, std::int64_t last) {
  return first == last ? "row " + std::to_string(first) + " is"
                       : "rows " + std::to_string(first) + " to " + std::to_string(last) + " are";
}

}  // namespace

asio::awaitable<Result<void>> AuditLogStore::append(AuditBatch batch) {
  auto work = [batch = std::move(batch)](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    const auto entries = platform::pg_array(
        batch.entries, [](const std::string& entry) -> std::string_view { return entry; });
    session.exec_params(kAppend, batch.writer.value(), batch.number, entries);
  };
  auto pending = pool_.run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<std::vector<AuditRow>>> AuditLogStore::rows_before(std::int64_t before,
                                                                          int limit,
                                                                          Instant deadline) {
  auto work = [before, limit](pqxx::connection& connection) {
    pqxx::nontransaction session(connection);
    std::vector<AuditRow> rows;
    for (const auto& row : session.exec_params(kRowsBefore, before, limit)) {
      rows.push_back({row[0].as<std::int64_t>(),
                      Timestamp(std::chrono::microseconds(row[1].as<std::int64_t>())),
                      row[2].as<std::string>(), row[3].as<std::string>()});
    }
    return rows;
  };
  auto pending = pool_.run(std::move(work), deadline);
  co_return co_await std::move(pending);
}

AuditLogFindings check_audit_log(pqxx::connection& connection) {
  pqxx::nontransaction session(connection);
  AuditLogFindings found;
  for (const auto& row : session.exec(kFaults)) {
    const auto sequence = row[0].as<std::int64_t>();
    const auto before = row[1].as<std::int64_t>();
    found.faults.push_back(before == sequence - 1
                               ? "row " + std::to_string(sequence) +
                                     " was changed, or does not follow the one before it"
                               : rows_text(before + 1, sequence - 1) + " missing");
  }
  const auto head = session.exec(kHead);
  if (head.empty()) {
    found.faults.emplace_back("the row that names the newest one is missing");
    return found;
  }
  const auto last = head[0][0].as<std::int64_t>();
  const auto newest = head[0][1].as<std::int64_t>();
  if (newest < last) {
    found.faults.push_back(rows_text(newest + 1, last) + " missing at the end");
  } else if (newest > last) {
    found.faults.push_back(rows_text(last + 1, newest) + " not known to the newest one's row");
  } else if (!head[0][2].as<bool>()) {
    found.faults.push_back("row " + std::to_string(last) + " is not the newest one as it was");
  }
  found.rows = head[0][3].as<std::int64_t>();
  return found;
}

}  // namespace koshel::directory
