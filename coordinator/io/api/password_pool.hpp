#pragma once
// Hashes passwords on threads of its own, few and of low priority: a storm of logins takes neither
// the loop's time nor more memory than its threads need.

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <string>

#include "platform/password_hash.hpp"

namespace koshel::coordinator {

class PasswordPool {
 public:
  PasswordPool(boost::asio::any_io_executor loop, const platform::PasswordConfig& config);

  // A place, for as long as the caller works with one password; null: none is left. The two below
  // are called by who has one.
  using Place = std::shared_ptr<void>;
  Place reserve();

  struct Verdict {
    bool is_right = false;
    std::string new_hash;  // for the same password, when the old one's parameters are not today's
  };
  // An empty hash is nobody's: it takes the same time, and no password is right.
  boost::asio::awaitable<Verdict> check(std::string hash, std::string password);
  // Empty: the memory cannot be had.
  boost::asio::awaitable<std::string> hash(std::string password);

 private:
  template <class Work>
  auto run(Work work) -> boost::asio::awaitable<std::invoke_result_t<Work&>>;

  boost::asio::any_io_executor loop_;
  platform::PasswordConfig config_;
  std::string nobodys_hash_;
  std::shared_ptr<int> taken_;  // places; shared, because they may outlive this
  boost::asio::thread_pool threads_;
};

}  // namespace koshel::coordinator
