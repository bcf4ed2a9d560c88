#pragma once
// The coordinator's HTTP face: which path and method is whose, and what the protocol's own faults
// say.

#include "coordinator/io/api/audit_api.hpp"
#include "coordinator/io/api/rebalance_api.hpp"
#include "coordinator/io/api/shards_api.hpp"
#include "coordinator/io/api/transfers_api.hpp"
#include "coordinator/io/api/users_api.hpp"

namespace koshel::coordinator {

class Api {
 public:
  explicit Api(ApiContext context)
      : context_(context),
        users_(context),
        transfers_(context),
        shards_(context),
        rebalance_(context),
        audit_(context) {}

  Respond handle(platform::HttpRequest request);
  static platform::HttpResponse on_protocol_error(platform::ProtocolFault fault);

 private:
  // Null: no such path. The response to a wrong method names the right ones.
  std::optional<Respond> route(platform::HttpRequest& request);
  std::optional<Respond> route_users(platform::HttpRequest& request);
  std::optional<Respond> route_admin(platform::HttpRequest& request);
  std::optional<Respond> operational(const platform::HttpRequest& request) const;
  std::string metrics() const;

  ApiContext context_;
  UsersApi users_;
  TransfersApi transfers_;
  ShardsApi shards_;
  RebalanceApi rebalance_;
  AuditApi audit_;
};

// openapi.yaml, embedded at build time.
std::string_view openapi_text();

}  // namespace koshel::coordinator
