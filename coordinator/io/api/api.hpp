#pragma once
// The coordinator's HTTP face: which path and method is whose, who may call it, and what the
// protocol's own faults say. Whatever is asked passes through `handle`; the routes and their rules
// stand in routes.cpp.

#include <memory>
#include <span>

#include "coordinator/io/api/access_api.hpp"
#include "coordinator/io/api/audit_api.hpp"
#include "coordinator/io/api/audit_log_api.hpp"
#include "coordinator/io/api/rebalance_api.hpp"
#include "coordinator/io/api/shards_api.hpp"
#include "coordinator/io/api/staff_api.hpp"
#include "coordinator/io/api/transfers_api.hpp"
#include "coordinator/io/api/users_api.hpp"
#include "coordinator/io/audit_trail.hpp"
#include "coordinator/logic/denial_limit.hpp"

namespace koshel::coordinator {

class Api {
 public:
  Api(ApiContext context, boost::asio::any_io_executor loop, platform::PgPool& directory,
      Incarnation incarnation);

  Respond handle(platform::HttpRequest request);
  static platform::HttpResponse on_protocol_error(platform::ProtocolFault fault);
  // After the last request: the rows of the trail that wait for a silent directory.
  boost::asio::awaitable<void> finish_trail();

 private:
  struct Call {
    platform::HttpRequest request;
    std::vector<std::string> arguments;  // the segments at the path's `{}`
    Caller caller;
    Note* note = nullptr;  // null: no trail is kept
  };
  // Without a rule there is no route.
  struct Route {
    using Handler = Respond (*)(Api& api, Call call);
    constexpr Route(std::string_view the_method, std::string_view the_path, Rule the_rule,
                    Trail the_trail, Handler the_handler)
        : method(the_method),
          path(the_path),
          rule(the_rule),
          trail(the_trail),
          handler(the_handler) {}
    std::string_view method;
    std::string_view path;  // `{}` stands for one segment
    Rule rule;
    Trail trail;
    Handler handler;
  };

  static const Route kRoutes[];
  static std::span<const Route> routes();
  Respond ask_and_serve(const Route& route, Call call);
  Respond serve(const Route& route, Call call);
  Respond serve_on_record(const Route& route, Call call);
  Respond ready();
  std::string metrics() const;

  ApiContext context_;
  directory::AccessStore access_store_;
  std::unique_ptr<LdapPool> ldap_;  // with mode ldap; else null, as the next
  std::unique_ptr<SessionRoles> session_roles_;
  Gate gate_;
  PasswordPool passwords_;
  directory::AuditLogStore audit_log_store_;
  AuditTrail trail_;
  DenialLimit denials_;
  UsersApi users_;
  TransfersApi transfers_;
  ShardsApi shards_;
  RebalanceApi rebalance_;
  AuditApi audit_;
  AccessApi access_;
  StaffApi staff_;
  AuditLogApi audit_log_;
};

// openapi.yaml, embedded at build time.
std::string_view openapi_text();

}  // namespace koshel::coordinator
