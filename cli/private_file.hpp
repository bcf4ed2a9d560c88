#pragma once
// Files that nobody but their owner may read: tokens, and the configs of an embedded cluster.

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/console.hpp"

namespace koshel::cli {

// All at once or not at all, readable by its owner only from the first byte on. The folder must be
// there.
Outcome<void> write_private_file(const std::filesystem::path& file, std::string_view text);

// Refuses (Usage) a file that belongs to somebody else or that anybody else may read or write, and
// one beyond `bytes_max`. Pipes may be read too, as `--token-file <(...)` of a shell makes them.
Outcome<std::string> read_private_file(const std::filesystem::path& file, std::size_t bytes_max);

// With its parents, for its owner only.
Outcome<void> make_private_folder(const std::filesystem::path& folder);

}  // namespace koshel::cli
