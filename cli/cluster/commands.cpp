// cluster up / add-shard / status / restart / down / destroy.

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>

#include "base/name.hpp"
#include "cli/cluster/cluster.hpp"
#include "cli/output.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kDefaultDir = "var/cluster";
constexpr const char* kDirHelp = "The cluster's folder (default var/cluster).";

struct ClusterOptions {
  std::string dir = kDefaultDir;
  std::string name;
};

struct UpOptions : ClusterOptions {
  std::optional<int> shards, coordinators, port;
  std::optional<AuthMode> auth;
  bool is_tls = false;
};

Outcome<fs::path> folder_of(const ClusterOptions& options) {
  std::error_code fault;
  auto dir = fs::weakly_canonical(options.dir, fault);
  if (fault) return Failure(ExitCode::Usage, "--dir " + options.dir + ": " + fault.message());
  return fs::absolute(dir);
}

std::string state_word(const Cluster& cluster) {
  const auto running = cluster.running_count();
  if (running == 0) return "stopped";
  return running == cluster.state().processes.size() ? "running" : "degraded";
}

json::object status_json(const Cluster& cluster) {
  json::array processes;
  for (const auto& spec : cluster.state().processes) {
    const auto pid = running_pid(cluster.state().pid_file_of(spec));
    json::object process{
        {"name", spec.name}, {"role", to_string(spec.role)}, {"pid", nullptr}, {"port", spec.port}};
    if (pid) process["pid"] = *pid;
    if (spec.role == ProcessRole::Postgres) {
      process["dsn"] = spec.dsn();
    } else {
      process["url"] = cluster.state().url_of(spec);
    }
    processes.push_back(std::move(process));
  }
  json::object status{{"state", state_word(cluster)},
                      {"url", cluster.state().url()},
                      {"processes", std::move(processes)}};
  if (cluster.state().is_tls) status["ca_file"] = cluster.state().ca_file();
  return status;
}

void print_status(const Console& console, const Cluster& cluster,
                  const std::optional<FirstAdmin>& admin = std::nullopt) {
  if (console.is_json()) {
    auto status = status_json(cluster);
    if (admin) status["admin"] = {{"name", admin->name}, {"password", admin->password}};
    print_line(json::serialize(status));
    return;
  }
  Table table(
      {{"name"}, {"role"}, {"pid", Table::Align::Right}, {"port", Table::Align::Right}, {"where"}});
  for (const auto& spec : cluster.state().processes) {
    const auto pid = running_pid(cluster.state().pid_file_of(spec));
    table.add({spec.name, std::string(to_string(spec.role)), pid ? std::to_string(*pid) : "dead",
               std::to_string(spec.port),
               spec.role == ProcessRole::Postgres ? spec.dsn() : cluster.state().url_of(spec)});
  }
  table.print();
  print_line(state_word(cluster) + ": " + cluster.state().url());
  if (cluster.state().is_tls) print_line("CA file: " + cluster.state().ca_file());
  if (!admin) return;
  print_line("admin name: " + admin->name);
  print_line("admin password: " + admin->password);
}

// With which the console reaches the cluster.
std::string server_options(const ClusterState& state) {
  return " --server " + state.url() + (state.is_tls ? " --ca-file " + state.ca_file() : "");
}

// What was asked for explicitly must be what is there: `up` changes no cluster.
Outcome<void> check_same(const Cluster& cluster, const UpOptions& options) {
  const auto& state = cluster.state();
  const auto differs = [](const std::optional<int>& asked, std::size_t there) {
    return asked && *asked != 0 && static_cast<std::size_t>(*asked) != there;
  };
  const std::string place = "the cluster in " + state.dir.string() + " has ";
  if (differs(options.shards, state.count(ProcessRole::ShardAgent))) {
    return Failure(ExitCode::Usage, place + std::to_string(state.count(ProcessRole::ShardAgent)) +
                                        " shards; more are added with `koshel cluster add-shard`");
  }
  if (differs(options.coordinators, state.count(ProcessRole::Coordinator))) {
    return Failure(ExitCode::Usage,
                   place + std::to_string(state.count(ProcessRole::Coordinator)) +
                       " coordinator(s); choose another --dir, or destroy it first");
  }
  if (options.port && *options.port != 0 && *options.port != state.coordinator().port) {
    return Failure(ExitCode::Usage,
                   place + state.url() + "; choose another --dir, or destroy it first");
  }
  if (options.auth && *options.auth != state.auth) {
    return Failure(ExitCode::Usage,
                   place + "--auth " + std::string(to_string(state.auth)) +
                       "; choose another --dir, destroy it first, or change `auth.mode` in its "
                       "coordinators' configs by hand");
  }
  if (options.is_tls && !state.is_tls) {
    return Failure(ExitCode::Usage, place + "no TLS; choose another --dir, or destroy it first");
  }
  return success();
}

Outcome<Cluster> open_or_create(const fs::path& dir, const UpOptions& options) {
  if (ClusterState::exists(dir)) {
    KOSHEL_TRY(auto cluster, Cluster::open(dir));
    KOSHEL_TRY(check_same(cluster, options));
    return cluster;
  }
  const ClusterPlan defaults;
  return Cluster::create(dir, {options.shards.value_or(defaults.shards),
                               options.coordinators.value_or(defaults.coordinators),
                               static_cast<std::uint16_t>(options.port.value_or(defaults.port)),
                               options.auth.value_or(defaults.auth), options.is_tls});
}

// A folder with anything else in it is not ours to fill.
Outcome<void> check_folder(const fs::path& dir) {
  std::error_code fault;
  fs::create_directories(dir, fault);
  if (fault)
    return Failure(ExitCode::Usage, "cannot make " + dir.string() + ": " + fault.message());
  if (ClusterState::exists(dir)) return success();
  for (const auto& entry : fs::directory_iterator(dir, fault)) {
    const auto name = entry.path().filename();
    // What an `up` that was cut short before its state file may have left.
    if (name == "cluster.lock" || name == "log" || name == "run" || name == "postgres") continue;
    return Failure(ExitCode::Usage,
                   dir.string() + " is not empty and holds no cluster; choose another --dir");
  }
  return success();
}

Finished run_up(const Console& console, const UpOptions& options) {
  watch_interrupts();
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(check_folder(dir));
  KOSHEL_TRY(auto lock, ClusterLock::take(dir));
  KOSHEL_TRY(auto cluster, open_or_create(dir, options));
  if (cluster.running_count() == cluster.state().processes.size()) {
    say("the cluster in " + dir.string() + " is running already");
  }
  KOSHEL_TRY(auto admin, cluster.up());
  print_status(console, cluster, admin);
  if (!admin) return ExitCode::Done;
  if (std::fflush(stdout) != 0) {
    return Failure(ExitCode::Usage,
                   "the admin's password could not be printed; `koshel cluster up` makes another");
  }
  KOSHEL_TRY(cluster.mark_admin_told());
  say("the password is told only now; `koshel" + server_options(cluster.state()) + " login -n " +
      admin->name + "` asks for it, `koshel passwd` changes it");
  return ExitCode::Done;
}

Finished run_add_shard(const Console& console, const ClusterOptions& options) {
  watch_interrupts();
  if (!options.name.empty() && !is_valid_shard_name(options.name)) {
    return Failure(ExitCode::Usage, "'" + options.name +
                                        "' cannot name a shard: lower-case letters, digits, "
                                        "- and _, 63 at most");
  }
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(auto seen, Cluster::open(dir));
  KOSHEL_TRY(auto lock, ClusterLock::take(dir));
  KOSHEL_TRY(auto cluster, Cluster::open(dir));
  if (!cluster.is_running(cluster.state().directory())) {
    return Failure(ExitCode::Unavailable,
                   "the cluster's directory is not running; start the cluster first "
                   "with `koshel cluster up --dir " +
                       options.dir + "`");
  }
  KOSHEL_TRY(auto agent, cluster.add_shard(options.name));
  const auto url = cluster.state().url_of(agent);
  const std::string command =
      "koshel" + server_options(cluster.state()) + " shard add " + agent.shard + " --agent " + url;
  if (console.is_json()) {
    const json::object added{{"name", agent.shard}, {"agent", url}, {"command", command}};
    print_line(json::serialize(added));
  } else {
    say("database " + agent.shard + " and " + agent.name +
        " are running; to bring the shard into service" +
        (cluster.state().auth == AuthMode::None ? ":" : ", logged in as an admin:"));
    print_line(command);
  }
  return ExitCode::Done;
}

Finished run_status(const Console& console, const ClusterOptions& options) {
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(auto cluster, Cluster::open(dir));
  print_status(console, cluster);
  return ExitCode::Done;
}

Finished run_restart(const Console& console, const ClusterOptions& options) {
  watch_interrupts();
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(auto seen, Cluster::open(dir));
  KOSHEL_TRY(auto lock, ClusterLock::take(dir));
  KOSHEL_TRY(auto cluster, Cluster::open(dir));
  const ProcessSpec* spec = cluster.state().find(options.name);
  if (spec == nullptr) {
    std::string names;
    for (const auto& known : cluster.state().processes)
      names += (names.empty() ? "" : ", ") + known.name;
    return Failure(ExitCode::Usage,
                   "no process is named '" + options.name + "'; there are " + names);
  }
  KOSHEL_TRY(cluster.restart(*spec));
  print_status(console, cluster);
  return ExitCode::Done;
}

Finished run_down(const Console& console, const ClusterOptions& options) {
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(auto seen, Cluster::open(dir));
  KOSHEL_TRY(auto lock, ClusterLock::take(dir));
  KOSHEL_TRY(auto cluster, Cluster::open(dir));
  cluster.down();
  print_status(console, cluster);
  return ExitCode::Done;
}

Finished run_destroy(const Console& console, const ClusterOptions& options) {
  KOSHEL_TRY(auto dir, folder_of(options));
  KOSHEL_TRY(auto seen, Cluster::open(dir));
  KOSHEL_TRY(auto lock, ClusterLock::take(dir));
  KOSHEL_TRY(auto cluster, Cluster::open(dir));
  KOSHEL_TRY(cluster.destroy());
  if (console.is_json()) {
    print_line(R"({"state":"destroyed"})");
  } else {
    print_line("deleted " + dir.string());
  }
  return ExitCode::Done;
}

void add_cluster_command(CLI::App& group, Console& console, const char* name,
                         const char* description,
                         Finished (*run)(const Console&, const ClusterOptions&)) {
  auto options = std::make_shared<ClusterOptions>();
  auto* command = add_command(group, console, name, description, options, run);
  command->add_option("--dir", options->dir, kDirHelp)->type_name("DIR");
  if (run == run_add_shard) {
    command
        ->add_option("NAME", options->name,
                     "The shard's name: a-z 0-9 - _ (default the next free shard-N).")
        ->type_name("");
  }
  if (run == run_restart) {
    command->add_option("NAME", options->name, "The process, as `koshel cluster status` names it.")
        ->required()
        ->type_name("");
  }
  std::string example = std::string("koshel cluster ") + name;
  if (run == run_restart) example += " agent-1";
  add_examples(command, {example, example + " --dir /srv/koshel"});
}

}  // namespace

void register_cluster(CLI::App& app, Console& console) {
  CLI::App* group = add_group(
      app, "cluster",
      "Runs an embedded cluster on this machine: real PostgreSQL servers, agents, coordinators.");
  add_examples(group, {"koshel cluster up", "koshel cluster status"});
  auto up = std::make_shared<UpOptions>();
  auto* command =
      add_command(*group, console, "up",
                  "Starts the cluster, first making it if there is none; returns when everything\n"
                  "serves. The processes go on in the background.",
                  up, run_up);
  command->add_option("--dir", up->dir, kDirHelp)->type_name("DIR");
  command->add_option("--shards", up->shards, "How many shards a new one gets (default 2).")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 64).description(""));
  command
      ->add_option("--coordinators", up->coordinators,
                   "How many coordinators a new one gets (default 1).")
      ->type_name("COUNT")
      ->check(CLI::Range(1, 16).description(""));
  command
      ->add_option("--port", up->port,
                   "Port of the first coordinator, the others on the next ones (default 7400; 0: "
                   "any free one).")
      ->type_name("PORT")
      ->check(CLI::Range(0, 65'535).description(""));
  command
      ->add_option("--auth", up->auth,
                   "none: every caller is admin; password: names, passwords and roles, and the "
                   "first `up` makes an admin and prints the password, once (default none).")
      ->type_name("MODE")
      ->transform(CLI::CheckedTransformer(
                      std::map<std::string, AuthMode>{
                          {std::string(to_string(AuthMode::None)), AuthMode::None},
                          {std::string(to_string(AuthMode::Password)), AuthMode::Password}})
                      .description(""));
  command->add_flag("--tls", up->is_tls,
                    "A new one speaks TLS, with a CA and certificates of its own in DIR/certs; the "
                    "console needs --ca-file DIR/certs/ca.pem then (default plain text).");
  add_examples(command,
               {"koshel cluster up", "koshel cluster up --auth password --tls",
                "koshel cluster up --shards 3 --coordinators 2 --dir /srv/koshel --port 7500"});
  add_cluster_command(*group, console, "add-shard",
                      "Starts a new empty database with its agent, and prints the `shard add` "
                      "command that brings it into service.",
                      run_add_shard);
  add_cluster_command(*group, console, "status", "Shows every process: pid or dead, port, address.",
                      run_status);
  add_cluster_command(*group, console, "restart",
                      "Starts one process again and returns when it serves.", run_restart);
  add_cluster_command(*group, console, "down",
                      "Stops every process; the data stays, and `up` starts it again.", run_down);
  add_cluster_command(
      *group, console, "destroy",
      "Stops every process and deletes all data, without asking. Without --dir that is the\n"
      "cluster in var/cluster below the current folder: the one of `./dev up`.",
      run_destroy);
}

}  // namespace koshel::cli
