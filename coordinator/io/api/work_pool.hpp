#pragma once
// Threads for what blocks, such as hashing or another's library, and a bound on what waits for them.
// The loop goes on meanwhile, and who asked gets the answer there.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <memory>
#include <optional>

#include "base/time.hpp"

namespace koshel::coordinator {

class WorkPool {
 public:
  struct Size {
    int threads = 1;
    int waiting_max = 0;
  };

  WorkPool(boost::asio::any_io_executor loop, Size size)
      : loop_(std::move(loop)),
        size_(size),
        taken_(std::make_shared<int>(0)),
        threads_(static_cast<std::size_t>(size.threads)) {}

  // To be had before work is given; freed when the last copy goes, on the loop. Null: none is left.
  using Place = std::shared_ptr<void>;
  Place reserve() {
    if (*taken_ >= size_.threads + size_.waiting_max) return nullptr;
    ++*taken_;
    return Place(taken_.get(), [taken = taken_](void*) { --*taken; });
  }

  // What `work()` returns; null: not before the deadline. The work keeps its place until it ends.
  template <class Work>
  auto run(Place place, Work work, Instant deadline = Instant::max())
      -> boost::asio::awaitable<std::optional<std::invoke_result_t<Work&>>>;

 private:
  boost::asio::any_io_executor loop_;
  Size size_;
  std::shared_ptr<int> taken_;  // places; shared, because they may outlive this
  boost::asio::thread_pool threads_;
};

template <class Work>
auto WorkPool::run(Place place, Work work, Instant deadline)
    -> boost::asio::awaitable<std::optional<std::invoke_result_t<Work&>>> {
  struct Job {
    Place place;
    Work work;
    boost::asio::steady_timer done;  // cancelled when the answer is there
    std::optional<std::invoke_result_t<Work&>> answer;
  };
  auto job = std::make_shared<Job>(Job{std::move(place), std::move(work),
                                       boost::asio::steady_timer(loop_, deadline), std::nullopt});
  boost::asio::post(threads_, [job, loop = loop_]() mutable {
    auto answer = job->work();
    // The job is let go on the loop: its place and its timer are the loop's.
    boost::asio::post(loop, [job = std::move(job), answer = std::move(answer)]() mutable {
      job->answer = std::move(answer);
      job->place = nullptr;
      job->done.cancel();
    });
  });
  boost::system::error_code ignored;
  co_await job->done.async_wait(boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  co_return std::move(job->answer);
}

}  // namespace koshel::coordinator
