#include "cli/pages.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "base/printable.hpp"

namespace koshel::cli {
namespace {
constexpr std::uint64_t kPageItems = 1'000;
constexpr std::chrono::milliseconds kFirstPatience{3'000};
constexpr std::chrono::milliseconds kPatience{10'000};  // midway: much would be lost
}  // namespace

Outcome<void> for_each_page(ApiClient& client, const PageRequest& request,
                            const std::function<void(const boost::json::array&)>& take) {
  std::string cursor;
  std::uint64_t left = request.items_max.value_or(UINT64_MAX);
  while (left > 0) {
    ApiCall call{.path = request.path, .query = request.query};
    call.query.emplace_back("limit", std::to_string(std::min(left, kPageItems)));
    if (!cursor.empty()) call.query.emplace_back("cursor", cursor);
    KOSHEL_TRY(auto reply,
               client.call_until_answered(call, cursor.empty() ? kFirstPatience : kPatience));
    if (!reply.is_success()) return failure_of(reply);
    const auto* page = reply.json.if_object();
    const auto* items = page == nullptr ? nullptr : page->if_contains("items");
    if (items == nullptr || !items->is_array()) {
      return Failure(
          ExitCode::Unavailable,
          client.server() + call.path + " did not answer with a page; is it a coordinator?");
    }
    take(items->get_array());
    left -= std::min<std::uint64_t>(left, items->get_array().size());
    cursor = text_of(reply.json, "next_cursor");
    if (cursor.empty()) break;
  }
  return success();
}

Outcome<void> print_items(const Console& console, ApiClient& client, const PageRequest& request,
                          Table& table,
                          const std::function<void(Table&, const boost::json::value&)>& add_row) {
  const char* separator = "{\"items\":[";
  KOSHEL_TRY(for_each_page(client, request, [&](const boost::json::array& items) {
    for (const auto& item : items) {
      if (console.is_json()) {
        std::printf("%s%s", separator, printable(boost::json::serialize(item)).c_str());
        separator = ",";
      } else {
        add_row(table, item);
      }
    }
    if (!console.is_json()) table.print();
  }));
  if (console.is_json()) {
    std::printf("%s],\"next_cursor\":null}\n", *separator == ',' ? "" : separator);
  }
  return success();
}

}  // namespace koshel::cli
