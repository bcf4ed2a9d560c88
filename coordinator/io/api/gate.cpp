#include "coordinator/io/api/gate.hpp"

#include <sodium.h>

#include <boost/algorithm/string/predicate.hpp>
#include <boost/asio/co_spawn.hpp>

#include "base/invariant.hpp"
#include "coordinator/io/api/context.hpp"
#include "platform/password_hash.hpp"
#include "platform/spawn.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {

constexpr std::string_view kPrefix = "koshel_";  // so that a leaked token is found by who looks
constexpr std::size_t kTokenBytes = 32;

Problem unauthenticated(std::string what) {
  return {ProblemCode::Unauthenticated, std::move(what)};
}

// "Bearer koshel_..."; null: it is not of that shape.
std::optional<TokenHash> token_in(std::string_view authorization) {
  constexpr std::string_view kScheme = "bearer ";
  if (!boost::algorithm::istarts_with(authorization, kScheme)) return std::nullopt;
  authorization.remove_prefix(kScheme.size());
  const auto start = authorization.find_first_not_of(' ');
  if (start == std::string_view::npos) return std::nullopt;
  authorization.remove_prefix(start);
  constexpr auto kDigits = (kTokenBytes * 8 + 5) / 6;
  if (!authorization.starts_with(kPrefix) || authorization.size() != kPrefix.size() + kDigits) {
    return std::nullopt;
  }
  return hash_of_token(authorization);
}

}  // namespace

std::string make_token() {
  return std::string(kPrefix) + platform::random_secret(kTokenBytes);
}

TokenHash hash_of_token(std::string_view token) {
  TokenHash hash{};
  const auto result = crypto_generichash(hash.data(), hash.size(),
                                         reinterpret_cast<const unsigned char*>(token.data()),
                                         token.size(), nullptr, 0);
  INVARIANT(result == 0);
  return hash;
}

Gate::Gate(asio::any_io_executor loop, directory::AccessStore& store, SessionRoles* roles,
           const platform::Config& config)
    : loop_(std::move(loop)),
      store_(store),
      roles_(roles),
      config_(config),
      cache_(config.auth.token_cache, static_cast<std::size_t>(config.auth.tokens_cached_max)) {}

std::optional<Caller> Gate::remembered(const platform::HttpRequest& request) {
  if (config_.auth.mode == platform::AuthMode::None) return Caller::anyone();
  const auto* authorization = request.header("authorization");
  if (authorization == nullptr) return std::nullopt;
  const auto token = token_in(*authorization);
  if (!token) return std::nullopt;
  auto found = cache_.find(*token, request.received);
  if (!found) return std::nullopt;
  if (found->is_to_ask) asio::co_spawn(loop_, ask_again(*token), platform::end_on_failure);
  return std::move(found->caller);
}

asio::awaitable<Checked<Caller>> Gate::ask(std::optional<std::string> authorization,
                                           Instant deadline) {
  if (!authorization) {
    co_return unauthenticated("log in, and send the token as `Authorization: Bearer TOKEN`");
  }
  const auto token = token_in(*authorization);
  if (!token) co_return unauthenticated("the header Authorization holds no token of this service");
  auto pending = find(*token, deadline);
  co_return co_await std::move(pending);
}

asio::awaitable<Checked<Caller>> Gate::find(TokenHash token, Instant deadline) {
  const auto question = cache_.question(token, std::chrono::steady_clock::now());
  auto pending = store_.find_token(token, deadline);
  const auto owner = co_await std::move(pending);
  if (!owner) {
    cache_.fail(question);
    co_return directory_problem(owner.error());
  }
  if (!owner.value()) {
    cache_.answer(question, std::nullopt);
    co_return unauthenticated("the token is unknown, has expired or was revoked; log in again");
  }
  auto found = *owner.value();
  if (found.roles_age) {
    auto keeping = roles_->keep_young(std::move(found));
    auto kept = co_await std::move(keeping);
    if (!kept) {
      cache_.answer(question, std::nullopt);
      co_return kept.error();
    }
    found = std::move(kept.value());
  }
  Caller caller{
      found.name, found.roles,      found.is_session ? Caller::How::Session : Caller::How::ApiToken,
      token,      found.expires_at, found.token};
  cache_.answer(question, caller);
  co_return caller;
}

// If it fails, the next call finds the knowledge too old and asks itself.
asio::awaitable<void> Gate::ask_again(TokenHash token) {
  const auto deadline = std::chrono::steady_clock::now() + config_.coordinator.directory_timeout;
  auto pending = find(token, deadline);
  co_await std::move(pending);
}

}  // namespace koshel::coordinator
