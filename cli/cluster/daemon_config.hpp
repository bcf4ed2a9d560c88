#pragma once
// The config files that the embedded cluster writes for its daemons.

#include <filesystem>
#include <string>

#include "cli/cluster/state.hpp"

namespace koshel::cli {

std::string daemon_config(const ClusterState& state, const ProcessSpec& spec);

// Readable by its owner only, from the first byte on.
Outcome<void> write_private_file(const std::filesystem::path& file, const std::string& text);

}  // namespace koshel::cli
