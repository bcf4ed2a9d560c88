#include "coordinator/io/api/password_pool.hpp"

#include <sys/resource.h>
#include <unistd.h>

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {

// On Linux this is the thread's own: transfers go first.
void lower_priority() {
  constexpr int kNice = 10;
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

}  // namespace

PasswordPool::PasswordPool(asio::any_io_executor loop, const platform::PasswordConfig& config)
    : config_(config),
      nobodys_hash_(platform::hash_password(platform::random_secret(18), config)),
      pool_(std::move(loop), {config.threads, config.waiting_max}) {}

asio::awaitable<PasswordPool::Verdict> PasswordPool::check(platform::WorkPool::Place place,
                                                           directory::LoginAttempt attempt,
                                                           std::string password) {
  if (attempt.password_hash.empty()) attempt.password_hash = nobodys_hash_;
  auto work = [attempt = std::move(attempt), password = std::move(password),
               config = config_]() mutable {
    lower_priority();
    const auto found = platform::check_password(attempt.password_hash, password, config);
    Verdict verdict{found != platform::PasswordCheck::Wrong && attempt.has_password, ""};
    if (verdict.is_right && found == platform::PasswordCheck::RightButOld) {
      verdict.new_hash = platform::hash_password(password, config);
    }
    platform::wipe(password);
    return verdict;
  };
  auto pending = pool_.run(std::move(place), std::move(work));
  auto answer = co_await std::move(pending);
  co_return std::move(*answer);
}

asio::awaitable<std::string> PasswordPool::hash(platform::WorkPool::Place place,
                                                std::string password) {
  auto work = [password = std::move(password), config = config_]() mutable {
    lower_priority();
    auto text = platform::hash_password(password, config);
    platform::wipe(password);
    return text;
  };
  auto pending = pool_.run(std::move(place), std::move(work));
  auto answer = co_await std::move(pending);
  co_return std::move(*answer);
}

}  // namespace koshel::coordinator
