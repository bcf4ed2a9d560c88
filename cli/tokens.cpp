#include "cli/tokens.hpp"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "cli/private_file.hpp"
#include "platform/http.hpp"

namespace koshel::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTokenBytesMax = 4'096;

// Of RFC 6750: what may stand in an Authorization header.
bool is_token(std::string_view text) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._~+/=").find(c) != std::string_view::npos;
  };
  return !text.empty() && text.size() <= kTokenBytesMax &&
         std::all_of(text.begin(), text.end(), is_allowed);
}

Outcome<std::string> checked_token(std::string text, const std::string& source) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  if (is_token(text)) return text;
  return Failure(
      ExitCode::Usage,
      source + " holds no token: one line of letters, digits and - . _ ~ + / = is wanted");
}

// As the XDG base directory specification has it: a path that is not absolute is to be ignored.
fs::path state_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && fs::path(state).is_absolute()) return fs::path(state) / "koshel";
  const char* home = std::getenv("HOME");
  if (home == nullptr || *home == '\0') {
    const passwd* entry = getpwuid(geteuid());
    home = entry == nullptr ? nullptr : entry->pw_dir;
  }
  if (home == nullptr || !fs::path(home).is_absolute()) return {};
  return fs::path(home) / ".local" / "state" / "koshel";
}

// One name for however many slashes end the URL.
Outcome<std::string> server_file_name(const std::string& url) {
  KOSHEL_TRY(auto target, platform::parse_url(url));
  const auto scheme = url.substr(0, url.find("://") + 3);
  return platform::percent_encode(scheme + target.host + ":" + target.port + target.prefix);
}

}  // namespace

Outcome<fs::path> token_file_of(const Console& console, const std::string& url) {
  if (!console.token_file_option.empty()) return fs::path(console.token_file_option);
  const auto folder = state_folder();
  if (folder.empty()) {
    return Failure(ExitCode::Usage,
                   "there is no home directory to keep a token in; set HOME or XDG_STATE_HOME, or "
                   "name a file with --token-file FILE");
  }
  KOSHEL_TRY(auto name, server_file_name(url));
  return folder / "tokens" / name;
}

Outcome<std::string> find_token(const Console& console, const std::string& url) {
  const bool is_named = !console.token_file_option.empty();
  if (!is_named && !console.token_of_environment.empty()) {
    return checked_token(console.token_of_environment, "KOSHEL_TOKEN");
  }
  if (!is_named && state_folder().empty()) return std::string();
  KOSHEL_TRY(auto file, token_file_of(console, url));
  std::error_code ignored;
  if (!is_named && !fs::exists(file, ignored)) return std::string();
  KOSHEL_TRY(auto text, read_private_file(file, kTokenBytesMax));
  return checked_token(std::move(text), file.string());
}

Outcome<void> keep_token(const Console& console, const std::string& url, std::string_view token) {
  if (!is_token(token)) {
    return Failure(ExitCode::Unavailable, url + " did not answer with a token");
  }
  KOSHEL_TRY(auto file, token_file_of(console, url));
  if (console.token_file_option.empty()) {
    KOSHEL_TRY(make_private_folder(file.parent_path().parent_path()));
    KOSHEL_TRY(make_private_folder(file.parent_path()));
  }
  return write_private_file(file, std::string(token) + "\n");
}

Outcome<void> forget_token(const Console& console, const std::string& url) {
  KOSHEL_TRY(auto file, token_file_of(console, url));
  std::error_code fault;
  fs::remove(file, fault);
  if (!fault) return success();
  return Failure(ExitCode::Usage, "cannot delete " + file.string() + ": " + fault.message());
}

}  // namespace koshel::cli
