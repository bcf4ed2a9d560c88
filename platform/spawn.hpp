#pragma once
// How every coroutine of a daemon is started that nobody awaits.

#include <exception>

namespace koshel::platform {

// For asio::co_spawn. What escapes a coroutine is a defect: it ends the process, whose crash
// recovery is tested, rather than lose an event in silence.
inline void end_on_failure(const std::exception_ptr& failure) {
  if (failure) std::rethrow_exception(failure);
}

}  // namespace koshel::platform
