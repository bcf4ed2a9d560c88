#pragma once
// The config files that the embedded cluster writes for its daemons.

#include <string>

#include "cli/cluster/state.hpp"

namespace koshel::cli {

std::string daemon_config(const ClusterState& state, const ProcessSpec& spec);

}  // namespace koshel::cli
