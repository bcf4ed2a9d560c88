#pragma once
// The agent's part in an audit: one snapshot of the shard at a time, on a session of its own that
// is named after the agent's epoch, so that a take-over ends it. An audit with another number ends
// the one before it: the directory lets only one run in the cluster, so whoever asked for that one
// has gone.

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "base/messages/audit.hpp"
#include "platform/snapshot_session.hpp"
#include "shard-agent/io/agent_service.hpp"

namespace koshel::agent {

class AuditDesk {
 public:
  explicit AuditDesk(AgentService& service) : service_(service) {}

  // Errors: the database cannot be read now, not by this agent, or the snapshot has gone.
  boost::asio::awaitable<Result<messages::AuditOpened>> open(messages::OpenAudit open);
  boost::asio::awaitable<Result<messages::AuditDone>> run(messages::RunAudit run);
  boost::asio::awaitable<Result<messages::AuditListed>> list(messages::ListAudit list);
  boost::asio::awaitable<Result<messages::AuditClosed>> close(messages::CloseAudit close);

 private:
  template <class Work>
  auto read(std::int64_t audit, Work work)
      -> boost::asio::awaitable<Result<std::invoke_result_t<Work&, pqxx::connection&>>>;

  AgentService& service_;
  std::unique_ptr<platform::SnapshotSession> session_;
  std::int64_t audit_ = 0;
  Epoch epoch_;
};

}  // namespace koshel::agent
