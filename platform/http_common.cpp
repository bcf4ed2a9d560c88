#include <algorithm>
#include <charconv>

#include "platform/http.hpp"
#include "platform/http_target_text.hpp"

namespace koshel::platform {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool is_unreserved(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '.' || c == '_' || c == '~';
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

const std::string* find_in(const Pairs& pairs, std::string_view name) {
  const auto found = std::ranges::find(pairs, name, &Pairs::value_type::first);
  return found == pairs.end() ? nullptr : &found->second;
}

// "a=1&b=2"; false if a % is malformed.
bool read_query(std::string_view text, Pairs& query) {
  while (!text.empty()) {
    const auto pair = text.substr(0, text.find('&'));
    text.remove_prefix(std::min(text.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const auto equals = pair.find('=');
    auto name = percent_decode(pair.substr(0, equals));
    auto value = percent_decode(equals == std::string_view::npos ? "" : pair.substr(equals + 1));
    if (!name || !value) return false;
    query.emplace_back(std::move(*name), std::move(*value));
  }
  return true;
}

}  // namespace

const std::string* HttpRequest::header(std::string_view lower_case_name) const {
  return find_in(headers, lower_case_name);
}

const std::string* HttpRequest::parameter(std::string_view name) const {
  return find_in(query, name);
}

std::string percent_encode(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (is_unreserved(c)) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

bool read_target(std::string_view target, HttpRequest& request) {
  if (!target.starts_with('/')) return false;
  const auto question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos &&
      !read_query(target.substr(question + 1), request.query)) {
    return false;
  }
  std::string_view rest(request.path);
  while (!rest.empty()) {
    rest.remove_prefix(1);  // the slash
    const auto segment = rest.substr(0, rest.find('/'));
    rest.remove_prefix(segment.size());
    auto decoded = percent_decode(segment);
    if (!decoded) return false;
    request.segments.push_back(std::move(*decoded));
  }
  return true;
}

Result<HttpTarget> parse_url(std::string_view url) {
  const auto fail = [url](std::string_view what) {
    return Error{Fault::Internal, "'" + std::string(url) + "' " + std::string(what) +
                                      "; a URL such as http://127.0.0.1:7400 is wanted"};
  };
  HttpTarget target;
  target.is_tls = url.starts_with("https://");
  if (!target.is_tls && !url.starts_with("http://")) {
    return fail("does not begin with http:// or https://");
  }
  auto rest = url.substr(url.find("//") + 2);
  const auto slash = rest.find('/');
  if (slash != std::string_view::npos) {
    target.prefix = rest.substr(slash);
    while (target.prefix.ends_with('/')) target.prefix.pop_back();
    rest = rest.substr(0, slash);
  }
  auto colon = rest.rfind(':');
  if (rest.starts_with('[')) {
    const auto close = rest.find(']');
    if (close == std::string_view::npos) return fail("has a '[' without its ']'");
    target.host = rest.substr(1, close - 1);
    colon = close + 1 < rest.size() && rest[close + 1] == ':' ? close + 1 : std::string_view::npos;
  } else {
    target.host = rest.substr(0, colon);
  }
  target.port = target.is_tls ? "443" : "80";
  if (colon != std::string_view::npos) target.port = rest.substr(colon + 1);
  int port = 0;
  const auto [end, error] =
      std::from_chars(target.port.data(), target.port.data() + target.port.size(), port);
  const bool is_number = error == std::errc() && end == target.port.data() + target.port.size();
  if (!is_number || port < 1 || port > 65535) return fail("has no port between 1 and 65535");
  if (target.host.empty()) return fail("has no host");
  if (!std::ranges::all_of(url, [](char c) { return c > ' ' && c < '\x7f'; })) {
    return fail("has a character that is not visible ASCII");
  }
  return target;
}

}  // namespace koshel::platform
