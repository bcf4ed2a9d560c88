#include "cli/cluster/state.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <random>
#include <sstream>

#include "base/invariant.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uint16_t kFirstPort = 15'000;
constexpr std::uint16_t kLastPort = 31'999;
constexpr int kPortTries = 1'000;

std::optional<ProcessRole> role_of(std::string_view text) {
  for (const auto role :
       {ProcessRole::Postgres, ProcessRole::ShardAgent, ProcessRole::Coordinator}) {
    if (to_string(role) == text) return role;
  }
  return std::nullopt;
}

// Throws what Boost.JSON throws when the text is not what save() wrote.
ClusterState parse_state(const std::string& text, const fs::path& dir) {
  const json::object root = json::parse(text).as_object();
  ClusterState state;
  state.dir = dir;
  state.postgres_root = std::string(root.at("postgres_root").as_string());
  // Clusters made before there were passwords do not say.
  if (const auto* auth = root.if_contains("auth")) {
    state.auth = platform::find_auth_mode(auth->as_string()).value();
    state.is_admin_awaited = root.at("is_admin_awaited").as_bool();
  }
  if (const auto* tls = root.if_contains("tls")) state.is_tls = tls->as_bool();
  for (const auto& item : root.at("processes").as_array()) {
    const auto& process = item.as_object();
    ProcessSpec spec;
    spec.name = std::string(process.at("name").as_string());
    spec.role = role_of(process.at("role").as_string()).value();
    spec.port = process.at("port").to_number<std::uint16_t>();
    spec.shard = std::string(process.at("shard").as_string());
    spec.is_to_be_registered = process.at("is_to_be_registered").as_bool();
    state.processes.push_back(std::move(spec));
  }
  if (state.count(ProcessRole::Coordinator) == 0 || state.processes.empty() ||
      !state.processes.front().is_directory()) {
    throw std::runtime_error("a part is missing");
  }
  return state;
}

}  // namespace

std::string_view to_string(ProcessRole role) {
  switch (role) {
    case ProcessRole::Postgres:
      return "postgres";
    case ProcessRole::ShardAgent:
      return "shard-agent";
    case ProcessRole::Coordinator:
      return "coordinator";
  }
  return {};
}

std::string ProcessSpec::dsn() const {
  return "host=127.0.0.1 port=" + std::to_string(port) + " dbname=" + database() + " user=koshel";
}

bool ClusterState::exists(const fs::path& dir) {
  return fs::exists(dir / "cluster.json");
}

Outcome<ClusterState> ClusterState::load(const fs::path& dir) {
  if (!exists(dir)) {
    return Failure(ExitCode::Usage, "there is no cluster in " + dir.string() +
                                        "; start one with `koshel cluster up --dir " +
                                        dir.string() + "`, or name another folder with --dir");
  }
  std::ifstream input(dir / "cluster.json");
  std::stringstream text;
  text << input.rdbuf();
  try {
    return parse_state(text.str(), dir);
  } catch (const std::exception& fault) {
    return Failure(ExitCode::Usage, (dir / "cluster.json").string() + " cannot be read (" +
                                        fault.what() +
                                        "); if the cluster may go, delete the folder");
  }
}

Outcome<void> ClusterState::save() const {
  json::array items;
  for (const auto& spec : processes) {
    items.push_back(json::object{{"name", spec.name},
                                 {"role", to_string(spec.role)},
                                 {"port", spec.port},
                                 {"shard", spec.shard},
                                 {"is_to_be_registered", spec.is_to_be_registered}});
  }
  const json::object root{{"postgres_root", postgres_root.string()},
                          {"auth", to_string(auth)},
                          {"is_admin_awaited", is_admin_awaited},
                          {"tls", is_tls},
                          {"processes", std::move(items)}};
  const fs::path fresh = dir / "cluster.json.new";
  std::ofstream output(fresh);
  output << json::serialize(root) << '\n';
  output.close();
  std::error_code fault;
  if (output) fs::rename(fresh, dir / "cluster.json", fault);
  if (!output || fault) {
    return Failure(ExitCode::Usage, "cannot write " + (dir / "cluster.json").string() +
                                        "; choose a folder that can be written with --dir");
  }
  return success();
}

const ProcessSpec* ClusterState::find(std::string_view name) const {
  const auto found = std::find_if(processes.begin(), processes.end(),
                                  [&](const ProcessSpec& spec) { return spec.name == name; });
  return found == processes.end() ? nullptr : &*found;
}

const ProcessSpec& ClusterState::directory() const {
  return processes.front();
}

const ProcessSpec& ClusterState::postgres_of(const ProcessSpec& agent) const {
  const auto found = std::find_if(processes.begin(), processes.end(), [&](const ProcessSpec& spec) {
    return spec.role == ProcessRole::Postgres && spec.shard == agent.shard;
  });
  INVARIANT(found != processes.end());
  return *found;
}

std::size_t ClusterState::count(ProcessRole role) const {
  return static_cast<std::size_t>(
      std::count_if(processes.begin(), processes.end(),
                    [&](const ProcessSpec& spec) { return spec.role == role; }));
}

const ProcessSpec& ClusterState::coordinator() const {
  const auto found = std::find_if(processes.begin(), processes.end(), [](const ProcessSpec& spec) {
    return spec.role == ProcessRole::Coordinator;
  });
  INVARIANT(found != processes.end());
  return *found;
}

std::string ClusterState::url_of(const ProcessSpec& spec) const {
  return (is_tls ? "https://127.0.0.1:" : "http://127.0.0.1:") + std::to_string(spec.port);
}

bool is_port_free(std::uint16_t port) {
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return false;
  const int yes = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool is_free =
      bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      listen(socket_fd, 1) == 0;
  close(socket_fd);
  return is_free;
}

Outcome<std::uint16_t> choose_port(const std::vector<ProcessSpec>& taken) {
  std::random_device device;
  std::uniform_int_distribution<int> any(kFirstPort, kLastPort);
  for (int i = 0; i < kPortTries; ++i) {
    const auto port = static_cast<std::uint16_t>(any(device));
    const bool is_ours = std::any_of(taken.begin(), taken.end(),
                                     [&](const ProcessSpec& spec) { return spec.port == port; });
    if (!is_ours && is_port_free(port)) return port;
  }
  return Failure(ExitCode::Unavailable, "no free port found between " + std::to_string(kFirstPort) +
                                            " and " + std::to_string(kLastPort) + " on 127.0.0.1");
}

}  // namespace koshel::cli
