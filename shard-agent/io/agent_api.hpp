#pragma once
// The agent's HTTP face: JSON messages of base/messages in, JSON messages out; health and metrics
// beside them. Translates and nothing more.

#include <boost/asio/awaitable.hpp>
#include <memory>

#include "platform/http.hpp"
#include "platform/tls.hpp"
#include "shard-agent/io/agent_service.hpp"
#include "shard-agent/io/audit_desk.hpp"

namespace koshel::agent {

// 200 with a message; 400 for what is no message of this version; 404, 405; 503 when the database
// cannot be read (nothing happened, ask again).
class AgentApi {
 public:
  // `certificate`: that is shown to coordinators; null: none is.
  AgentApi(AgentService& service, std::shared_ptr<const platform::TlsContext> certificate)
      : service_(service), audit_(service), certificate_(std::move(certificate)) {}
  boost::asio::awaitable<platform::HttpResponse> handle(platform::HttpRequest request);

 private:
  boost::asio::awaitable<platform::HttpResponse> post(std::string path, std::string body);
  std::string metrics() const;

  AgentService& service_;
  AuditDesk audit_;
  std::shared_ptr<const platform::TlsContext> certificate_;
};

platform::HttpResponse agent_protocol_error(platform::ProtocolFault fault);

}  // namespace koshel::agent
