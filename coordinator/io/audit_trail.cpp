#include "coordinator/io/audit_trail.hpp"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/printable.hpp"
#include "platform/log.hpp"
#include "platform/spawn.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {
constexpr std::size_t kBatchMax = 1000;
constexpr auto kRetry = std::chrono::milliseconds(200);
}  // namespace

AuditTrail::AuditTrail(asio::any_io_executor loop, directory::AuditLogStore& store,
                       Incarnation incarnation, std::size_t waiting_max)
    : loop_(std::move(loop)), store_(store), incarnation_(incarnation), waiting_max_(waiting_max) {}

asio::awaitable<void> AuditTrail::write(std::string entry, Instant until) {
  waiting_.push_back(std::move(entry));
  const auto number = ++added_;
  if (!is_running_) {
    is_running_ = true;
    asio::co_spawn(loop_, run(), platform::end_on_failure);
  }
  asio::steady_timer timer(loop_, until);
  const auto place = waiters_.emplace(number, &timer);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  waiters_.erase(place);
  if (written_ >= number) co_return;
  const auto index = waiting_.size() - static_cast<std::size_t>(added_ - number) - 1;
  spdlog::error("the audit trail cannot be written yet: {}", printable(waiting_[index]));
}

asio::awaitable<void> AuditTrail::finish(Instant until) {
  asio::steady_timer pause(loop_);
  while (!waiting_.empty() && std::chrono::steady_clock::now() < until) {
    pause.expires_after(std::chrono::milliseconds(5));
    co_await pause.async_wait(asio::use_awaitable);
  }
  for (const auto& entry : waiting_) {
    spdlog::critical("the audit trail ends without: {}", printable(entry));
  }
}

asio::awaitable<void> AuditTrail::run() {
  asio::steady_timer pause(loop_);
  while (!waiting_.empty()) {
    const auto size = std::min(waiting_.size(), kBatchMax);
    const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(size);
    directory::AuditBatch batch{incarnation_, ++last_batch_, {waiting_.begin(), end}};
    for (bool is_written = false; !is_written;) {
      auto appending = store_.append(batch);
      const auto appended = co_await std::move(appending);
      is_written = appended.has_value();
      if (is_written) continue;
      spdlog::warn("audit trail: {}", appended.error().context);
      pause.expires_after(kRetry);
      co_await pause.async_wait(asio::use_awaitable);
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(size));
    written_ += static_cast<std::int64_t>(size);
    for (auto each = waiters_.begin(); each != waiters_.end() && each->first <= written_; ++each) {
      each->second->cancel();
    }
  }
  is_running_ = false;
}

}  // namespace koshel::coordinator
