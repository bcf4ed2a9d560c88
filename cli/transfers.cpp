// transfer, deposit, withdraw: before, outcome, after. Each has a key, so a repeated attempt can
// never move the money twice.

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <random>

#include "base/name.hpp"
#include "cli/api_client.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;
using std::chrono::milliseconds;

struct TransferOptions {
  std::string from, to, amount, key, metadata;
  double patience_s = 15;
};

// A random UUID (version 4): nobody else has this key.
std::string random_key() {
  std::random_device device;
  std::uint8_t bytes[16];
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(device());
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3f) | 0x80);
  std::string text;
  char hex[3];
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    std::snprintf(hex, sizeof hex, "%02x", bytes[i]);
    text += hex;
  }
  return text;
}

Outcome<std::string> body_of(const TransferOptions& options) {
  json::object body{{"from", options.from}, {"to", options.to}, {"amount", options.amount}};
  if (!options.metadata.empty()) {
    boost::system::error_code fault;
    auto metadata = json::parse(options.metadata, fault);
    if (fault || !metadata.is_object()) {
      return Failure(ExitCode::Usage,
                     R"(--metadata must be a JSON object, such as {"note":"rent"})");
    }
    body["metadata"] = std::move(metadata);
  }
  return json::serialize(body);
}

// "anna 90.00, boris 10.00"; for people only, so a balance that cannot be had now is left out.
std::string balances_of(ApiClient& client, const TransferOptions& options, milliseconds patience) {
  std::string line;
  for (const auto& name : {options.from, options.to}) {
    if (name.starts_with('@')) continue;
    const auto reply = client.call_until_answered({.path = user_path(name)}, patience);
    if (!line.empty()) line += ", ";
    line += name + " ";
    line += reply && reply.value().is_success() ? text_of(reply.value().json, "balance") : "?";
  }
  return line;
}

Finished report(const Console& console, ApiClient& client, const TransferOptions& options,
                const ApiReply& reply) {
  if (console.is_json()) {
    print_json(reply);
  } else if (reply.is_success()) {
    std::printf("%-10s %s %s from %s to %s, transfer %s%s\n", text_of(reply.json, "status").c_str(),
                text_of(reply.json, "amount").c_str(), text_of(reply.json, "currency").c_str(),
                options.from.c_str(), options.to.c_str(), text_of(reply.json, "id").c_str(),
                reply.is_replay ? " (done before with this key)" : "");
  } else {
    std::printf("%-10s %s\n", "refused", text_of(reply.json, "code").c_str());
  }
  if (!console.is_json()) {
    std::printf("%-10s %s\n", "after", balances_of(client, options, milliseconds(5'000)).c_str());
  }
  if (!reply.is_success()) return failure_of(reply);
  return ExitCode::Done;
}

Finished run_transfer(const Console& console, const TransferOptions& asked) {
  TransferOptions options = asked;
  if (options.key.empty()) options.key = random_key();
  KOSHEL_TRY(auto body, body_of(options));
  KOSHEL_TRY(auto client, ApiClient::open(console));
  const milliseconds patience(static_cast<std::int64_t>(options.patience_s * 1'000));
  if (!console.is_json()) {
    std::printf("%-10s %s\n", "before", balances_of(client, options, milliseconds(500)).c_str());
    std::fflush(stdout);
  }
  const ApiCall call{.method = "POST",
                     .path = "/v1/transfers",
                     .body = body,
                     .key = options.key,
                     .timeout = std::max(patience, milliseconds(1'000))};
  auto reply = client.call_until_answered(call, patience);
  if (!reply) {
    Failure failure = reply.error();
    if (failure.code == ExitCode::Unknown) failure.sentence += ": --key " + options.key;
    if (!console.is_json()) {
      std::printf("%-10s\n", failure.code == ExitCode::Unknown ? "unknown" : "not done");
    }
    return failure;
  }
  return report(console, client, options, reply.value());
}

void add_shared_options(CLI::App* command, TransferOptions& options) {
  command->add_option("AMOUNT", options.amount, "how much, such as 10.50")->required();
  command->add_option("--key", options.key,
                      "idempotency key (a random one): the same key moves once");
  command->add_option("--metadata", options.metadata, "a JSON object to keep with the transfer");
  command->add_option("--patience", options.patience_s, "seconds to go on trying (15)")
      ->check(CLI::Range(0.0, 3600.0));
}

}  // namespace

void register_transfers(CLI::App& app, Console& console) {
  auto transfer = std::make_shared<TransferOptions>();
  auto* command =
      add_command(app, console, "transfer", "move money between users: before, outcome, after",
                  transfer, run_transfer);
  command->add_option("-f,--from", transfer->from, "who pays")->required();
  command->add_option("-t,--to", transfer->to, "who is paid")->required();
  add_shared_options(command, *transfer);

  auto deposit = std::make_shared<TransferOptions>();
  deposit->from = kWorldName;
  command = add_command(app, console, "deposit", "money in, from @world", deposit, run_transfer);
  command->add_option("-n,--name", deposit->to, "who is paid")->required();
  add_shared_options(command, *deposit);

  auto withdraw = std::make_shared<TransferOptions>();
  withdraw->to = kWorldName;
  command = add_command(app, console, "withdraw", "money out, to @world", withdraw, run_transfer);
  command->add_option("-n,--name", withdraw->from, "who pays")->required();
  add_shared_options(command, *withdraw);
}

}  // namespace koshel::cli
