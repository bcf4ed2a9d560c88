#include "coordinator/io/api/session_roles.hpp"

#include <boost/asio/co_spawn.hpp>

#include "coordinator/io/api/context.hpp"
#include "platform/log.hpp"
#include "platform/spawn.hpp"

namespace koshel::coordinator {

namespace asio = boost::asio;

namespace {

bool has_more_than_an_account(Roles roles) {
  roles.remove(Role::User);
  return !roles.is_empty();
}

Problem log_in_again(std::string why) {
  return {ProblemCode::Unauthenticated, std::move(why) + "; log in again"};
}

}  // namespace

asio::awaitable<Checked<directory::TokenOwner>> SessionRoles::keep_young(
    directory::TokenOwner owner) {
  const auto ttl = config_.auth.ldap.roles_ttl;
  const auto age = *owner.roles_age;
  const bool is_over = age >= ttl && has_more_than_an_account(owner.roles);
  if (!ldap_.can_look_up()) {
    if (is_over) co_return log_in_again("the roles of this session have to be asked for anew");
    co_return owner;
  }
  if (age < ttl / 2) co_return owner;
  const auto look_up = begin(owner.name);
  if (!is_over) co_return owner;
  if (!look_up) co_return problem_of(FailCode::Overloaded);
  if (!look_up->outcome) {
    boost::system::error_code ignored;
    co_await look_up->over.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  if (!look_up->outcome) co_return ldap_problem();
  if (!*look_up->outcome) co_return look_up->outcome->error();
  const bool has_account = owner.roles.has(Role::User);
  owner.roles = look_up->outcome->value();
  if (has_account) owner.roles.add(Role::User);
  co_return owner;
}

std::shared_ptr<SessionRoles::LookUp> SessionRoles::begin(const std::string& name) {
  if (const auto found = under_way_.find(name); found != under_way_.end()) return found->second;
  auto place = ldap_.reserve();
  if (!place) return nullptr;
  const auto deadline = std::chrono::steady_clock::now() + config_.coordinator.deadline;
  auto begun = std::make_shared<LookUp>(LookUp{asio::steady_timer(loop_, deadline), std::nullopt});
  under_way_.emplace(name, begun);
  asio::co_spawn(loop_, run(begun, std::move(place), name, deadline), platform::end_on_failure);
  return begun;
}

asio::awaitable<void> SessionRoles::run(std::shared_ptr<LookUp> look_up,
                                        platform::WorkPool::Place place, std::string name,
                                        Instant deadline) {
  auto asking = ask(std::move(place), name, deadline);
  auto outcome = co_await std::move(asking);
  under_way_.erase(name);
  look_up->outcome.emplace(std::move(outcome));
  look_up->over.cancel();
}

asio::awaitable<Checked<Roles>> SessionRoles::ask(platform::WorkPool::Place place, std::string name,
                                                  Instant deadline) {
  const auto asked = std::chrono::steady_clock::now();
  auto looking = ldap_.look_up(std::move(place), name, deadline);
  const auto roles = co_await std::move(looking);
  if (!roles) co_return roles.error();
  if (!roles.value()) {
    auto ending = store_.end_ldap_sessions(name);
    const auto ended = co_await std::move(ending);
    if (!ended) co_return directory_problem(ended.error());
    spdlog::info("LDAP does not know {} any more: their sessions have ended", name);
    co_return log_in_again("LDAP does not know " + name + " any more");
  }
  const auto age =
      std::chrono::ceil<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked);
  auto storing = store_.set_ldap_roles(name, {*roles.value(), age});
  const auto stored = co_await std::move(storing);
  if (!stored) co_return directory_problem(stored.error());
  co_return *roles.value();
}

}  // namespace koshel::coordinator
