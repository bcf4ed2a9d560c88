#pragma once
// Hashes passwords on threads of its own, few and of low priority: a storm of logins takes neither
// the loop's time nor more memory than its threads need.

#include <string>

#include "directory/io/access_store.hpp"
#include "platform/password_hash.hpp"
#include "platform/work_pool.hpp"

namespace koshel::coordinator {

class PasswordPool {
 public:
  PasswordPool(boost::asio::any_io_executor loop, const platform::PasswordConfig& config);

  // Null: none is left.
  platform::WorkPool::Place reserve() { return pool_.reserve(); }
  platform::WorkPool::Place reserve_for_stranger(const std::string& address) {
    return pool_.reserve_for_stranger(address);
  }

  struct Verdict {
    bool is_right = false;
    std::string new_hash;  // for the same password, when the old one's parameters are not today's
  };
  // Without a password of its own a name is never right, in the time that `attempt`'s hash takes.
  boost::asio::awaitable<Verdict> check(platform::WorkPool::Place place,
                                        directory::LoginAttempt attempt, std::string password);
  // Empty: the memory cannot be had.
  boost::asio::awaitable<std::string> hash(platform::WorkPool::Place place, std::string password);

 private:
  platform::PasswordConfig config_;
  std::string nobodys_hash_;  // where no name has a password yet
  platform::WorkPool pool_;
};

}  // namespace koshel::coordinator
