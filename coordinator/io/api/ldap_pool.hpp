#pragma once
// Asks LDAP on threads of its own, few and bounded: while a server is silent, nothing else waits
// for it, and who asks has an answer by their deadline.

#include <cstdint>

#include "coordinator/io/api/problem.hpp"
#include "coordinator/io/ldap/ldap_people.hpp"
#include "platform/work_pool.hpp"

namespace koshel::coordinator {

class LdapPool {
 public:
  LdapPool(boost::asio::any_io_executor loop, const platform::LdapConfig& config)
      : people_(config), pool_(std::move(loop), {config.connections, config.waiting_max}) {}

  platform::WorkPool::Place reserve() { return pool_.reserve(); }  // null: none is left
  platform::WorkPool::Place reserve_for_stranger(const std::string& address) {
    return pool_.reserve_for_stranger(address);
  }

  // Null: nobody, or the password is wrong. DIRECTORY_UNAVAILABLE.
  using Answer = Checked<std::optional<Roles>>;
  boost::asio::awaitable<Answer> prove(platform::WorkPool::Place place, std::string name,
                                       std::string password, Instant deadline);
  bool can_look_up() const { return people_.can_look_up(); }
  boost::asio::awaitable<Answer> look_up(platform::WorkPool::Place place, std::string name,
                                         Instant deadline);

  struct Counts {
    std::int64_t answered = 0;
    std::int64_t unavailable = 0;  // failed, or without an answer in time
  };
  const Counts& counts() const { return counts_; }

 private:
  Answer note(const std::optional<LdapPeople::Answer>& answer);

  LdapPeople people_;
  platform::WorkPool pool_;
  Counts counts_;
};

Problem ldap_problem();

}  // namespace koshel::coordinator
