#include "platform/stop_signal.hpp"

#include <boost/asio/signal_set.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <csignal>

namespace koshel::platform {

boost::asio::awaitable<void> wait_for_stop_signal() {
  boost::asio::signal_set signals(co_await boost::asio::this_coro::executor, SIGTERM, SIGINT);
  co_await signals.async_wait(boost::asio::use_awaitable);
}

}  // namespace koshel::platform
