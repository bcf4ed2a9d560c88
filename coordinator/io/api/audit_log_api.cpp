#include "coordinator/io/api/audit_log_api.hpp"

#include <boost/json.hpp>

#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"

namespace koshel::coordinator {

namespace json = boost::json;

namespace {

constexpr std::size_t kDetailBytesMax = 4096;

std::optional<json::object> object_in(const std::string& text) {
  if (text.empty() || text.size() > kDetailBytesMax) return std::nullopt;
  json::error_code error;
  auto value = json::parse(text, error);
  if (error || !value.is_object() || !is_writable(value)) return std::nullopt;
  return std::move(value.get_object());
}

std::string row_json(const directory::AuditRow& row) {
  JsonMembers members;
  members.number("sequence", row.sequence).plain("at", format_rfc3339(row.at));
  // The entry is an object of ours: its members follow.
  return "{" + members.take() + "," + row.entry.substr(1, row.entry.size() - 2) + ",\"hash\":\"" +
         row.hash + "\"}";
}

}  // namespace

std::string audit_entry(const AuditedCall& call, const Note& note,
                        const platform::HttpResponse& response) {
  JsonMembers members;
  members.raw("who", call.who ? json_quoted(*call.who) : "null")
      .raw("how", call.how.empty() ? "null" : json_quoted(call.how))
      .text("what", call.what)
      .text("target", note.target.empty() ? call.target : note.target)
      .text("from", call.peer)
      .number("status", response.status);
  const auto told = object_in(response.body);
  const auto* code = told ? told->if_contains("code") : nullptr;
  const auto* id = told ? told->if_contains("id") : nullptr;
  members.raw("code", code != nullptr ? json::serialize(*code) : "null");
  members.raw("id", id != nullptr ? json::serialize(*id) : "null");
  members.text("request_id", call.request_id);
  const auto detail = object_in(note.detail.empty() ? call.body : note.detail);
  members.raw("detail", detail ? json::serialize(*detail) : "null");
  return members.object();
}

Respond AuditLogApi::list(platform::HttpRequest request) {
  const auto page = page_of(request, {});
  if (!page) co_return to_response(page.error());
  const auto deadline = deadline_of(context_, request);
  if (!deadline) co_return to_response(deadline.error());
  std::int64_t before = INT64_MAX;
  if (page.value().cursor) {
    const auto sequence = read_cursor(*page.value().cursor, "audit-log");
    if (!sequence) co_return to_response(sequence.error());
    before = sequence.value().front();
  }
  const int limit = page.value().limit;
  auto pending = store_.rows_before(before, limit + 1, deadline.value());
  auto rows = co_await std::move(pending);
  if (!rows) co_return to_response(directory_problem(rows.error()));
  const bool has_more = static_cast<int>(rows.value().size()) > limit;
  if (has_more) rows.value().pop_back();
  std::string items;
  for (const auto& row : rows.value()) items += (items.empty() ? "" : ",") + row_json(row);
  std::optional<std::string> next;
  if (has_more) next = write_cursor("audit-log", {rows.value().back().sequence});
  co_return page_response(items, next);
}

}  // namespace koshel::coordinator
