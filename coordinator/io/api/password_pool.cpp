#include "coordinator/io/api/password_pool.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

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
    : loop_(std::move(loop)),
      config_(config),
      nobodys_hash_(platform::hash_password(platform::random_secret(18), config)),
      taken_(std::make_shared<int>(0)),
      threads_(static_cast<std::size_t>(config.threads)) {}

PasswordPool::Place PasswordPool::reserve() {
  if (*taken_ >= config_.threads + config_.waiting_max) return nullptr;
  ++*taken_;
  return Place(taken_.get(), [taken = taken_](void*) { --*taken; });
}

template <class Work>
auto PasswordPool::run(Work work) -> asio::awaitable<std::invoke_result_t<Work&>> {
  using Answer = std::invoke_result_t<Work&>;
  auto initiate = [this, work = std::move(work)](auto handler) mutable {
    auto job =
        std::make_shared<std::pair<Work, decltype(handler)>>(std::move(work), std::move(handler));
    asio::post(threads_, [job, loop = loop_] {
      lower_priority();
      auto answer = job->first();
      asio::post(loop, [job, answer = std::move(answer)]() mutable {
        auto waiter = std::move(job->second);
        waiter(std::move(answer));
      });
    });
  };
  auto pending = asio::async_initiate<const asio::use_awaitable_t<>, void(Answer)>(
      std::move(initiate), asio::use_awaitable);
  co_return co_await std::move(pending);
}

asio::awaitable<PasswordPool::Verdict> PasswordPool::check(std::string hash, std::string password) {
  const bool is_nobodys = hash.empty();
  if (is_nobodys) hash = nobodys_hash_;
  auto work = [is_nobodys, hash = std::move(hash), password = std::move(password),
               config = config_]() mutable {
    const auto found = platform::check_password(hash, password, config);
    Verdict verdict{found != platform::PasswordCheck::Wrong && !is_nobodys, ""};
    if (verdict.is_right && found == platform::PasswordCheck::RightButOld) {
      verdict.new_hash = platform::hash_password(password, config);
    }
    platform::wipe(password);
    return verdict;
  };
  auto pending = run(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<std::string> PasswordPool::hash(std::string password) {
  auto work = [password = std::move(password), config = config_]() mutable {
    auto text = platform::hash_password(password, config);
    platform::wipe(password);
    return text;
  };
  auto pending = run(std::move(work));
  co_return co_await std::move(pending);
}

}  // namespace koshel::coordinator
