#pragma once
// SIGTERM and SIGINT as something a daemon's coroutine can wait for.

#include <boost/asio/awaitable.hpp>

namespace koshel::platform {

// Ends at the first of the two signals; a second one then kills the process as usual.
boost::asio::awaitable<void> wait_for_stop_signal();

}  // namespace koshel::platform
