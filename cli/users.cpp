// user add / list / set, get: one account's terms and state.

#include <boost/json/serialize.hpp>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr std::chrono::milliseconds kPatience{3'000};

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

// Creating and changing users takes no key, but a look tells what became of it, and doing it again
// does no harm.
Failure failure_about(const std::string& name, Failure failure) {
  if (failure.code == ExitCode::Unknown) {
    failure.sentence = "no answer came, so it may have been done: look with `koshel get -n " +
                       name + "`, or run the same command again";
  }
  return failure;
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
  if (!reply) return failure_about(options.name, reply.error());
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
  auto reply = client.call(call);
  if (!reply) return failure_about(options.name, reply.error());
  return print_user(console, reply.value());
}

Finished run_list(const Console& console, const NameOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  Table table(kUserColumns);
  KOSHEL_TRY(print_items(console, client, {.path = "/v1/users"}, table, add_user_row));
  return ExitCode::Done;
}

void register_add(CLI::App& group, Console& console) {
  auto options = std::make_shared<AddOptions>();
  auto* command = add_command(group, console, "add",
                              "Creates a user with limits and, if wanted, an opening balance.",
                              options, run_add);
  command
      ->add_option("-n,--name", options->name,
                   "The user's name: 1 to 64 letters of any script, digits, . _ -")
      ->required()
      ->type_name("NAME");
  command->add_option("--max,--max-balance", options->max, "The most the balance may ever be.")
      ->required()
      ->type_name("AMOUNT");
  command
      ->add_option("--min,--min-balance", options->min,
                   "The least the balance may ever be (default 0; below 0 is a credit line).")
      ->type_name("AMOUNT");
  command
      ->add_option("-c,--current", options->current,
                   "The opening balance, paid in from @world (default 0).")
      ->type_name("AMOUNT");
  command
      ->add_option("--currency", options->currency,
                   "An ISO 4217 code (default the `currency` of the coordinator's config).")
      ->type_name("CODE");
  add_examples(command,
               {"koshel user add -n anna --max 1000", "koshel user add -n Анна --max 1000 -c 100",
                "koshel user add -n boris --max 5000 --min -200 --currency USD"});
}

void register_set(CLI::App& group, Console& console) {
  auto options = std::make_shared<SetOptions>();
  auto* command = add_command(
      group, console, "set",
      "Changes a user's limits, freezes or unfreezes the account; the rest stays. The balance\n"
      "must be within the new limits.",
      options, run_set);
  command->add_option("-n,--name", options->name, "The user's name.")
      ->required()
      ->type_name("NAME");
  command
      ->add_option("--max,--max-balance", options->max, "The most the balance may be from now on.")
      ->type_name("AMOUNT");
  command
      ->add_option("--min,--min-balance", options->min, "The least the balance may be from now on.")
      ->type_name("AMOUNT");
  auto* freeze = command->add_flag("--freeze", options->is_freezing,
                                   "From now on neither pays nor is paid, deposits included.");
  command->add_flag("--unfreeze", options->is_unfreezing, "Pays and is paid again.")
      ->excludes(freeze);
  add_examples(command, {"koshel user set -n anna --max 2000", "koshel user set -n anna --freeze",
                         "koshel user set -n anna --min -50 --max 2000 --unfreeze"});
}

}  // namespace

void register_users(CLI::App& app, Console& console) {
  CLI::App* group = add_group(app, "user", "Creates, lists and changes users.");
  add_examples(group, {"koshel user add -n anna --max 1000 -c 100", "koshel user list"});
  register_add(*group, console);
  auto* list = add_command(*group, console, "list", "Lists all users with their balances.",
                           std::make_shared<NameOptions>(), run_list);
  add_examples(list, {"koshel user list", "koshel --output json user list"});
  register_set(*group, console);
  register_import(*group, console);

  auto options = std::make_shared<NameOptions>();
  auto* command = add_command(app, console, "get",
                              "Shows a user: id, name, limits, balance, version, status, shard.",
                              options, run_get);
  command->add_option("-n,--name", options->name, "The user's name.")
      ->required()
      ->type_name("NAME");
  add_examples(command, {"koshel get -n anna", "koshel --output json get -n anna"});
}

}  // namespace koshel::cli
