#include "cli/cluster/first_admin.hpp"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "cli/cluster/certificates.hpp"
#include "cli/init.hpp"
#include "platform/postgres.hpp"

namespace koshel::cli {
namespace {

namespace json = boost::json;

constexpr const char* kName = "admin";
constexpr const char* kForgetAdmin = "delete from logins where name = $1";
constexpr std::chrono::milliseconds kPatience{30'000};

Result<void> forget_admin(const platform::DatabaseConfig& directory) {
  KOSHEL_TRY(auto connection, platform::connect(directory, "koshel-cluster"));
  return platform::guarded([&] {
    pqxx::nontransaction session(*connection);
    session.exec_params(kForgetAdmin, kName);
  });
}

}  // namespace

Outcome<FirstAdmin> make_first_admin(const ClusterState& state) {
  KOSHEL_TRY(auto config, platform::load_config(state.config_of(state.coordinator()).string()));
  KOSHEL_TRY(forget_admin(config.directory));
  KOSHEL_TRY(auto password, make_admin(config, kName));
  if (password) return FirstAdmin{kName, std::move(*password)};
  return Failure(ExitCode::Unavailable, "somebody else made an admin meanwhile; start it again");
}

Outcome<ApiClient> log_in(const ClusterState& state, const FirstAdmin& admin) {
  const auto tls = tls_to(state, state.coordinator());
  KOSHEL_TRY(auto client, ApiClient::open(state.url(), tls));
  const json::object body{{"name", admin.name}, {"password", admin.password}};
  // A session that nobody got the token of ends by itself, so repeating does no harm.
  KOSHEL_TRY(auto reply, client.call_until_answered(
                             {.method = "POST", .path = "/v1/login", .body = json::serialize(body)},
                             kPatience));
  if (!reply.is_success()) return failure_of(reply);
  return ApiClient::open(state.url(), tls, text_of(reply.json, "token"));
}

}  // namespace koshel::cli
