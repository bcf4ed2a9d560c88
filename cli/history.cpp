// history: an account's entries with their running balance.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

struct HistoryOptions {
  std::string name;
  std::optional<std::uint64_t> limit;
  bool is_newest_first = false;
};

Finished run_history(const Console& console, const HistoryOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  PageRequest request{.path = user_path(options.name) + "/entries", .items_max = options.limit};
  request.query.emplace_back("order", options.is_newest_first ? "desc" : "asc");
  json::array entries;
  KOSHEL_TRY(for_each_page(client, request, [&](const json::array& items) {
    entries.insert(entries.end(), items.begin(), items.end());
  }));
  if (console.is_json()) {
    print_line(json::serialize(json::object{{"items", entries}}));
    return ExitCode::Done;
  }
  Table table({{"version", Table::Align::Right},
               {"time"},
               {"kind"},
               {"amount", Table::Align::Right},
               {"balance", Table::Align::Right},
               {"min", Table::Align::Right},
               {"max", Table::Align::Right},
               {"status"},
               {"counterparty"},
               {"transfer"}});
  for (const auto& entry : entries) {
    table.add({text_of(entry, "version"), text_of(entry, "created_at"), text_of(entry, "kind"),
               text_of(entry, "amount"), text_of(entry, "balance"), text_of(entry, "min_balance"),
               text_of(entry, "max_balance"), text_of(entry, "status"),
               text_of(entry, "counterparty"), text_of(entry, "transfer_id")});
  }
  table.print();
  return ExitCode::Done;
}

}  // namespace

void register_history(CLI::App& app, Console& console) {
  auto options = std::make_shared<HistoryOptions>();
  auto* command =
      add_command(app, console, "history",
                  "Shows everything that happened to an account, with its running balance.",
                  options, run_history);
  command->add_option("-n,--name", options->name, "The user's name.")
      ->required()
      ->type_name("NAME");
  command->add_option("--limit", options->limit, "At most so many entries (default all).")
      ->type_name("COUNT")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}).description(""));
  command->add_flag("--newest-first", options->is_newest_first,
                    "Begin with the newest entry (default with the oldest).");
  add_examples(command,
               {"koshel history -n anna", "koshel history -n anna --newest-first --limit 10",
                "koshel --output json history -n anna"});
}

}  // namespace koshel::cli
