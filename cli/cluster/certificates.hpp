#pragma once
// The certificates of an embedded cluster with `--tls`: a CA of its own in its folder, and one
// certificate for each coordinator and agent, for 127.0.0.1 and localhost.

#include "cli/cluster/state.hpp"

namespace koshel::cli {

// Makes what is missing: the CA, and the process's certificate. Nothing without `--tls`.
Outcome<void> ensure_certificate(const ClusterState& state, const ProcessSpec& spec);

// How the process is to be asked; an agent as if by the first coordinator.
platform::TlsOptions tls_to(const ClusterState& state, const ProcessSpec& spec);

}  // namespace koshel::cli
