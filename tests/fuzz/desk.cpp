#include "tests/fuzz/desk.hpp"

#include <sodium.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>

#include "base/name.hpp"
#include "platform/http_target_text.hpp"
#include "platform/log.hpp"
#include "platform/spawn.hpp"

namespace koshel::fuzz {

namespace asio = boost::asio;
namespace json = boost::json;
using platform::HttpRequest;
using platform::HttpResponse;

namespace {

platform::Config config_of(platform::AuthMode mode) {
  INVARIANT(sodium_init() >= 0);
  spdlog::set_level(spdlog::level::off);
  platform::Config config;
  config.auth.mode = mode;
  config.directory.connections = 0;  // nobody works ...
  config.directory.waiting_max = 0;  // ... and nobody may wait
  config.auth.passwords = {8, 1, 1, 0};
  return config;
}

coordinator::Caller admin() {
  return {"root", coordinator::Roles::all(), coordinator::Caller::How::Session, {}, std::nullopt};
}

}  // namespace

Desk::Desk(platform::AuthMode mode)
    : config_(config_of(mode)),
      directory_(loop_.get_executor(), config_.directory, "fuzz"),
      service_(loop_, config_, nullptr, directory_, {Incarnation(1), ""},
               [](const std::string&) {}),
      api_({service_, service_.routes(), config_}, loop_.get_executor(), directory_,
           Incarnation(1)),
      access_store_(directory_, {}, directory::ProvenBy::Password),
      gate_(loop_.get_executor(), access_store_, nullptr, config_),
      passwords_(loop_.get_executor(), config_.auth.passwords),
      staff_({{service_, service_.routes(), config_}, access_store_, gate_, passwords_, nullptr}),
      access_({{service_, service_.routes(), config_}, access_store_, gate_, passwords_, nullptr}) {
}

HttpResponse Desk::finish(coordinator::Respond respond) {
  std::optional<HttpResponse> response;
  asio::co_spawn(loop_, std::move(respond),
                 [&](const std::exception_ptr& failure, HttpResponse answered) {
                   platform::end_on_failure(failure);
                   response = std::move(answered);
                 });
  loop_.restart();
  while (!response && loop_.run_one() > 0) {
  }
  INVARIANT(response.has_value());
  return std::move(*response);
}

HttpResponse Desk::ask(HttpRequest request) {
  return finish(api_.handle(std::move(request)));
}

HttpResponse Desk::login(HttpRequest request) {
  return finish(access_.login(std::move(request), nullptr));
}

HttpResponse Desk::add_token(HttpRequest request) {
  return finish(staff_.add_token(std::move(request), admin()));
}

HttpResponse Desk::set_roles(HttpRequest request, std::string name) {
  return finish(staff_.set_roles(std::move(request), std::move(name)));
}

HttpResponse Desk::change_own_password(HttpRequest request, std::string name) {
  auto caller = admin();
  caller.name = name;
  return finish(access_.set_password(std::move(request), std::move(caller), std::move(name)));
}

HttpRequest post(std::string path, std::string_view body) {
  HttpRequest request;
  request.method = "POST";
  request.headers.emplace_back("content-type", "application/json");
  request.body = body;
  request.id = "fuzz";
  request.peer = "127.0.0.1";
  request.received = std::chrono::steady_clock::now();
  INVARIANT(platform::read_target(path, request));
  return request;
}

bool is_sound(const HttpResponse& response) {
  const bool is_problem = response.content_type == "application/problem+json";
  INVARIANT(is_problem || response.content_type == "application/json");
  json::error_code error;
  const auto value = json::parse(response.body, error);
  INVARIANT(!error && value.is_object());
  INVARIANT(is_problem == (response.status != 200));
  if (!is_problem) return true;
  const auto& problem = value.get_object();
  INVARIANT(problem.at("status").as_int64() == response.status);
  const std::string_view code = problem.at("code").as_string();
  INVARIANT(code != "INTERNAL");
  INVARIANT(problem.at("detail").as_string().size() > 10);
  INVARIANT(problem.contains("outcome") && problem.contains("retryable"));
  return response.status >= 500 || response.status == 429;
}

json::object object_of(std::string_view body) {
  json::error_code error;
  const auto value = json::parse(body, error);
  INVARIANT(!error && value.is_object());
  return value.get_object();
}

bool is_positive_amount(const json::value& value) {
  if (!value.is_string()) return false;
  const std::string_view text = value.get_string();
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && is_digit(text.front()) && is_digit(text.back()) &&
         std::ranges::count(text, '.') <= 1 && text.find_first_not_of("0.") != text.npos &&
         std::ranges::all_of(text, [&](char c) { return is_digit(c) || c == '.'; });
}

bool has_sound_numbers(const json::value& value) {
  json::error_code error;
  json::parse(json::serialize(value), error);
  return !error;
}

bool is_party(const json::value& value) {
  if (!value.is_string()) return false;
  const std::string_view text = value.get_string();
  return text == kWorldName || check_name(text).fault.empty();
}

void check_members(const json::object& object, std::initializer_list<std::string_view> allowed) {
  for (const auto& member : object) {
    INVARIANT(std::ranges::count(allowed, std::string_view(member.key())) == 1);
  }
}

}  // namespace koshel::fuzz
