#include "cli/pages.hpp"

#include <algorithm>

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

}  // namespace koshel::cli
