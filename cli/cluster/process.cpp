#include "cli/cluster/process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

extern char** environ;

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr std::size_t kTailLines = 15;

std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free, "written by a signal handler");

// What tells a process from a later one with the same pid: its start in clock ticks, and the boot.
struct Identity {
  std::string start_ticks;
  char state = 'X';
};

std::optional<Identity> identity_of(pid_t pid) {
  std::ifstream input("/proc/" + std::to_string(pid) + "/stat");
  std::string stat;
  std::getline(input, stat);
  const auto end_of_name = stat.rfind(')');  // the name may hold anything
  if (!input || end_of_name == std::string::npos) return std::nullopt;
  std::istringstream rest(stat.substr(end_of_name + 1));
  std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
  if (fields.size() < 20) return std::nullopt;
  return Identity{fields[19], fields[0][0]};
}

std::string boot_id() {
  std::ifstream input("/proc/sys/kernel/random/boot_id");
  std::string id;
  input >> id;
  return id;
}

Failure system_failure(const std::string& what) {
  return {ExitCode::Unavailable, what + ": " + std::strerror(errno)};
}

// Everything a child needs is made before fork(): after it only plain system calls are safe.
struct Launch {
  std::vector<char*> argv;
  std::vector<std::string> environment_texts;
  std::vector<char*> environment;
  int null_fd = -1;
  int log_fd = -1;
  const OsUser* user = nullptr;
};

Outcome<Launch> prepare_launch(const ProcessStart& start) {
  Launch launch;
  for (const auto& word : start.command) launch.argv.push_back(const_cast<char*>(word.c_str()));
  launch.argv.push_back(nullptr);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (text.starts_with("PG") || (start.user != nullptr && text.starts_with("HOME="))) continue;
    launch.environment_texts.emplace_back(text);
  }
  for (auto& text : launch.environment_texts) launch.environment.push_back(text.data());
  launch.environment.push_back(nullptr);
  launch.user = start.user;
  launch.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  launch.log_fd = open(start.log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (launch.null_fd < 0 || launch.log_fd < 0)
    return system_failure("cannot write " + start.log.string());
  return launch;
}

bool become(const OsUser& user) {
  return setgroups(user.groups.size(), user.groups.data()) == 0 && setgid(user.gid) == 0 &&
         setuid(user.uid) == 0;
}

// In the child. Returns only when something went wrong, with errno set.
void launch_here(const Launch& launch) {
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
  umask(077);
  if (launch.user != nullptr && (!become(*launch.user) || chdir("/") != 0)) return;
  if (dup2(launch.null_fd, 0) < 0 || dup2(launch.log_fd, 1) < 0 || dup2(launch.log_fd, 2) < 0)
    return;
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  execve(launch.argv[0], launch.argv.data(), launch.environment.data());
}

Outcome<pid_t> fork_and_run(const ProcessStart& start) {
  KOSHEL_TRY(auto launch, prepare_launch(start));
  int report[2];  // closed by a successful exec; else brings its errno
  if (pipe2(report, O_CLOEXEC) != 0) return system_failure("cannot start " + start.command[0]);
  const pid_t pid = fork();
  if (pid == 0) {
    launch_here(launch);
    const int fault = errno;
    [[maybe_unused]] const auto written = write(report[1], &fault, sizeof fault);
    _exit(127);
  }
  close(report[1]);
  close(launch.null_fd);
  close(launch.log_fd);
  if (pid < 0) return system_failure("cannot start " + start.command[0]);
  int fault = 0;
  const auto got = read(report[0], &fault, sizeof fault);
  close(report[0]);
  if (got == 0) return pid;
  waitpid(pid, nullptr, 0);
  errno = fault;
  return system_failure("cannot start " + start.command[0]);
}

void handle_interrupt(int) {
  g_interrupted = true;
}

}  // namespace

std::optional<OsUser> find_os_user(const std::string& name) {
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) return std::nullopt;
  OsUser user{name, entry->pw_uid, entry->pw_gid, std::vector<gid_t>(64)};
  int count = static_cast<int>(user.groups.size());
  if (getgrouplist(name.c_str(), user.gid, user.groups.data(), &count) < 0) count = 1;
  user.groups.resize(static_cast<std::size_t>(count));
  if (count == 1) user.groups[0] = user.gid;
  return user;
}

Outcome<pid_t> start_process(const ProcessStart& start) {
  KOSHEL_TRY(auto pid, fork_and_run(start));
  const auto identity = identity_of(pid);
  const fs::path fresh = start.pid_file.string() + ".new";
  std::ofstream(fresh) << pid << ' ' << (identity ? identity->start_ticks : "gone") << ' '
                       << boot_id() << '\n';
  std::error_code fault;
  fs::rename(fresh, start.pid_file, fault);
  if (fault) {
    kill(pid, SIGTERM);
    return Failure(ExitCode::Unavailable,
                   "cannot write " + start.pid_file.string() + ": " + fault.message());
  }
  return pid;
}

Outcome<int> run_program(const ProcessStart& start) {
  KOSHEL_TRY(auto pid, fork_and_run(start));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool can_reach(const OsUser& user, const fs::path& path) {
  const pid_t pid = fork();
  if (pid == 0) _exit(become(user) && access(path.c_str(), X_OK) == 0 ? 0 : 1);
  int status = 1;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && status == 0;
}

std::optional<pid_t> running_pid(const fs::path& pid_file) {
  std::ifstream input(pid_file);
  pid_t pid = 0;
  std::string start_ticks, boot;
  if (!(input >> pid >> start_ticks >> boot) || pid <= 1) return std::nullopt;
  waitpid(pid, nullptr, WNOHANG);  // it may be our own child that has ended
  const auto identity = identity_of(pid);
  if (!identity || identity->start_ticks != start_ticks || boot != boot_id()) return std::nullopt;
  if (identity->state == 'Z' || identity->state == 'X') return std::nullopt;
  return pid;
}

void stop_process(const fs::path& pid_file, const ProcessStop& stop) {
  const auto started = std::chrono::steady_clock::now();
  bool is_asked = false;
  bool is_forced = false;
  while (const auto pid = running_pid(pid_file)) {
    if (!is_asked) {
      kill(*pid, stop.signal);
      kill(*pid, SIGCONT);  // a process that was halted could not hear us
      is_asked = true;
    }
    if (!is_forced && std::chrono::steady_clock::now() - started > stop.patience) {
      kill(*pid, stop.last_signal);
      is_forced = true;
    }
    std::this_thread::sleep_for(kPoll);
  }
  std::error_code ignored;
  fs::remove(pid_file, ignored);
}

std::string log_tail(const fs::path& log, std::uintmax_t from) {
  std::ifstream input(log, std::ios::binary);
  input.seekg(static_cast<std::streamoff>(from));
  std::vector<std::string> lines;
  for (std::string line; std::getline(input, line);) {
    if (lines.size() == kTailLines) lines.erase(lines.begin());
    std::replace(line.begin(), line.end(), '\t', ' ');  // PostgreSQL's continued lines
    lines.push_back(std::move(line));
  }
  std::string text;
  for (const auto& line : lines) text += "\n    " + line;
  return text;
}

void watch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = handle_interrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool is_interrupted() {
  return g_interrupted;
}

}  // namespace koshel::cli
