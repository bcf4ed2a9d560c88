#pragma once
// Awaits several coroutines that run at the same time on the caller's executor.

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "platform/spawn.hpp"

namespace koshel::platform {

template <class T>
struct Gathering {
  std::vector<std::optional<T>> results;
  std::size_t missing = 0;
  std::function<void()> done;
};

template <class T>
boost::asio::awaitable<void> gather_one(std::shared_ptr<Gathering<T>> gathering, std::size_t place,
                                        boost::asio::awaitable<T> work) {
  auto result = co_await std::move(work);
  gathering->results[place].emplace(std::move(result));
  if (--gathering->missing == 0) gathering->done();
}

// Their results, in order, when the last of them has ended.
template <class T>
boost::asio::awaitable<std::vector<T>> gather(std::vector<boost::asio::awaitable<T>> works) {
  auto executor = co_await boost::asio::this_coro::executor;
  auto gathering = std::make_shared<Gathering<T>>();
  gathering->results.resize(works.size());
  gathering->missing = works.size();
  auto initiate = [executor, gathering, &works](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    gathering->done = [executor, shared] {
      boost::asio::post(executor, [shared] { (*shared)(); });
    };
    if (works.empty()) gathering->done();
    for (std::size_t i = 0; i < works.size(); ++i) {
      boost::asio::co_spawn(executor, gather_one(gathering, i, std::move(works[i])),
                            end_on_failure);
    }
  };
  auto pending = boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void()>(
      std::move(initiate), boost::asio::use_awaitable);
  co_await std::move(pending);
  std::vector<T> results;
  results.reserve(works.size());
  for (auto& result : gathering->results) results.push_back(std::move(*result));
  co_return results;
}

}  // namespace koshel::platform
