// bench: measures a running coordinator with users of its own (bench-0, bench-1, ...), which stay.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <unordered_map>

#include "base/money.hpp"
#include "base/printable.hpp"
#include "cli/api_client.hpp"
#include "cli/bench_load.hpp"
#include "cli/output.hpp"
#include "cli/pages.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kBatchUsers = 4'096;
constexpr std::chrono::milliseconds kBatchDeadline{30'000};
constexpr std::chrono::milliseconds kBatchTimeout{60'000};
constexpr const char* kOpeningBalance = "1000000";
constexpr const char* kMaxBalance = "1000000000";

struct BenchOptions {
  std::size_t users = 1'000;
  double seconds = 10;
  double warm_up_s = 1;
  int connections = 32;
  int batch = 0;
  double rate = 0;
  bool is_keyed = false;
  Workload workload = Workload::Mixed;
  std::uint64_t seed = 0;
};

std::string bench_name(std::size_t index) {
  return "bench-" + std::to_string(index);
}

struct BenchUsers {
  std::vector<BenchUser> users;
  std::vector<std::size_t> missing;
  std::string currency;
};

// The coordinator's own list says who is there and where each lives.
Outcome<BenchUsers> find_users(ApiClient& client, std::size_t count) {
  std::unordered_map<std::string, std::size_t> wanted;
  for (std::size_t i = 0; i < count; ++i) wanted.emplace(bench_name(i), i);
  std::unordered_map<std::string, std::size_t> shards;
  BenchUsers found;
  KOSHEL_TRY(for_each_page(client, {.path = "/v1/users"}, [&](const json::array& items) {
    for (const auto& item : items) {
      const auto at = wanted.find(text_of(item, "name"));
      if (at == wanted.end()) continue;
      const auto shard = shards.emplace(text_of(item, "shard"), shards.size()).first->second;
      found.users.push_back({at->first, shard});
      found.currency = text_of(item, "currency");
      wanted.erase(at);
    }
  }));
  for (const auto& [name, index] : wanted) found.missing.push_back(index);
  return found;
}

Outcome<void> create_users(ApiClient& client, const std::vector<std::size_t>& indexes) {
  ProgressBar progress("create users", indexes.size());
  for (std::size_t from = 0; from < indexes.size(); from += kBatchUsers) {
    json::array users;
    for (std::size_t i = from; i < std::min(from + kBatchUsers, indexes.size()); ++i) {
      users.push_back(json::object{{"name", bench_name(indexes[i])},
                                   {"max_balance", kMaxBalance},
                                   {"balance", kOpeningBalance}});
    }
    const auto count = users.size();
    KOSHEL_TRY(client.call({.method = "POST",
                            .path = "/v1/users/batch",
                            .body = json::serialize(json::object{{"users", std::move(users)}}),
                            .timeout = kBatchTimeout,
                            .deadline = kBatchDeadline}));
    progress.update(from + count);
  }
  return success();
}

Outcome<BenchUsers> prepare_users(ApiClient& client, std::size_t count) {
  KOSHEL_TRY(auto found, find_users(client, count));
  if (found.missing.empty()) return found;
  KOSHEL_TRY(create_users(client, found.missing));
  KOSHEL_TRY(auto complete, find_users(client, count));
  if (!complete.missing.empty()) {
    return Failure(ExitCode::Unavailable,
                   std::to_string(complete.missing.size()) +
                       " bench users could not be created; see `koshel shard list`");
  }
  return complete;
}

// Written by hand: Boost.JSON would write 19 as 1.9E1.
void print_json_report(const LoadReport& report, double rate) {
  json::object errors;
  for (const auto& [code, count] : report.others) errors[code] = count;
  const auto ms = [&](double share) {
    return static_cast<double>(report.latency.percentile(share).count()) / 1'000;
  };
  std::printf(
      "{\"transfers_per_second\":%.1f,\"seconds\":%.3f,\"requests\":%llu,\"committed\":%llu,"
      "\"settling\":%llu,\"errors\":%s,"
      "\"latency_ms\":{\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"p99_9\":%.3f}}\n",
      rate, report.seconds.count(), static_cast<unsigned long long>(report.requests),
      static_cast<unsigned long long>(report.committed),
      static_cast<unsigned long long>(report.settling), printable(json::serialize(errors)).c_str(),
      ms(0.5), ms(0.95), ms(0.99), ms(0.999));
}

void print_table_report(const LoadReport& report, double rate) {
  Table table({{"what"}, {"value", Table::Align::Right}});
  table.add({"transfers/s", format_count(static_cast<std::uint64_t>(rate))});
  table.add({"committed", format_count(report.committed)});
  if (report.settling > 0) table.add({"settling", format_count(report.settling)});
  table.add({"requests", format_count(report.requests)});
  table.add({"latency p50", format_duration(report.latency.percentile(0.5))});
  table.add({"latency p95", format_duration(report.latency.percentile(0.95))});
  table.add({"latency p99", format_duration(report.latency.percentile(0.99))});
  table.add({"latency p99.9", format_duration(report.latency.percentile(0.999))});
  for (const auto& [code, count] : report.others) table.add({code, format_count(count)});
  table.print();
}

Finished run_bench(const Console& console, const BenchOptions& options) {
  KOSHEL_TRY(auto client, ApiClient::open(console));
  KOSHEL_TRY(auto prepared, prepare_users(client, options.users));
  const Currency* currency = find_currency(prepared.currency);
  LoadOptions load;
  KOSHEL_TRY(auto server, find_server(client.server(), console.tls()));
  load.server = std::move(server);
  load.token = client.token();
  load.users = std::move(prepared.users);
  load.workload = options.workload;
  load.connections = options.connections;
  load.batch = options.batch <= 1 ? 0 : options.batch;
  load.rate = options.rate;
  load.is_keyed = options.is_keyed;
  load.amount_decimals = currency == nullptr ? 2 : currency->decimals;
  load.seed =
      options.seed != 0
          ? options.seed
          : static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  load.warm_up = std::chrono::milliseconds(static_cast<std::int64_t>(options.warm_up_s * 1'000));
  load.length = std::chrono::milliseconds(static_cast<std::int64_t>(options.seconds * 1'000));
  say("measuring for " + format_duration(load.length) + ", after " + format_duration(load.warm_up) +
      " to warm up");
  KOSHEL_TRY(auto report, run_load(load));
  const double rate =
      static_cast<double>(report.committed + report.settling) / report.seconds.count();
  if (console.is_json()) {
    print_json_report(report, rate);
  } else {
    print_table_report(report, rate);
  }
  if (report.committed + report.settling == 0) {
    return Failure(ExitCode::Refused, "not one transfer went through; see the codes above");
  }
  return ExitCode::Done;
}

}  // namespace

void register_bench(CLI::App& app, Console& console) {
  auto options = std::make_shared<BenchOptions>();
  auto* command = add_command(
      app, console, "bench",
      "Loads a running coordinator with transfers; prints throughput and latency percentiles.\n"
      "Its users (bench-0, bench-1, ...) are created if they are not there, and stay.",
      options, run_bench);
  command->add_option("--users", options->users, "How many bench users (default 1000).")
      ->check(CLI::Range(2, 10'000'000).description(""))
      ->type_name("COUNT");
  command->add_option("--seconds", options->seconds, "How long to measure (default 10).")
      ->check(CLI::Range(0.1, 86'400.0).description(""))
      ->type_name("SECONDS");
  command
      ->add_option("--warm-up", options->warm_up_s,
                   "How long before that, not counted (default 1).")
      ->check(CLI::Range(0.0, 3'600.0).description(""))
      ->type_name("SECONDS");
  command
      ->add_option("--connections", options->connections,
                   "Connections, each with one request at a time (default 32).")
      ->check(CLI::Range(1, 1'000).description(""))
      ->type_name("COUNT");
  command
      ->add_option("--batch", options->batch,
                   "Transfers in one request; 0 or 1: single ones (default 0).")
      ->check(CLI::Range(0, 8'192).description(""))
      ->type_name("COUNT");
  command
      ->add_option(
          "--rate", options->rate,
          "Transfers a second, at even intervals whether the answers keep up or not; latency\n"
          "counts from when a request was due, so none is left out because the server was\n"
          "slow (coordinated omission). By default a connection asks again when it is answered.")
      ->check(CLI::Range(0.0, 10'000'000.0).description(""))
      ->type_name("COUNT");
  command
      ->add_option(
          "--workload", options->workload,
          "Who pays whom (default mixed). local: two users of one shard; cross: of two shards;\n"
          "hot: one and the same user pays or is paid in every transfer; mixed: any two users.")
      ->type_name("KIND")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, Workload>{{"local", Workload::Local},
                                                                  {"cross", Workload::Cross},
                                                                  {"hot", Workload::Hot},
                                                                  {"mixed", Workload::Mixed}})
              .description(""));
  command->add_flag("--keyed", options->is_keyed, "Gives every transfer an idempotency key.");
  command
      ->add_option("--seed", options->seed,
                   "For the same transfers again (default taken from the clock).")
      ->type_name("NUMBER");
  add_examples(command, {"koshel bench", "koshel bench --seconds 30 --connections 64 --keyed",
                         "koshel bench --workload cross --batch 100 --users 100000",
                         "koshel bench --rate 2000 --connections 64"});
}

}  // namespace koshel::cli
