#include "cli/cluster/certificates.hpp"

#include "cli/certificate_authority.hpp"

namespace koshel::cli {
namespace {

using platform::TlsRole;

// Nobody renews them by hand, and they are good on this machine only.
constexpr std::chrono::days kValidity{3650};

Outcome<CertificateAuthority> open_or_create(const std::filesystem::path& dir) {
  if (CertificateAuthority::exists(dir)) return CertificateAuthority::open(dir);
  return CertificateAuthority::create(dir, kValidity);
}

}  // namespace

Outcome<void> ensure_certificate(const ClusterState& state, const ProcessSpec& spec) {
  if (!state.is_tls || spec.role == ProcessRole::Postgres) return success();
  KOSHEL_TRY(auto authority, open_or_create(state.certs()));
  if (std::filesystem::exists(authority.cert_of(spec.name))) return success();
  const auto role = spec.role == ProcessRole::ShardAgent ? TlsRole::Agent : TlsRole::Coordinator;
  KOSHEL_TRY(authority.issue({spec.name, {"127.0.0.1", "localhost"}, role}, kValidity));
  return success();
}

platform::TlsOptions tls_to(const ClusterState& state, const ProcessSpec& spec) {
  platform::TlsOptions tls{.ca_file = state.ca_file(), .ca_setting = kCaSetting};
  if (spec.role != ProcessRole::ShardAgent) return tls;
  const auto& shown = state.coordinator().name;
  tls.cert_file = (state.certs() / (shown + ".pem")).string();
  tls.key_file = (state.certs() / (shown + ".key")).string();
  tls.peer_role = TlsRole::Agent;
  return tls;
}

}  // namespace koshel::cli
