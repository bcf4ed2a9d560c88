#include "cli/cluster/postgres_server.hpp"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>

#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDebianPrograms = "/usr/lib/postgresql";

// Durable, and sized for a machine that also runs everything else.
constexpr const char* kSettings = R"(
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
max_prepared_transactions = 128
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
jit = off
log_line_prefix = '%m [%p] '
logging_collector = off
)";

bool has_programs(const fs::path& bin) {
  return access((bin / "initdb").c_str(), X_OK) == 0 &&
         access((bin / "postgres").c_str(), X_OK) == 0;
}

std::string first_line_of(const char* command) {
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return {};
  char line[1024] = "";
  const bool is_read = std::fgets(line, sizeof line, pipe) != nullptr;
  pclose(pipe);
  if (!is_read) return {};
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

fs::path newest_debian_bin() {
  std::error_code ignored;
  int newest = 0;
  for (const auto& entry : fs::directory_iterator(kDebianPrograms, ignored)) {
    const int version = std::atoi(entry.path().filename().c_str());
    if (version > newest && has_programs(entry.path() / "bin")) newest = version;
  }
  return newest == 0 ? fs::path() : fs::path(kDebianPrograms) / std::to_string(newest) / "bin";
}

// FNV-1a: the same folder must give the same name in every run.
std::string hash_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(hash));
  return hex;
}

Failure failure_at(const fs::path& path) {
  return {ExitCode::Usage, "cannot make " + path.string() + ": " + std::strerror(errno)};
}

// A folder that only `user` may enter. One that is there must be that user's own already: names
// under /var/tmp can be taken by anybody.
Outcome<void> make_private_folder(const fs::path& path, const OsUser* user) {
  const uid_t owner = user == nullptr ? geteuid() : user->uid;
  if (mkdir(path.c_str(), 0700) == 0) {
    if (user != nullptr && chown(path.c_str(), user->uid, user->gid) != 0) return failure_at(path);
    return success();
  }
  if (errno != EEXIST) return failure_at(path);
  struct stat found = {};
  if (lstat(path.c_str(), &found) != 0) return failure_at(path);
  if (!S_ISDIR(found.st_mode) || found.st_uid != owner) {
    return Failure(ExitCode::Usage,
                   path.string() + " belongs to somebody else; remove it or choose another --dir");
  }
  return success();
}

}  // namespace

Outcome<PostgresPrograms> PostgresPrograms::find() {
  PostgresPrograms programs;
  programs.bin_ = first_line_of("pg_config --bindir 2>/dev/null");
  if (!has_programs(programs.bin_)) programs.bin_ = newest_debian_bin();
  if (programs.bin_.empty()) {
    return Failure(ExitCode::Usage,
                   "PostgreSQL's server programs were not found (initdb, postgres); install "
                   "them, for example with `apt-get install postgresql`");
  }
  if (geteuid() != 0) return programs;
  programs.user_ = find_os_user("postgres");
  if (!programs.user_) programs.user_ = find_os_user("nobody");
  if (!programs.user_) {
    return Failure(ExitCode::Usage,
                   "PostgreSQL refuses to run as root, and there is neither a user "
                   "`postgres` nor `nobody`; run this as an ordinary user");
  }
  return programs;
}

Outcome<fs::path> PostgresPrograms::make_root(const fs::path& dir) const {
  const OsUser* user = user_ ? &*user_ : nullptr;
  const fs::path inside = dir / "postgres";
  if (user == nullptr || can_reach(*user, dir)) {
    KOSHEL_TRY(make_private_folder(inside, user));
    return inside;
  }
  const fs::path outside = fs::path("/var/tmp") / ("koshel-" + hash_of(dir.string()));
  KOSHEL_TRY(make_private_folder(outside, user));
  std::error_code fault;
  if (!fs::is_symlink(inside)) fs::create_directory_symlink(outside, inside, fault);
  if (fault)
    return Failure(ExitCode::Usage, "cannot link " + inside.string() + ": " + fault.message());
  say("user " + user->name + " cannot enter " + dir.string() + ": the databases' files are in " +
      outside.string() + ", linked from " + inside.string());
  return outside;
}

fs::path PostgresPrograms::bin_for(const fs::path& data) const {
  // Only the data's owner may look into it, and as root we may too.
  std::ifstream input(data / "PG_VERSION");
  std::string version;
  if (!(input >> version)) return bin_;
  const fs::path own = fs::path(kDebianPrograms) / version / "bin";
  return has_programs(own) ? own : bin_;
}

ProcessStart PostgresPrograms::command(const ClusterState& state, const ProcessSpec& spec,
                                       std::vector<std::string> words) const {
  return {std::move(words), state.log_of(spec), state.pid_file_of(spec), user_ ? &*user_ : nullptr};
}

Outcome<void> PostgresPrograms::create(const ClusterState& state, const ProcessSpec& spec) const {
  const fs::path data = state.data_of(spec);
  if (fs::exists(data / "PG_VERSION")) return success();
  // Made beside its place and renamed when complete: an interrupted initdb leaves nothing half
  // done.
  const fs::path fresh = data.string() + ".new";
  std::error_code fault;
  fs::remove_all(fresh, fault);
  say("creating database server " + spec.name);
  const auto log_size = fs::file_size(state.log_of(spec), fault);
  KOSHEL_TRY(auto status,
             run_program(command(state, spec,
                                 {(bin_ / "initdb").string(), "--pgdata=" + fresh.string(),
                                  "--username=koshel", "--auth=trust", "--encoding=UTF8",
                                  "--locale=C.UTF-8", "--data-checksums", "--no-instructions"})));
  if (status != 0) {
    return Failure(ExitCode::Unavailable, "initdb failed for " + spec.name +
                                              log_tail(state.log_of(spec), fault ? 0 : log_size));
  }
  KOSHEL_TRY(write_settings(state, spec, fresh));
  fs::rename(fresh, data, fault);
  if (fault)
    return Failure(ExitCode::Unavailable, "cannot make " + data.string() + ": " + fault.message());
  return success();
}

Outcome<void> PostgresPrograms::write_settings(const ClusterState& state, const ProcessSpec& spec,
                                               const fs::path& data) const {
  // The server itself says whether it was built with lz4.
  ProcessStart probe = command(state, spec,
                               {(bin_ / "postgres").string(), "-D", data.string(), "-c",
                                "wal_compression=lz4", "-C", "wal_compression"});
  probe.log = "/dev/null";
  KOSHEL_TRY(auto has_no_lz4, run_program(probe));
  std::ofstream output(data / "postgresql.conf", std::ios::app);
  output << kSettings << "port = " << spec.port << "\n";
  if (has_no_lz4 == 0) output << "wal_compression = lz4\n";
  output.close();
  if (!output) return failure_at(data / "postgresql.conf");
  return success();
}

void PostgresPrograms::remove_stale_lock(const ClusterState& state, const ProcessSpec& spec) const {
  const fs::path data = state.data_of(spec);
  const fs::path lock = data / "postmaster.pid";
  std::string pid, command_line;
  if (!(std::ifstream(lock) >> pid)) return;
  std::getline(std::ifstream("/proc/" + pid + "/cmdline"), command_line);  // words end in '\0'
  const bool is_alive = command_line.find(data.string() + '\0') != std::string::npos;
  std::error_code ignored;
  if (!is_alive) fs::remove(lock, ignored);
}

ProcessStart PostgresPrograms::start_of(const ClusterState& state, const ProcessSpec& spec) const {
  const fs::path data = state.data_of(spec);
  return command(state, spec, {(bin_for(data) / "postgres").string(), "-D", data.string()});
}

ProcessStop postgres_stop() {
  return {SIGINT, SIGQUIT, std::chrono::seconds(60)};
}

}  // namespace koshel::cli
