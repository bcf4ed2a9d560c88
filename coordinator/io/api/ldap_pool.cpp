#include "coordinator/io/api/ldap_pool.hpp"

#include "platform/password_hash.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

Problem ldap_problem() {
  return {
      ProblemCode::DirectoryUnavailable,
      "LDAP, which knows passwords and groups here, cannot be asked; nothing happened, try again"};
}

LdapPool::Answer LdapPool::note(const std::optional<LdapPeople::Answer>& answer) {
  const bool is_answered = answer && *answer;
  ++(is_answered ? counts_.answered : counts_.unavailable);
  if (!is_answered) return ldap_problem();
  return answer->value();
}

asio::awaitable<LdapPool::Answer> LdapPool::prove(platform::WorkPool::Place place, std::string name,
                                                  std::string password, Instant deadline) {
  auto work = [this, name = std::move(name), password = std::move(password), deadline]() mutable {
    auto answer = people_.prove(name, password, deadline);
    platform::wipe(password);
    return answer;
  };
  auto pending = pool_.run(std::move(place), std::move(work), deadline);
  const auto answer = co_await std::move(pending);
  co_return note(answer);
}

asio::awaitable<LdapPool::Answer> LdapPool::look_up(platform::WorkPool::Place place,
                                                    std::string name, Instant deadline) {
  auto work = [this, name = std::move(name), deadline] { return people_.look_up(name, deadline); };
  auto pending = pool_.run(std::move(place), std::move(work), deadline);
  const auto answer = co_await std::move(pending);
  co_return note(answer);
}

}  // namespace koshel::coordinator
