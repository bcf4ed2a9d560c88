#include "coordinator/io/api/audit_log_api.hpp"

#include <boost/json.hpp>

#include "coordinator/io/api/json_text.hpp"
#include "coordinator/io/api/transfer_ids.hpp"

namespace koshel::coordinator {

namespace json = boost::json;

namespace {

constexpr std::size_t kDetailBytesMax = 4096;
constexpr std::size_t kTargetBytesMax = 256;  // as long as a name can be

std::optional<json::object> object_in(const std::string& text) {
  if (text.empty()) return std::nullopt;
  json::error_code error;
  auto value = json::parse(text, error);
  if (error || !value.is_object() || !is_writable(value)) return std::nullopt;
  return std::move(value.get_object());
}

// Nobody keeps out of the trail what was asked for by making it long: metadata, which may be as long
// as all that is kept, goes first.
std::string detail_json(const std::string& text) {
  auto detail = object_in(text);
  if (!detail) return "null";
  auto whole = json::serialize(*detail);
  if (whole.size() <= kDetailBytesMax) return whole;
  if (detail->contains("metadata")) {
    (*detail)["metadata"] = "not kept: too long";
    if (auto rest = json::serialize(*detail); rest.size() <= kDetailBytesMax) return rest;
  }
  JsonMembers members;
  return members.number("bytes", static_cast<std::int64_t>(whole.size()))
      .text("begins", shortened(whole, kDetailBytesMax))
      .object();
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
      .raw("token", call.token ? std::to_string(*call.token) : "null")
      .text("what", call.what)
      .text("target", shortened(note.target.empty() ? call.target : note.target, kTargetBytesMax))
      .text("from", call.peer)
      .number("status", response.status);
  const auto told = object_in(response.body);
  const auto* code = told ? told->if_contains("code") : nullptr;
  const auto* id = told ? told->if_contains("id") : nullptr;
  members.raw("code", code != nullptr ? json::serialize(*code) : "null");
  members.raw("id", id != nullptr ? json::serialize(*id) : "null");
  members.text("request_id", call.request_id);
  if (note.untold_before > 0) members.number("untold_before", note.untold_before);
  members.raw("detail", detail_json(note.detail.empty() ? call.body : note.detail));
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
