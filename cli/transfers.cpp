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
    const bool is_told = reply && reply.value().is_success();
    const auto balance = is_told ? text_of(reply.value().json, "balance") : "?";
    if (balance.empty()) continue;  // it is not ours to see
    if (!line.empty()) line += ", ";
    line += name + " " + balance;
  }
  return line;
}

// "before     anna 90.00": what is told, under each other.
void print_step(std::string word, const std::string& what) {
  word.resize(std::max(word.size(), std::size_t{10}), ' ');
  print_line(word + " " + what);
}

Finished report(const Console& console, ApiClient& client, const TransferOptions& options,
                const ApiReply& reply) {
  if (console.is_json()) {
    print_json(reply);
  } else if (reply.is_success()) {
    print_step(text_of(reply.json, "status"),
               text_of(reply.json, "amount") + " " + text_of(reply.json, "currency") + " from " +
                   options.from + " to " + options.to + ", transfer " + text_of(reply.json, "id") +
                   (reply.is_replay ? " (done before with this key)" : ""));
  } else {
    print_step("refused", text_of(reply.json, "code"));
  }
  if (!console.is_json()) {
    print_step("after", balances_of(client, options, milliseconds(5'000)));
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
    print_step("before", balances_of(client, options, milliseconds(500)));
    print_step("key", options.key);  // whoever is interrupted now needs it
    std::fflush(stdout);
  }
  const ApiCall call{.method = "POST",
                     .path = "/v1/transfers",
                     .body = body,
                     .key = options.key,
                     .timeout = std::max(patience, milliseconds(1'000))};
  auto reply = client.call_until_answered(call, patience);
  if (!reply) {
    const Failure failure = reply.error();
    if (!console.is_json()) {
      std::printf("%s\n", failure.code == ExitCode::Unknown ? "unknown" : "not done");
    }
    return failure;
  }
  return report(console, client, options, reply.value());
}

void add_shared_options(CLI::App* command, TransferOptions& options) {
  command
      ->add_option("AMOUNT", options.amount,
                   "How much, with at most as many decimals as the currency has: 10.50.")
      ->required()
      ->type_name("");
  command
      ->add_option("--key", options.key,
                   "Idempotency key, 1 to 255 visible ASCII characters (default a random one): "
                   "however often one key is sent, the money moves once.")
      ->type_name("KEY");
  command
      ->add_option("--metadata", options.metadata,
                   "A JSON object to keep with the transfer (default none).")
      ->type_name("JSON");
  command
      ->add_option("--patience", options.patience_s,
                   "Seconds to go on trying with the same key (default 15).")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 3600.0).description(""));
}

}  // namespace

void register_transfers(CLI::App& app, Console& console) {
  auto transfer = std::make_shared<TransferOptions>();
  auto* command =
      add_command(app, console, "transfer",
                  "Moves money from one user to another; prints balances before and after.",
                  transfer, run_transfer);
  command->add_option("-f,--from", transfer->from, "Who pays.")->required()->type_name("NAME");
  command->add_option("-t,--to", transfer->to, "Who is paid.")->required()->type_name("NAME");
  add_shared_options(command, *transfer);
  add_examples(command, {"koshel transfer -f anna -t boris 10.50",
                         "koshel transfer -f anna -t boris 10.50 --key invoice-17",
                         R"(koshel transfer -f anna -t boris 5 --metadata '{"note":"rent"}')"});

  auto deposit = std::make_shared<TransferOptions>();
  deposit->from = kWorldName;
  command = add_command(app, console, "deposit", "Brings money in: from @world to a user.", deposit,
                        run_transfer);
  command->add_option("-n,--name", deposit->to, "Who is paid.")->required()->type_name("NAME");
  add_shared_options(command, *deposit);
  add_examples(command,
               {"koshel deposit -n anna 100", "koshel deposit -n anna 100 --key cash-2024-05-01"});

  auto withdraw = std::make_shared<TransferOptions>();
  withdraw->to = kWorldName;
  command = add_command(app, console, "withdraw", "Takes money out: from a user to @world.",
                        withdraw, run_transfer);
  command->add_option("-n,--name", withdraw->from, "Who pays.")->required()->type_name("NAME");
  add_shared_options(command, *withdraw);
  add_examples(command, {"koshel withdraw -n anna 25"});
}

}  // namespace koshel::cli
