// audit: proves on the running system that no money was lost or invented and that every user is
// where the directory says.

#include <boost/json/array.hpp>

#include "cli/api_client.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

constexpr std::chrono::hours kPatience{24};  // the server says when a shard takes too long

struct AuditOptions {};

Finished run_audit(const Console& console, const AuditOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply,
             client.call({.method = "POST", .path = "/v1/admin/audit", .timeout = kPatience}));
  const auto* object = reply.json.if_object();
  const auto* checks = object == nullptr ? nullptr : object->if_contains("checks");
  if (checks == nullptr || !checks->is_array()) {
    return Failure(ExitCode::Unavailable, client.server() + " did not answer with an audit");
  }
  if (console.is_json()) {
    print_json(reply);
  } else {
    Table table({{"check"}, {"result"}, {"detail"}});
    for (const auto& check : checks->get_array()) {
      table.add({text_of(check, "name"), text_of(check, "ok") == "true" ? "ok" : "FAILED",
                 text_of(check, "detail")});
    }
    table.print();
  }
  return text_of(reply.json, "ok") == "true" ? ExitCode::Done : ExitCode::Refused;
}

}  // namespace

void register_audit(CLI::App& app, Console& console) {
  auto* command = add_command(
      app, console, "audit",
      "Proves on the running system that the books are right, and names what is not.\n"
      "\n"
      "Takes a snapshot of the directory and of each shard at one moment of the whole cluster:\n"
      "decisions about transfers between shards wait for some milliseconds. All else goes on, "
      "also\n"
      "while the snapshots are looked through, which may take minutes. One audit runs at a time.\n"
      "\n"
      "  cut        for how long decisions were held; it never fails\n"
      "  sum        all balances, with @world's, add up to zero in each currency\n"
      "  chains     each history has the versions 1, 2, 3 without a gap, and its amounts make its "
      "balances\n"
      "  limits     each balance is within the limits of its time\n"
      "  heads      each account has a history\n"
      "  transfers  each transfer took from one account what it gave to another, on whichever "
      "shards\n"
      "  keys       an idempotency key has one answer, in one place\n"
      "  users      each user is owned by exactly one shard, the one that the directory names\n"
      "  copies     histories without an owner are those of users who move\n"
      "  decided    what was decided has been applied on every shard concerned\n"
      "  in_doubt   nothing is prepared for longer than agents wait before they settle it "
      "themselves\n"
      "  trail      no row of the audit trail was changed or is missing",
      std::make_shared<AuditOptions>(), run_audit);
  add_examples(command, {"koshel audit", "koshel --output json audit"});
}

}  // namespace koshel::cli
