#include "shard-agent/io/audit_desk.hpp"

#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "shard-agent/io/audit_queries.hpp"

namespace koshel::agent {

namespace asio = boost::asio;

// What is prepared is listed before the snapshot is taken, and a round leaves that list only after
// its effects can be seen: so whatever is not on it is in the snapshot, or never came to be.
asio::awaitable<Result<messages::AuditOpened>> AuditDesk::open(messages::OpenAudit open) {
  if (!service_.machine().is_serving()) {
    co_return Error{Fault::Unavailable, "the agent takes over its shard"};
  }
  const auto& setup = service_.setup();
  const auto epoch = service_.machine().epoch();
  if (!session_ || audit_ != open.audit || epoch_ != epoch) {
    session_.reset();
    session_ = std::make_unique<platform::SnapshotSession>(co_await asio::this_coro::executor,
                                                           setup.config.shard, session_name(epoch),
                                                           setup.config.agent.audit_timeout);
    audit_ = open.audit;
    epoch_ = epoch;
  }
  auto list = [identity = setup.identity](pqxx::connection& connection) {
    return prepared_rounds(connection, identity);
  };
  auto pending = session_->open(std::move(list), audited_epoch(epoch));
  auto prepared = co_await std::move(pending);
  if (!prepared) co_return prepared.error();
  const std::chrono::duration<double> age = setup.config.agent.in_doubt_age;
  co_return messages::AuditOpened{std::move(prepared.value()), age.count()};
}

template <class Work>
auto AuditDesk::read(std::int64_t audit, Work work)
    -> asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>> {
  if (!session_ || audit_ != audit) {
    co_return Error{Fault::Unavailable, "this audit has ended"};
  }
  auto pending = session_->read(std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<messages::AuditDone>> AuditDesk::run(messages::RunAudit run) {
  auto work = [run](pqxx::connection& connection) { return run_audit(connection, run); };
  auto pending = read(run.audit, std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<messages::AuditListed>> AuditDesk::list(messages::ListAudit list) {
  auto work = [list](pqxx::connection& connection) { return list_audit(connection, list); };
  auto pending = read(list.audit, std::move(work));
  co_return co_await std::move(pending);
}

asio::awaitable<Result<messages::AuditClosed>> AuditDesk::close(messages::CloseAudit close) {
  if (!session_ || audit_ != close.audit) co_return messages::AuditClosed{false};
  session_.reset();
  co_return messages::AuditClosed{true};
}

}  // namespace koshel::agent
