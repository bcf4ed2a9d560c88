// audit-log: who did what, when, from where, with which outcome.

#include <boost/json/array.hpp>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

struct AuditLogOptions {
  std::uint64_t limit = 100;
};

void add_row(Table& table, const json::value& row) {
  table.add({text_of(row, "sequence"), text_of(row, "at"), text_of(row, "who"),
             text_of(row, "from"), text_of(row, "what"), text_of(row, "target"),
             text_of(row, "status"), text_of(row, "code"), text_of(row, "detail")});
}

// Pages may be many: each is printed as it comes.
Finished run_audit_log(const Console& console, const AuditLogOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  const PageRequest request{.path = "/v1/admin/audit-log", .items_max = options.limit};
  Table table({{"row", Table::Align::Right},
               {"time"},
               {"who"},
               {"from"},
               {"what"},
               {"target"},
               {"status"},
               {"code"},
               {"detail"}});
  KOSHEL_TRY(print_items(console, client, request, table, add_row));
  return ExitCode::Done;
}

}  // namespace

void register_audit_log(CLI::App& app, Console& console) {
  auto options = std::make_shared<AuditLogOptions>();
  auto* command = add_command(
      app, console, "audit-log",
      "Shows who did what, when, from where, with which outcome; the newest first (auditor).\n"
      "Logins, what was denied, what staff changed, deposits and withdrawals leave a row each, a\n"
      "batch one; with `auth.mode: none` nothing does. `koshel audit` proves that no row was\n"
      "changed or taken out.",
      options, run_audit_log);
  command->add_option("--limit", options->limit, "At most so many rows (default 100).")
      ->type_name("COUNT")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}).description(""));
  add_examples(command,
               {"koshel audit-log --limit 20", "koshel --output json audit-log --limit 1000000"});
}

}  // namespace koshel::cli
