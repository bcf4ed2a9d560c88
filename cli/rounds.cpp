// rounds unresolved: prepared transactions that are not settled yet.

#include <boost/json/array.hpp>
#include <cstdio>

#include "cli/api_client.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

struct UnresolvedOptions {};

Finished run_unresolved(const Console& console, const UnresolvedOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply, client.call({.path = "/v1/admin/rounds/unresolved"}));
  if (console.is_json()) {
    print_json(reply);
    return ExitCode::Done;
  }
  const auto* object = reply.json.if_object();
  const auto* rounds = object == nullptr ? nullptr : object->if_contains("rounds");
  if (rounds == nullptr || !rounds->is_array()) {
    return Failure(ExitCode::Unavailable,
                   client.server() + " did not answer with a list of rounds");
  }
  if (rounds->get_array().empty()) {
    std::printf("no prepared transaction is in doubt\n");
    return ExitCode::Done;
  }
  Table table({{"gid"}, {"shard"}, {"age", Table::Align::Right}, {"decision"}});
  for (const auto& round : rounds->get_array()) {
    table.add({text_of(round, "gid"), text_of(round, "shard"), text_of(round, "age_seconds") + " s",
               text_of(round, "decision")});
  }
  table.print();
  return ExitCode::Done;
}

}  // namespace

void register_rounds(CLI::App& app, Console& console) {
  CLI::App* group = add_group(app, "rounds", "Shows rounds between shards.");
  add_examples(group, {"koshel rounds unresolved"});
  auto* command =
      add_command(*group, console, "unresolved",
                  "Lists the prepared transactions that are not settled yet: gid, shard, age,\n"
                  "decision. Agents settle them by themselves; `undecided` has no row in the log\n"
                  "of decisions so far.",
                  std::make_shared<UnresolvedOptions>(), run_unresolved);
  add_examples(command, {"koshel rounds unresolved", "koshel --output json rounds unresolved"});
}

}  // namespace koshel::cli
