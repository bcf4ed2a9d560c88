#pragma once
// The templates of postgres.hpp.

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "platform/postgres.hpp"
#include "platform/warning_watch.hpp"

namespace koshel::platform {

template <class Work>
Guarded<Work> guarded(Work&& work) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
      work();
      return success();
    } else {
      return work();
    }
  } catch (const std::exception&) {
    return error_of_current_exception();
  }
}

// A commit whose wait for the standby was cancelled is there, though it may yet be lost: the server
// says so with a warning and success. To the caller that is the same as a lost answer.
template <class Work>
auto run_watched(Work& work, pqxx::connection& connection)
    -> Result<std::invoke_result_t<Work&, pqxx::connection&>> {
  const WarningWatch warnings(connection);
  auto result = guarded([&] { return work(connection); });
  if (result && warnings.has_any()) {
    return Error{Fault::InDoubt, "PostgreSQL warned: " + warnings.first()};
  }
  return result;
}

template <class Work, class Done>
void PgPool::post(Work work, Done done, Instant deadline) {
  using T = std::invoke_result_t<Work&, pqxx::connection&>;
  // Shared, because std::function wants what it holds to be copyable.
  auto shared = std::make_shared<std::pair<Work, Done>>(std::move(work), std::move(done));
  enqueue([this, shared, deadline](Result<pqxx::connection*> connection) -> std::optional<Error> {
    if (connection && std::chrono::steady_clock::now() >= deadline) {
      on_loop([shared] { shared->second(Error{Fault::Unavailable, "its turn came too late"}); });
      return std::nullopt;
    }
    auto result = connection ? run_watched(shared->first, *connection.value())
                             : Result<T>(connection.error());
    auto failure = result ? std::nullopt : std::optional(result.error());
    on_loop([shared, result = std::move(result)]() mutable { shared->second(std::move(result)); });
    return failure;
  });
}

template <class Work>
auto PgPool::run(Work work, Instant deadline)
    -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>> {
  using Answer = Result<std::invoke_result_t<Work&, pqxx::connection&>>;
  auto initiate = [this, work = std::move(work), deadline](auto handler) mutable {
    struct Waiting {
      std::optional<decltype(handler)> waiter;  // empty once it was called
      boost::asio::steady_timer timer;
      void finish(Answer answer) {
        if (!waiter) return;
        auto call = std::move(*waiter);
        waiter.reset();
        timer.cancel();
        call(std::move(answer));
      }
    };
    const auto waiting =
        std::make_shared<Waiting>(Waiting{std::move(handler), boost::asio::steady_timer(loop())});
    if (deadline != Instant::max()) {
      waiting->timer.expires_at(deadline);
      waiting->timer.async_wait([waiting](boost::system::error_code) {
        waiting->finish(Error{Fault::Unavailable, "PostgreSQL did not answer in time"});
      });
    }
    post(
        std::move(work), [waiting](Answer answer) { waiting->finish(std::move(answer)); },
        deadline);
  };
  auto pending = boost::asio::async_initiate<const boost::asio::use_awaitable_t<>, void(Answer)>(
      std::move(initiate), boost::asio::use_awaitable);
  co_return co_await std::move(pending);
}

}  // namespace koshel::platform
