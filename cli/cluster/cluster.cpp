#include "cli/cluster/cluster.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstring>
#include <set>
#include <thread>

#include "cli/api_client.hpp"
#include "cli/cluster/certificates.hpp"
#include "cli/cluster/daemon_config.hpp"
#include "cli/init.hpp"
#include "cli/output.hpp"
#include "cli/private_file.hpp"
#include "platform/postgres.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kPoll{50};
constexpr std::chrono::seconds kServeWait{60};
constexpr std::chrono::seconds kRecoveryWait{300};  // a database may have much to replay
constexpr std::chrono::seconds kNewsInterval{5};
constexpr milliseconds kStartAgainPause{300};
constexpr std::chrono::seconds kLockWait{60};
constexpr std::size_t kPreparedAtOnce = 8;
constexpr milliseconds kRegisterPatience{30'000};

ProcessStop stop_of(const ProcessSpec& spec) {
  if (spec.role == ProcessRole::Postgres) return postgres_stop();
  return {SIGTERM, SIGKILL, std::chrono::seconds(20)};
}

Failure interrupted() {
  return {ExitCode::Unavailable, "interrupted"};
}

}  // namespace

Outcome<ClusterLock> ClusterLock::take(const fs::path& dir) {
  const int fd = ::open((dir / "cluster.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) {
    return Failure(ExitCode::Usage,
                   "cannot write in " + dir.string() + ": " + std::strerror(errno));
  }
  ClusterLock lock(fd);
  const auto until = steady_clock::now() + kLockWait;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (is_interrupted()) return interrupted();
    if (steady_clock::now() > until) {
      return Failure(ExitCode::Unavailable, "another `koshel cluster` command is at work in " +
                                                dir.string() + "; try again later");
    }
    std::this_thread::sleep_for(kPoll);
  }
  return lock;
}

ClusterLock::~ClusterLock() {
  if (fd_ >= 0) close(fd_);
}

Outcome<Cluster> Cluster::open(const fs::path& dir) {
  KOSHEL_TRY(auto state, ClusterState::load(dir));
  return Cluster(std::move(state));
}

Outcome<Cluster> Cluster::create(const fs::path& dir, const ClusterPlan& plan) {
  KOSHEL_TRY(auto programs, PostgresPrograms::find());
  ClusterState state;
  state.dir = dir;
  state.auth = plan.auth;
  state.is_tls = plan.is_tls;
  state.is_admin_awaited = plan.auth == AuthMode::Password;
  std::error_code fault;
  fs::create_directories(dir / "log", fault);
  fs::create_directories(dir / "run", fault);
  if (fault)
    return Failure(ExitCode::Usage, "cannot make " + dir.string() + ": " + fault.message());
  auto& specs = state.processes;
  const auto add = [&](ProcessSpec spec) -> Outcome<void> {
    if (spec.port == 0) {
      KOSHEL_TRY(auto port, choose_port(specs));
      spec.port = port;
    }
    specs.push_back(std::move(spec));
    return success();
  };
  KOSHEL_TRY(add({.name = "directory"}));
  for (int i = 1; i <= plan.shards; ++i) {
    const std::string number = std::to_string(i);
    KOSHEL_TRY(add({.name = "shard-" + number, .shard = "shard-" + number}));
  }
  for (int i = 1; i <= plan.shards; ++i) {
    const std::string number = std::to_string(i);
    KOSHEL_TRY(add({.name = "agent-" + number,
                    .role = ProcessRole::ShardAgent,
                    .shard = "shard-" + number,
                    .is_to_be_registered = true}));
  }
  for (int i = 1; i <= plan.coordinators; ++i) {
    const int port = plan.port == 0 ? 0 : plan.port + i - 1;
    if (port > 65'535 || (port != 0 && !is_port_free(static_cast<std::uint16_t>(port)))) {
      return Failure(ExitCode::Usage,
                     "port " + std::to_string(port) +
                         " on 127.0.0.1 is taken; give another with --port (0: any free one)");
    }
    KOSHEL_TRY(add({.name = "coordinator-" + std::to_string(i),
                    .role = ProcessRole::Coordinator,
                    .port = static_cast<std::uint16_t>(port)}));
  }
  KOSHEL_TRY(auto root, programs.make_root(dir));
  state.postgres_root = root;
  KOSHEL_TRY(state.save());
  return Cluster(std::move(state));
}

bool Cluster::is_running(const ProcessSpec& spec) const {
  return running_pid(state_.pid_file_of(spec)).has_value();
}

std::size_t Cluster::running_count() const {
  return static_cast<std::size_t>(
      std::count_if(state_.processes.begin(), state_.processes.end(),
                    [&](const auto& spec) { return is_running(spec); }));
}

Outcome<std::optional<FirstAdmin>> Cluster::up() {
  started_.clear();
  auto done = bring_into_service();
  if (done) return done;
  const auto dead = std::find_if(started_.begin(), started_.end(),
                                 [&](const auto& spec) { return !is_running(spec); });
  if (dead != started_.end()) {
    done = Failure(ExitCode::Unavailable, dead->name + " ended" + log_says(*dead));
  }
  if (!started_.empty()) say("stopping what was started");
  stop_in_order(started_);
  return done;
}

std::string Cluster::log_says(const ProcessSpec& spec) const {
  return "; its log says:" + log_tail(state_.log_of(spec), log_from_.at(spec.name));
}

Outcome<void> Cluster::start_all(std::vector<ProcessSpec> specs) {
  KOSHEL_TRY(start_role(specs, ProcessRole::Postgres));
  KOSHEL_TRY(initialise_shards(specs));
  KOSHEL_TRY(start_role(specs, ProcessRole::ShardAgent));
  return start_role(specs, ProcessRole::Coordinator);
}

Outcome<void> Cluster::start_role(const std::vector<ProcessSpec>& specs, ProcessRole role) {
  std::vector<ProcessSpec> fresh;
  for (const auto& spec : specs) {
    if (spec.role == role && !is_running(spec)) fresh.push_back(spec);
  }
  // An agent is asked as if by a coordinator, which must have its certificate by then.
  KOSHEL_TRY(ensure_certificate(state_, state_.coordinator()));
  for (const auto& spec : fresh) {
    KOSHEL_TRY(ensure_certificate(state_, spec));
  }
  KOSHEL_TRY(prepare_all(fresh));
  for (const auto& spec : fresh) {
    if (is_interrupted()) return interrupted();
    say("starting " + spec.name);
    KOSHEL_TRY(start(spec));
  }
  for (const auto& spec : fresh) {
    KOSHEL_TRY(wait_until_serving(spec));
  }
  return success();
}

Outcome<void> Cluster::find_programs() {
  if (postgres_) return success();
  KOSHEL_TRY(auto programs, PostgresPrograms::find());
  postgres_ = std::move(programs);
  return success();
}

// A few side by side: making a database server is mostly waiting for the disk.
Outcome<void> Cluster::prepare_all(const std::vector<ProcessSpec>& specs) {
  KOSHEL_TRY(find_programs());
  std::vector<std::optional<Failure>> failures(specs.size());
  for (std::size_t first = 0; first < specs.size(); first += kPreparedAtOnce) {
    if (is_interrupted()) return interrupted();
    std::vector<std::thread> preparing;
    for (std::size_t i = first; i < std::min(first + kPreparedAtOnce, specs.size()); ++i) {
      preparing.emplace_back([&, i] {
        if (auto done = prepare(specs[i]); !done) failures[i] = std::move(done.error());
      });
    }
    for (auto& thread : preparing) thread.join();
    for (auto& failure : failures) {
      if (failure) return std::move(*failure);
    }
  }
  return success();
}

// What must be there before the process can be started: a data directory, a config file.
Outcome<void> Cluster::prepare(const ProcessSpec& spec) {
  if (spec.role != ProcessRole::Postgres) return write_config(spec);
  KOSHEL_TRY(find_programs());
  return postgres_->create(state_, spec);
}

Outcome<ProcessStart> Cluster::start_of(const ProcessSpec& spec) const {
  if (spec.role == ProcessRole::Postgres) return postgres_->start_of(state_, spec);
  const char* program =
      spec.role == ProcessRole::ShardAgent ? "koshel-shard-agent" : "koshel-coordinator";
  std::error_code fault;
  const fs::path path = fs::read_symlink("/proc/self/exe", fault).parent_path() / program;
  if (fault || !fs::exists(path)) {
    return Failure(ExitCode::Usage, path.string() + " is not there; build it with `./dev build`");
  }
  return ProcessStart{{path.string(), "--config", state_.config_of(spec).string()},
                      state_.log_of(spec),
                      state_.pid_file_of(spec)};
}

Outcome<void> Cluster::write_config(const ProcessSpec& spec) const {
  const fs::path file = state_.config_of(spec);
  if (fs::exists(file)) return success();  // it may have been changed by hand since
  return write_private_file(file, daemon_config(state_, spec));
}

Outcome<void> Cluster::start(const ProcessSpec& spec) {
  KOSHEL_TRY(auto start, start_of(spec));
  if (spec.role == ProcessRole::Postgres) postgres_->remove_stale_lock(state_, spec);
  std::error_code fault;
  const auto log_size = fs::file_size(start.log, fault);
  log_from_[spec.name] = fault ? 0 : log_size;
  KOSHEL_TRY(start_process(start));
  started_.push_back(spec);
  return success();
}

// A server that was killed leaves children for a moment, and a new one will not start beside them.
bool Cluster::is_worth_starting_again(const ProcessSpec& spec) const {
  if (spec.role != ProcessRole::Postgres) return false;
  const auto said = log_tail(state_.log_of(spec), log_from_.at(spec.name));
  return said.find("still in use") != std::string::npos;
}

// One question to the process; a Failure while it does not serve.
Outcome<void> Cluster::serves(const ProcessSpec& spec) const {
  if (spec.role == ProcessRole::Postgres) {
    platform::DatabaseConfig server;
    server.port = std::to_string(spec.port);
    server.database = "postgres";
    server.connect_timeout = milliseconds(2'000);
    KOSHEL_TRY(platform::connect(server, "koshel-cluster"));
    return success();
  }
  KOSHEL_TRY(auto client, ApiClient::open(state_.url_of(spec), tls_to(state_, spec)));
  KOSHEL_TRY(client.call({.path = "/readyz", .timeout = milliseconds(2'000)}));
  return success();
}

Outcome<void> Cluster::wait_until_serving(const ProcessSpec& spec) {
  const Duration patience =
      spec.role == ProcessRole::Postgres ? Duration(kRecoveryWait) : Duration(kServeWait);
  const auto started = steady_clock::now();
  for (auto told = started;;) {
    if (is_interrupted()) return interrupted();
    const auto served = serves(spec);
    const auto now = steady_clock::now();
    const bool is_over = now - started > patience;
    // Whoever else sits on the port could answer too, so the process itself must live.
    if (is_running(spec)) {
      if (served) return success();
    } else if (!is_over && is_worth_starting_again(spec)) {
      std::this_thread::sleep_for(kStartAgainPause);
      KOSHEL_TRY(start(spec));
    } else {
      return Failure(ExitCode::Unavailable,
                     spec.name + " ended while it was starting" + log_says(spec));
    }
    if (is_over) {
      return Failure(ExitCode::Unavailable, spec.name + " does not serve after " +
                                                format_duration(now - started) + " (" +
                                                served.error().sentence + ")" + log_says(spec));
    }
    if (now - told > kNewsInterval) {
      told = now;
      say("waiting for " + spec.name + ", " + format_duration(now - started) + " so far");
    }
    std::this_thread::sleep_for(kPoll);
  }
}

Outcome<void> Cluster::initialise_shards(std::vector<ProcessSpec>& specs) {
  std::set<std::string> removed;
  for (const auto& spec : specs) {
    if (spec.role != ProcessRole::ShardAgent || is_running(spec)) continue;
    KOSHEL_TRY(write_config(spec));
    const auto config = platform::load_config(state_.config_of(spec).string());
    if (!config) return Failure(ExitCode::Usage, config.error().context);
    KOSHEL_TRY(const bool is_removed, is_of_removed_shard(config.value()));
    if (is_removed) {
      removed.insert(spec.shard);
    } else {
      KOSHEL_TRY(initialise(config.value(), [](std::string_view) {}));
    }
  }
  std::erase_if(specs, [&](const auto& spec) { return removed.contains(spec.shard); });
  for (const auto& shard : removed) {
    KOSHEL_TRY(forget_shard(shard));
  }
  return success();
}

// Its data stay where they are, until the cluster is destroyed.
Outcome<void> Cluster::forget_shard(const std::string& shard) {
  say(shard + " was removed from the cluster: its processes are not started any more");
  const auto is_its = [&](const auto& spec) { return spec.shard == shard; };
  for (const auto& spec : state_.processes) {
    if (is_its(spec)) stop(spec);
  }
  std::erase_if(state_.processes, is_its);
  return state_.save();
}

Outcome<std::optional<FirstAdmin>> Cluster::bring_into_service() {
  KOSHEL_TRY(start_all(state_.processes));
  if (!state_.is_admin_awaited) {
    KOSHEL_TRY(auto client, ApiClient::open(state_.url(), tls_to(state_, state_.coordinator())));
    KOSHEL_TRY(register_shards(client));
    return std::optional<FirstAdmin>();
  }
  KOSHEL_TRY(auto admin, make_first_admin(state_));
  KOSHEL_TRY(auto client, log_in(state_, admin));
  KOSHEL_TRY(register_shards(client));
  KOSHEL_TRY(client.call({.method = "POST", .path = "/v1/logout"}));
  return std::optional(std::move(admin));
}

Outcome<void> Cluster::mark_admin_told() {
  state_.is_admin_awaited = false;
  return state_.save();
}

Outcome<void> Cluster::register_shards(ApiClient& client) {
  for (auto& spec : state_.processes) {
    if (!spec.is_to_be_registered) continue;
    const json::object body{{"name", spec.shard}, {"agent", state_.url_of(spec)}};
    // The name can be taken once, so repeating does no harm.
    KOSHEL_TRY(auto reply,
               client.call_until_answered(
                   {.method = "POST", .path = "/v1/admin/shards", .body = json::serialize(body)},
                   kRegisterPatience));
    if (!reply.is_success() && code_of(reply) != "SHARD_ALREADY_EXISTS") return failure_of(reply);
    spec.is_to_be_registered = false;
  }
  return state_.save();
}

Outcome<ProcessSpec> Cluster::add_shard(std::string name) {
  auto next = state_.count(ProcessRole::ShardAgent) + 1;
  const auto is_left = [&](const std::string& shard) {  // of one that was removed
    return fs::exists(state_.data_of({.name = shard, .shard = shard}));
  };
  const auto is_taken = [&](const char* prefix) {
    const auto taken = prefix + std::to_string(next);
    return state_.find(taken) != nullptr || is_left(taken);
  };
  while (is_taken("agent-") || (name.empty() && is_taken("shard-"))) ++next;
  const std::string number = std::to_string(next);
  if (name.empty()) name = "shard-" + number;
  if (state_.find(name) != nullptr || name == "agent-" + number) {
    return Failure(ExitCode::Usage,
                   "the cluster has a process named " + name + " already; choose another name");
  }
  if (is_left(name)) {
    return Failure(ExitCode::Usage, "the data of a shard " + name +
                                        " that was removed are still there; choose another name");
  }
  const ClusterState before = state_;
  ProcessSpec database{.name = name, .shard = name};
  KOSHEL_TRY(auto database_port, choose_port(state_.processes));
  database.port = database_port;
  state_.processes.push_back(database);
  ProcessSpec agent{.name = "agent-" + number, .role = ProcessRole::ShardAgent, .shard = name};
  KOSHEL_TRY(auto agent_port, choose_port(state_.processes));
  agent.port = agent_port;
  state_.processes.push_back(agent);
  KOSHEL_TRY(state_.save());
  started_.clear();
  const auto done = start_all({database, agent});
  if (done) return agent;
  stop_in_order(started_);
  std::error_code ignored;
  fs::remove_all(state_.data_of(database), ignored);
  fs::remove(state_.config_of(agent), ignored);
  fs::remove(state_.certs() / (agent.name + ".pem"), ignored);
  fs::remove(state_.certs() / (agent.name + ".key"), ignored);
  state_ = before;
  KOSHEL_TRY(state_.save());
  return done.error();
}

Outcome<void> Cluster::restart(const ProcessSpec& spec) {
  stop(spec);
  KOSHEL_TRY(prepare(spec));
  say("starting " + spec.name);
  KOSHEL_TRY(start(spec));
  return wait_until_serving(spec);
}

void Cluster::stop(const ProcessSpec& spec) const {
  stop_process(state_.pid_file_of(spec), stop_of(spec));
}

void Cluster::stop_in_order(const std::vector<ProcessSpec>& specs) const {
  for (const auto role :
       {ProcessRole::Coordinator, ProcessRole::ShardAgent, ProcessRole::Postgres}) {
    std::vector<std::thread> stopping;  // side by side: each may take its grace
    for (const auto& spec : specs) {
      if (spec.role != role || !is_running(spec)) continue;
      say("stopping " + spec.name);
      stopping.emplace_back([this, spec] { stop(spec); });
    }
    for (auto& thread : stopping) thread.join();
  }
}

void Cluster::down() {
  stop_in_order(state_.processes);
}

Outcome<void> Cluster::destroy() {
  down();
  std::error_code fault;
  fs::remove_all(state_.postgres_root, fault);
  if (!fault) fs::remove_all(state_.dir, fault);
  if (fault)
    return Failure(ExitCode::Usage,
                   "cannot delete " + state_.dir.string() + ": " + fault.message());
  return success();
}

}  // namespace koshel::cli
