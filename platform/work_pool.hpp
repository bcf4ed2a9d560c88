#pragma once
// Threads for what blocks, such as hashing or another's library, and a bound on what waits for them.
// The loop goes on meanwhile, and who asked gets the answer there.

#include <algorithm>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/time.hpp"

namespace koshel::platform {

class WorkPool {
 public:
  struct Size {
    int threads = 1;
    int waiting_max = 0;
  };

  WorkPool(boost::asio::any_io_executor loop, Size size)
      : loop_(std::move(loop)),
        places_(size.threads + size.waiting_max),
        taken_(std::make_shared<Taken>()),
        threads_(static_cast<std::size_t>(size.threads)) {}

  // To be had before work is given; freed when the last copy goes, on the loop. Null: none is left.
  using Place = std::shared_ptr<void>;
  Place reserve();
  // For whoever calls without having logged in: one address gets a quarter of the places, and all
  // of them together leave a quarter free.
  Place reserve_for_stranger(const std::string& address);

  // What `work()` returns; null: not before the deadline. The work keeps its place until it ends.
  template <class Work>
  auto run(Place place, Work work, Instant deadline = Instant::max())
      -> boost::asio::awaitable<std::optional<std::invoke_result_t<Work&>>>;

 private:
  struct Taken {
    int all = 0;
    int by_strangers = 0;
    std::map<std::string, int> by_address;  // of strangers; none is 0
  };

  boost::asio::any_io_executor loop_;
  int places_;
  std::shared_ptr<Taken> taken_;  // shared, because places may outlive this
  boost::asio::thread_pool threads_;
};

inline WorkPool::Place WorkPool::reserve() {
  if (taken_->all >= places_) return nullptr;
  ++taken_->all;
  return Place(taken_.get(), [taken = taken_](void*) { --taken->all; });
}

inline WorkPool::Place WorkPool::reserve_for_stranger(const std::string& address) {
  const int quarter = std::max(1, places_ / 4);
  if (taken_->by_strangers >= std::max(1, places_ - quarter)) return nullptr;
  if (const auto found = taken_->by_address.find(address);
      found != taken_->by_address.end() && found->second >= quarter) {
    return nullptr;
  }
  auto place = reserve();
  if (!place) return nullptr;
  ++taken_->by_strangers;
  ++taken_->by_address[address];
  return Place(taken_.get(), [taken = taken_, place = std::move(place), address](void*) {
    --taken->by_strangers;
    if (--taken->by_address[address] == 0) taken->by_address.erase(address);
  });
}

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

}  // namespace koshel::platform
