#pragma once
// Which token goes with a request: that of --token-file, else of KOSHEL_TOKEN, else the one that
// `koshel login` keeps, one file per server, under $XDG_STATE_HOME/koshel or ~/.local/state/koshel.
// A token is text that opens an account: it stands in no message of these functions.

#include <filesystem>
#include <string>
#include <string_view>

#include "cli/console.hpp"

namespace koshel::cli {

// Where login keeps the token for the server at `url`, and logout takes it from.
Outcome<std::filesystem::path> token_file_of(const Console& console, const std::string& url);

// "" if there is none: the server decides what may be done without.
Outcome<std::string> find_token(const Console& console, const std::string& url);

Outcome<void> keep_token(const Console& console, const std::string& url, std::string_view token);
// No harm if there is none.
Outcome<void> forget_token(const Console& console, const std::string& url);

}  // namespace koshel::cli
