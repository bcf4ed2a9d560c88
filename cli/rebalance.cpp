// rebalance plan / start / status / pause / resume / cancel: moving users between shards. The
// coordinators do it; to watch is only to ask again and again, and may be ended at any time.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <thread>

#include "cli/api_client.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

constexpr const char* kPath = "/v1/admin/rebalance";
constexpr milliseconds kLookInterval{250};
constexpr milliseconds kLineInterval{1'000};  // where lines cannot be redrawn
constexpr milliseconds kPatience{60'000};     // with a coordinator that does not answer

struct PlanOptions {};

struct StartOptions {
  std::optional<int> users_per_second;
  bool is_watched = false;
};

struct StatusOptions {
  bool is_watched = false;
};

struct ActionOptions {
  std::string action;
};

std::uint64_t count_of(const json::value& object, std::string_view member) {
  const auto* members = object.if_object();
  const auto* value = members == nullptr ? nullptr : members->if_contains(member);
  return value != nullptr && value->is_int64() && value->get_int64() > 0
             ? static_cast<std::uint64_t>(value->get_int64())
             : 0;
}

// "" where the member is null, or nothing.
std::string duration_of(const json::value& object, std::string_view member) {
  if (count_of(object, member) == 0) return {};
  return format_duration(std::chrono::seconds(count_of(object, member)));
}

std::string rate_of(const json::value& status) {
  const auto* rate =
      status.is_object() ? status.get_object().if_contains("users_per_second") : nullptr;
  const auto rounded = rate != nullptr && rate->is_number() ? rate->to_number<double>() + 0.5 : 0.0;
  return format_count(static_cast<std::uint64_t>(rounded));
}

void print_status(const json::value& status) {
  Table table({{"state"},
               {"moved", Table::Align::Right},
               {"of", Table::Align::Right},
               {"entries", Table::Align::Right},
               {"users/s", Table::Align::Right},
               {"left", Table::Align::Right},
               {"error"}});
  table.add({text_of(status, "state"), format_count(count_of(status, "users_moved")),
             format_count(count_of(status, "users_total")),
             format_count(count_of(status, "entries_copied")), rate_of(status),
             duration_of(status, "eta_seconds"), text_of(status, "error")});
  table.print();
}

std::string watched_line(const json::value& status, bool is_terminal) {
  auto line = "rebalance " + progress_text(count_of(status, "users_moved"),
                                           count_of(status, "users_total"), is_terminal);
  line += " users, " + rate_of(status) + " users/s";
  if (const auto left = duration_of(status, "eta_seconds"); !left.empty())
    line += ", " + left + " left";
  const auto state = text_of(status, "state");
  if (state != "running" && state != "idle") line += ", " + state;
  if (const auto error = text_of(status, "error"); !error.empty()) line += ": " + error;
  return line;
}

bool is_over(const json::value& status) {
  const auto state = text_of(status, "state");
  return state == "idle" || state == "failed";
}

// Until the rebalance is over.
Outcome<ApiReply> watch(ApiClient& client, ApiReply reply) {
  LiveLine live;
  std::string drawn;
  Instant drawn_at{};
  while (!is_over(reply.json)) {
    auto line = watched_line(reply.json, live.is_terminal());
    const auto now = std::chrono::steady_clock::now();
    if (line != drawn && (live.is_terminal() || now - drawn_at >= kLineInterval)) {
      live.draw(line);
      drawn = std::move(line);
      drawn_at = now;
    }
    std::this_thread::sleep_for(kLookInterval);
    KOSHEL_TRY(auto next, client.call_until_answered({.path = kPath}, kPatience));
    reply = std::move(next);
  }
  live.end(watched_line(reply.json, live.is_terminal()));
  return reply;
}

Finished finish(const Console& console, ApiClient& client, ApiReply reply, bool is_watched) {
  if (is_watched) {
    KOSHEL_TRY(auto last, watch(client, std::move(reply)));
    reply = std::move(last);
  }
  if (console.is_json()) {
    print_json(reply);
  } else {
    print_status(reply.json);
  }
  if (!is_watched || text_of(reply.json, "state") != "failed") return ExitCode::Done;
  return Failure(ExitCode::Refused, "the rebalance failed: " + text_of(reply.json, "error") +
                                        "; `koshel rebalance resume` tries on, `cancel` ends it");
}

Finished run_plan(const Console& console, const PlanOptions&) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply, client.call({.path = std::string(kPath) + "/plan"}));
  if (console.is_json()) {
    print_json(reply);
    return ExitCode::Done;
  }
  const auto* object = reply.json.if_object();
  const auto* moves = object == nullptr ? nullptr : object->if_contains("moves");
  if (moves == nullptr || !moves->is_array()) {
    return Failure(ExitCode::Unavailable, client.server() + " did not answer with a plan");
  }
  if (moves->get_array().empty()) {
    std::printf("no user is to be moved: each shard has its share\n");
    return ExitCode::Done;
  }
  Table table({{"from"}, {"to"}, {"users", Table::Align::Right}});
  for (const auto& move : moves->get_array()) {
    table.add(
        {text_of(move, "source"), text_of(move, "target"), format_count(count_of(move, "users"))});
  }
  table.print();
  const auto seconds = duration_of(reply.json, "estimate_seconds");
  std::printf("%s users in all%s\n", format_count(count_of(reply.json, "users_total")).c_str(),
              seconds.empty() ? "" : (", about " + seconds).c_str());
  return ExitCode::Done;
}

Outcome<ApiReply> act(ApiClient& client, json::object wish) {
  return client.tell({.method = "POST", .path = kPath, .body = json::serialize(wish)});
}

Finished run_start(const Console& console, const StartOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  json::object wish{{"action", "start"}};
  if (options.users_per_second) wish["users_per_second"] = *options.users_per_second;
  KOSHEL_TRY(auto reply, act(client, std::move(wish)));
  if (reply.status == 200) say("no user is to be moved: each shard has its share");
  return finish(console, client, std::move(reply), options.is_watched);
}

Finished run_status(const Console& console, const StatusOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply, client.call({.path = kPath}));
  return finish(console, client, std::move(reply), options.is_watched);
}

Finished run_action(const Console& console, const ActionOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto reply, act(client, {{"action", options.action}}));
  return finish(console, client, std::move(reply), false);
}

void add_watch(CLI::App* command, bool& is_watched) {
  command->add_flag(
      "--watch", is_watched,
      "Shows the progress until it is over (by default only how it stands); exit code "
      "1 if it failed. The rebalance goes on when you stop watching.");
}

void register_actions(CLI::App& group, Console& console) {
  const auto add = [&](const std::string& action, const std::string& description) {
    auto options = std::make_shared<ActionOptions>(ActionOptions{action});
    auto* command = add_command(group, console, action, description, options, run_action);
    add_examples(command, {"koshel rebalance " + action});
  };
  add("pause", "Stops moving users, until it is resumed. Each user lives on one shard, wholly.");
  add("resume", "Goes on with a rebalance that was paused or has failed.");
  add("cancel", "Ends a rebalance: who has moved stays, who was on the way stays where he was.");
}

}  // namespace

void register_rebalance(CLI::App& app, Console& console) {
  CLI::App* group =
      add_group(app, "rebalance", "Moves users between shards, each of which gets its share.");
  add_examples(group, {"koshel rebalance plan", "koshel rebalance start --watch"});
  auto* command =
      add_command(*group, console, "plan", "Shows what would be moved, and moves nothing.",
                  std::make_shared<PlanOptions>(), run_plan);
  add_examples(command, {"koshel rebalance plan", "koshel --output json rebalance plan"});

  auto start = std::make_shared<StartOptions>();
  command = add_command(*group, console, "start",
                        "Moves users in the background until each shard has its share by weight "
                        "and draining ones have none. Checks all shards first.",
                        start, run_start);
  command
      ->add_option("--users-per-second", start->users_per_second,
                   "A throttle (default none: as fast as it goes).")
      ->type_name("N")
      ->check(CLI::Range(1, 1'000'000));
  add_watch(command, start->is_watched);
  add_examples(command,
               {"koshel rebalance start --watch", "koshel rebalance start --users-per-second 500"});

  auto status = std::make_shared<StatusOptions>();
  command = add_command(*group, console, "status",
                        "Shows the rebalance: users moved and to be moved, rate, time left.",
                        status, run_status);
  add_watch(command, status->is_watched);
  add_examples(command, {"koshel rebalance status", "koshel rebalance status --watch"});
  register_actions(*group, console);
}

}  // namespace koshel::cli
