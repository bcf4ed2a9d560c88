#pragma once
// Background processes of the embedded cluster: started in a session of their own, so they outlive
// the console, and known by a pid file that also holds the process's start time, so that a pid that
// came to be somebody else's is never taken for ours, and never signalled.

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/console.hpp"

namespace koshel::cli {

// Whom a process runs as. PostgreSQL refuses to run as root.
struct OsUser {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};
std::optional<OsUser> find_os_user(const std::string& name);

struct ProcessStart {
  std::vector<std::string> command;  // the first is the program's full path
  std::filesystem::path log;         // stdout and stderr are appended here
  std::filesystem::path pid_file;
  const OsUser* user = nullptr;  // null: as ourselves
};

// Returns as soon as the program runs; the process goes on in the background.
Outcome<pid_t> start_process(const ProcessStart& start);

// Runs a program to its end and returns its exit status (128 + signal when it was killed).
Outcome<int> run_program(const ProcessStart& start);

// True if `user` may pass through every folder down to `path`.
bool can_reach(const OsUser& user, const std::filesystem::path& path);

// The process of the pid file if it is alive (a zombie is not).
std::optional<pid_t> running_pid(const std::filesystem::path& pid_file);

struct ProcessStop {
  int signal = 0;       // the polite one
  int last_signal = 0;  // after `patience`
  std::chrono::seconds patience{20};
};
// Signals and waits until the process is gone; nothing to do if it is not running.
void stop_process(const std::filesystem::path& pid_file, const ProcessStop& stop);

// The end of a log for people, beginning at byte `from`.
std::string log_tail(const std::filesystem::path& log, std::uintmax_t from);

// Set by SIGINT and SIGTERM once watch_interrupts() was called: waits are to end.
void watch_interrupts();
bool is_interrupted();

}  // namespace koshel::cli
