#pragma once
// What every command of the console shares: the global options, the exit codes, failures as values
// and the one shape of a command: `register_*` adds it with its options to its parent and leaves a
// run function in the Console, which main() calls after parsing. A run function never exits by
// itself.

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "platform/tls.hpp"

namespace koshel::cli {

// Numbers that scripts rely on (API.md).
enum class ExitCode {
  Done = 0,
  Refused = 1,      // by a business rule, or a check failed
  Usage = 2,        // wrong usage or config
  Unavailable = 3,  // nothing happened, retry
  Unknown = 4,      // ask again with the same key
};

struct Failure {
  Failure(ExitCode code_, std::string sentence_) : code(code_), sentence(std::move(sentence_)) {}
  Failure(
      const Error& error);  // NOLINT: implicit, so that KOSHEL_TRY may turn an Error into a Failure

  ExitCode code;
  std::string sentence;  // what is wrong and what to do, for stderr
};

template <class T>
using Outcome = boost::outcome_v2::basic_result<T, Failure, boost::outcome_v2::policy::terminate>;
using Finished = Outcome<ExitCode>;

enum class OutputFormat { Table, Json };

constexpr const char* kCaSetting = "--ca-file FILE or KOSHEL_CA_FILE";

struct Console {
  std::string server_option;         // --server or KOSHEL_SERVER; empty: see server_url()
  std::vector<std::string> configs;  // each --config FILE
  std::string token_file_option;     // --token-file
  std::string ca_file;               // --ca-file or KOSHEL_CA_FILE; empty: the system's CAs
  std::string token_of_environment;  // KOSHEL_TOKEN, taken out of the environment
  OutputFormat output = OutputFormat::Table;
  std::function<Finished()> run;  // of the command that was chosen

  bool is_json() const { return output == OutputFormat::Json; }
  // --server, else where the config's coordinator listens, else http://127.0.0.1:7400.
  Outcome<std::string> server_url() const;
  // How an https server is to be known.
  platform::TlsOptions tls() const { return {.ca_file = ca_file, .ca_setting = kCaSetting}; }
};

// Runs the whole program and returns its exit status.
int run_console(int argc, char** argv);

void register_users(CLI::App& app, Console& console);
void register_history(CLI::App& app, Console& console);
void register_import(CLI::App& user_command, Console& console);
void register_transfers(CLI::App& app, Console& console);
void register_shards(CLI::App& app, Console& console);
void register_rebalance(CLI::App& app, Console& console);
void register_rounds(CLI::App& app, Console& console);
void register_audit(CLI::App& app, Console& console);
void register_sessions(CLI::App& app, Console& console);
void register_access(CLI::App& app, Console& console);
void register_audit_log(CLI::App& app, Console& console);
void register_init(CLI::App& app, Console& console);
void register_doctor(CLI::App& app, Console& console);
void register_bench(CLI::App& app, Console& console);
void register_certs(CLI::App& app, Console& console);
void register_cluster(CLI::App& app, Console& console);

// A command under `parent` that runs `run(console, options)`; the caller adds its options to
// `options`.
template <class Options, class Run>
CLI::App* add_command(CLI::App& parent, Console& console, const std::string& name,
                      const std::string& description, std::shared_ptr<Options> options, Run run) {
  CLI::App* command = parent.add_subcommand(name, description);
  command->fallthrough();
  command->callback([&console, options, run] {
    console.run = [&console, options, run] { return run(console, *options); };
  });
  return command;
}

// What stands under a command's help: ways to call it, each with what it does if that is not plain.
void add_examples(CLI::App* command, const std::vector<std::string>& lines);

// A command that only groups others ("user", "cluster").
CLI::App* add_group(CLI::App& parent, const std::string& name, const std::string& description);

}  // namespace koshel::cli
