#pragma once
// Reads a paged collection of the API from its first page to its last.

#include <functional>
#include <optional>

#include "cli/api_client.hpp"
#include "cli/output.hpp"

namespace koshel::cli {

struct PageRequest {
  std::string path;
  std::vector<std::pair<std::string, std::string>> query{};
  std::optional<std::uint64_t> items_max{};  // all of them if not set
};

// Hands every page's items to `take` in order. Pages are only read, so lost ones are asked for
// again.
Outcome<void> for_each_page(ApiClient& client, const PageRequest& request,
                            const std::function<void(const boost::json::array&)>& take);

// Prints them as they come, page by page: rows of the table, or one JSON object
// {"items": [...], "next_cursor": null}.
Outcome<void> print_items(const Console& console, ApiClient& client, const PageRequest& request,
                          Table& table,
                          const std::function<void(Table&, const boost::json::value&)>& add_row);

}  // namespace koshel::cli
