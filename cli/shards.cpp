// shard add / list / set / drain / remove: the databases that users live on, as the directory knows
// them.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "cli/api_client.hpp"
#include "cli/output.hpp"
#include "cli/shards.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

struct AddOptions {
  std::string name, agent;
  std::optional<int> weight;
};

struct SetOptions {
  std::string name;
  std::optional<std::string> agent;
  std::optional<int> weight;
};

struct ListOptions {};

struct NameOptions {
  std::string name;
};

void print_shards(const json::array& shards) {
  Table table({{"id", Table::Align::Right},
               {"name"},
               {"state"},
               {"weight", Table::Align::Right},
               {"users", Table::Align::Right},
               {"reachable"},
               {"prepared", Table::Align::Right},
               {"agent"}});
  for (const auto& shard : shards) {
    table.add({text_of(shard, "id"), text_of(shard, "name"), text_of(shard, "state"),
               text_of(shard, "weight"), text_of(shard, "users"),
               text_of(shard, "reachable") == "true" ? "yes" : "no",
               text_of(shard, "prepared_transactions"), text_of(shard, "agent")});
  }
  table.print();
}

void print_shard(const Console& console, const ApiReply& reply) {
  if (console.is_json()) {
    print_json(reply);
  } else {
    print_shards({reply.json});
  }
}

Finished run_add(const Console& console, const AddOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  json::object body{{"name", options.name}, {"agent", options.agent}};
  if (options.weight) body["weight"] = *options.weight;
  KOSHEL_TRY(
      auto reply,
      client.call({.method = "POST", .path = "/v1/admin/shards", .body = json::serialize(body)}));
  print_shard(console, reply);
  say("`koshel rebalance start --watch` moves users to it");
  return ExitCode::Done;
}

std::string shard_path(const std::string& name) {
  return "/v1/admin/shards/" + platform::percent_encode(name);
}

Finished run_set(const Console& console, const SetOptions& options) {
  if (!options.agent && !options.weight) {
    return Failure(ExitCode::Usage, "nothing to change: give --agent URL, --weight WEIGHT or both");
  }
  KOSHEL_TRY(auto client, ApiClient::open(console));
  json::object body;
  if (options.agent) body["agent"] = *options.agent;
  if (options.weight) body["weight"] = *options.weight;
  KOSHEL_TRY(auto reply, client.call({.method = "PATCH",
                                      .path = shard_path(options.name),
                                      .body = json::serialize(body)}));
  print_shard(console, reply);
  if (options.weight) say("`koshel rebalance start --watch` gives each shard its new share");
  return ExitCode::Done;
}

Finished run_drain(const Console& console, const NameOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply,
             client.tell({.method = "POST", .path = shard_path(options.name) + "/drain"}));
  print_shard(console, reply);
  say("`koshel rebalance start --watch` moves its users away, then `koshel shard remove " +
      options.name + "` takes it out of service");
  return ExitCode::Done;
}

Finished run_remove(const Console& console, const NameOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(client.tell({.method = "DELETE", .path = shard_path(options.name)}));
  if (console.is_json()) {
    print_line(json::serialize(json::object{{"removed", options.name}}));
  } else {
    print_line(options.name + " is out of service; its agent and its database may be stopped");
  }
  return ExitCode::Done;
}

Finished run_list(const Console& console, const ListOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto shards, read_shards(client));
  if (console.is_json()) {
    print_json(shards.reply);
  } else {
    print_shards(shards.items);
  }
  return ExitCode::Done;
}

}  // namespace

Outcome<ShardList> read_shards(ApiClient& client) {
  KOSHEL_TRY(auto reply, client.call({.path = "/v1/admin/shards"}));
  const json::value* items = &reply.json;
  if (const auto* object = reply.json.if_object()) {
    for (const auto* member : {"shards", "items"}) {
      if (const auto* found = object->if_contains(member)) items = found;
    }
  }
  if (!items->is_array()) {
    return Failure(ExitCode::Unavailable,
                   client.server() + " did not answer with a list of shards");
  }
  json::array copy = items->get_array();
  return ShardList{std::move(reply), std::move(copy)};
}

void register_shards(CLI::App& app, Console& console) {
  CLI::App* group = add_group(
      app, "shard", "Adds, lists, changes, drains and removes the databases that users live on.");
  add_examples(group, {"koshel shard list", "koshel shard set shard-2 --weight 200"});
  auto add = std::make_shared<AddOptions>();
  auto* command = add_command(
      *group, console, "add",
      "Brings a shard into service; its agent must be running. New users may live there at once.",
      add, run_add);
  command->add_option("NAME", add->name, "The shard's name, as in its agent's config.")
      ->required()
      ->type_name("");
  command->add_option("--agent", add->agent, "Its agent's URL, as coordinators reach it.")
      ->required()
      ->type_name("URL");
  command
      ->add_option("--weight", add->weight,
                   "Its share of users beside the others', 1 to 10000 (default 100).")
      ->type_name("WEIGHT");
  add_examples(command, {"koshel shard add shard-3 --agent https://10.0.0.13:7501",
                         "koshel shard add shard-3 --agent https://10.0.0.13:7501 --weight 200"});
  command = add_command(*group, console, "list",
                        "Lists all shards: state, weight, users, and whether the agent answers.",
                        std::make_shared<ListOptions>(), run_list);
  add_examples(command, {"koshel shard list", "koshel --output json shard list"});
  auto set = std::make_shared<SetOptions>();
  command =
      add_command(*group, console, "set",
                  "Changes where a shard's agent is found (it has moved to another host and must "
                  "be running), or the shard's weight.",
                  set, run_set);
  command->add_option("NAME", set->name, "The shard's name.")->required()->type_name("");
  command->add_option("--agent", set->agent, "Its agent's URL, as coordinators reach it.")
      ->type_name("URL");
  command->add_option("--weight", set->weight, "Its share of users beside the others', 1 to 10000.")
      ->type_name("WEIGHT");
  add_examples(command, {"koshel shard set shard-3 --agent https://10.0.0.14:7501",
                         "koshel shard set shard-3 --weight 200"});
  auto drain = std::make_shared<NameOptions>();
  command = add_command(*group, console, "drain",
                        "Lets a shard take no more users; the next rebalance moves all of its "
                        "users away. There is no way back.",
                        drain, run_drain);
  command->add_option("NAME", drain->name, "The shard's name.")->required()->type_name("");
  add_examples(command, {"koshel shard drain shard-2", "koshel rebalance start --watch"});
  auto remove = std::make_shared<NameOptions>();
  command = add_command(*group, console, "remove",
                        "Takes a drained shard out of service, once nothing is left on it; its "
                        "database is not touched.",
                        remove, run_remove);
  command->add_option("NAME", remove->name, "The shard's name.")->required()->type_name("");
  add_examples(command, {"koshel shard remove shard-2"});
}

}  // namespace koshel::cli
