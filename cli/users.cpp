// user add / list / set, get: one account's terms and state.

#include <boost/json/serialize.hpp>
#include <cstdio>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kPatience{10'000};

const std::vector<Table::Column> kUserColumns{{"id", Table::Align::Right},
                                              {"name"},
                                              {"min", Table::Align::Right},
                                              {"max", Table::Align::Right},
                                              {"balance", Table::Align::Right},
                                              {"currency"},
                                              {"version", Table::Align::Right},
                                              {"status"},
                                              {"shard"}};

void add_user_row(Table& table, const json::value& user) {
  table.add({text_of(user, "id"), text_of(user, "name"), text_of(user, "min_balance"),
             text_of(user, "max_balance"), text_of(user, "balance"), text_of(user, "currency"),
             text_of(user, "version"), text_of(user, "status"), text_of(user, "shard")});
}

Finished print_user(const Console& console, const ApiReply& reply) {
  if (console.is_json()) {
    print_json(reply);
  } else {
    Table table(kUserColumns);
    add_user_row(table, reply.json);
    table.print();
  }
  return ExitCode::Done;
}

struct AddOptions {
  std::string name, max, min, current, currency;
};

Finished run_add(const Console& console, const AddOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  json::object body{{"name", options.name}, {"max_balance", options.max}};
  if (!options.min.empty()) body["min_balance"] = options.min;
  if (!options.current.empty()) body["balance"] = options.current;
  if (!options.currency.empty()) body["currency"] = options.currency;
  const ApiCall call{.method = "POST", .path = "/v1/users", .body = json::serialize(body)};
  auto reply = client.call(call);
  if (!reply && reply.error().code == ExitCode::Unknown) {
    return Failure(ExitCode::Unknown,
                   "no answer came, so the user may have been created: look with "
                   "`koshel get -n " +
                       options.name + "`, or add it again");
  }
  if (!reply) return reply.error();
  return print_user(console, reply.value());
}

struct NameOptions {
  std::string name;
};

Finished run_get(const Console& console, const NameOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply, client.call_until_answered({.path = user_path(options.name)}, kPatience));
  if (!reply.is_success()) return failure_of(reply);
  return print_user(console, reply);
}

struct SetOptions {
  std::string name, min, max;
  bool is_freezing = false;
  bool is_unfreezing = false;
};

Finished run_set(const Console& console, const SetOptions& options) {
  json::object body;
  if (!options.min.empty()) body["min_balance"] = options.min;
  if (!options.max.empty()) body["max_balance"] = options.max;
  if (options.is_freezing) body["status"] = "frozen";
  if (options.is_unfreezing) body["status"] = "active";
  if (body.empty()) {
    return Failure(ExitCode::Usage, "nothing to set: give --min, --max, --freeze or --unfreeze");
  }
  KOSHEL_TRY(auto client, ApiClient::open(console));
  const ApiCall call{
      .method = "PATCH", .path = user_path(options.name), .body = json::serialize(body)};
  KOSHEL_TRY(auto reply, client.call(call));
  return print_user(console, reply);
}

// Pages may be many: each is printed as it comes.
Finished run_list(const Console& console, const NameOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  bool is_first = true;
  if (console.is_json()) std::printf("{\"items\":[");
  KOSHEL_TRY(for_each_page(client, {.path = "/v1/users"}, [&](const json::array& items) {
    if (console.is_json()) {
      for (const auto& item : items) {
        std::printf("%s%s", is_first ? "" : ",", json::serialize(item).c_str());
        is_first = false;
      }
      return;
    }
    Table table(kUserColumns);
    for (const auto& item : items) add_user_row(table, item);
    std::string text = table.to_string();
    if (!is_first) text.erase(0, text.find('\n') + 1);
    is_first = false;
    std::fputs(text.c_str(), stdout);
  }));
  if (console.is_json()) std::printf("],\"next_cursor\":null}\n");
  return ExitCode::Done;
}

void register_add(CLI::App& group, Console& console) {
  auto options = std::make_shared<AddOptions>();
  auto* command = add_command(group, console, "add", "create a user", options, run_add);
  command->add_option("-n,--name", options->name, "the user's name")->required();
  command->add_option("--max,--max-balance", options->max, "the most the balance may be")
      ->required();
  command->add_option("--min,--min-balance", options->min, "the least the balance may be (0)");
  command->add_option("-c,--current", options->current, "opening balance, paid in from @world (0)");
  command->add_option("--currency", options->currency, "ISO 4217 code (the cluster's default)");
}

void register_set(CLI::App& group, Console& console) {
  auto options = std::make_shared<SetOptions>();
  auto* command =
      add_command(group, console, "set", "change limits, freeze, unfreeze", options, run_set);
  command->add_option("-n,--name", options->name, "the user's name")->required();
  command->add_option("--max,--max-balance", options->max, "the most the balance may be");
  command->add_option("--min,--min-balance", options->min, "the least the balance may be");
  auto* freeze =
      command->add_flag("--freeze", options->is_freezing, "refuse all transfers from now on");
  command->add_flag("--unfreeze", options->is_unfreezing, "allow transfers again")
      ->excludes(freeze);
}

}  // namespace

void register_users(CLI::App& app, Console& console) {
  CLI::App* group = add_group(app, "user", "create, list and change users");
  register_add(*group, console);
  add_command(*group, console, "list", "all users", std::make_shared<NameOptions>(), run_list);
  register_set(*group, console);
  register_import(*group, console);

  auto options = std::make_shared<NameOptions>();
  auto* command =
      add_command(app, console, "get", "a user: limits, balance, shard", options, run_get);
  command->add_option("-n,--name", options->name, "the user's name")->required();
}

}  // namespace koshel::cli
