// What the API answers to, and who may ask for it. The first route that fits is taken; what
// belongs to an account is decided where the account is known.

#include "coordinator/io/api/api.hpp"
#include "platform/crash_points.hpp"
#include "platform/metrics.hpp"

namespace koshel::coordinator {

using platform::with_points;

namespace {

constexpr auto kTellers = Rule::only({Role::Teller, Role::Admin});
constexpr auto kAuditors = Rule::only({Role::Auditor, Role::Admin});
constexpr auto kStaff = Rule::only({Role::Teller, Role::Auditor, Role::Admin});
constexpr auto kAdmins = Rule::only({Role::Admin});

Respond plain(int status, std::string text) {
  return answer({status, "text/plain; charset=utf-8", std::move(text) + "\n", {}});
}

}  // namespace

Respond Api::ready() {
  return context_.service.is_ready() ? plain(200, "ready")
                                     : plain(503, "the directory cannot be reached");
}

const Api::Route Api::kRoutes[] = {
      {"POST", "/v1/transfers", Rule::known(), Trail::IfNoted,
       [](Api& api, Call call) {
         return with_points<"coordinator.serve">(
             api.transfers_.transfer(std::move(call.request), std::move(call.caller), call.note));
       }},
      {"POST", "/v1/transfers/batch", Rule::known(), Trail::IfNoted,
       [](Api& api, Call call) {
         return with_points<"coordinator.serve">(api.transfers_.transfer_batch(
             std::move(call.request), std::move(call.caller), call.note));
       }},
      {"GET", "/v1/transfers/{}", Rule::known(), Trail::None,
       [](Api& api, Call call) {
         return api.transfers_.show(std::move(call.request), std::move(call.caller),
                                    std::move(call.arguments[0]));
       }},
      {"GET", "/v1/users/{}", Rule::known(), Trail::None,
       [](Api& api, Call call) {
         return api.users_.show(std::move(call.request), std::move(call.caller),
                                std::move(call.arguments[0]));
       }},
      {"PATCH", "/v1/users/{}", kTellers, Trail::WithBody,
       [](Api& api, Call call) {
         return with_points<"coordinator.serve">(
             api.users_.change(std::move(call.request), std::move(call.caller),
                               std::move(call.arguments[0])));
       }},
      {"GET", "/v1/users/{}/entries", Rule::known(), Trail::None,
       [](Api& api, Call call) {
         return api.users_.entries(std::move(call.request), std::move(call.caller),
                                   std::move(call.arguments[0]));
       }},
      {"GET", "/v1/users/{}/transfers/{}", Rule::known(), Trail::None,
       [](Api& api, Call call) {
         return api.transfers_.show_of_user(std::move(call.request), std::move(call.caller),
                                            std::move(call.arguments[0]),
                                            std::move(call.arguments[1]));
       }},
      {"GET", "/v1/users", kStaff, Trail::None,
       [](Api& api, Call call) { return api.users_.list(std::move(call.request)); }},
      {"POST", "/v1/users", kTellers, Trail::WithBody,
       [](Api& api, Call call) {
         return with_points<"coordinator.serve">(
             api.users_.create(std::move(call.request), std::move(call.caller)));
       }},
      {"POST", "/v1/users/batch", kTellers, Trail::NoBody,
       [](Api& api, Call call) {
         return with_points<"coordinator.serve">(
             api.users_.create_batch(std::move(call.request), std::move(call.caller), call.note));
       }},
      {"GET", "/v1/admin/shards", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.shards_.list(std::move(call.request)); }},
      {"POST", "/v1/admin/shards", kAdmins, Trail::WithBody,
       [](Api& api, Call call) { return api.shards_.add(std::move(call.request)); }},
      {"PATCH", "/v1/admin/shards/{}", kAdmins, Trail::WithBody,
       [](Api& api, Call call) {
         return api.shards_.change(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"DELETE", "/v1/admin/shards/{}", kAdmins, Trail::NoBody,
       [](Api& api, Call call) {
         return api.shards_.remove(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"POST", "/v1/admin/shards/{}/drain", kAdmins, Trail::NoBody,
       [](Api& api, Call call) {
         return api.shards_.drain(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"GET", "/v1/admin/rebalance", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.rebalance_.show(std::move(call.request)); }},
      {"POST", "/v1/admin/rebalance", kAdmins, Trail::WithBody,
       [](Api& api, Call call) { return api.rebalance_.act(std::move(call.request)); }},
      {"GET", "/v1/admin/rebalance/plan", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.rebalance_.plan(std::move(call.request)); }},
      {"POST", "/v1/admin/audit", kAuditors, Trail::NoBody,
       [](Api& api, Call call) { return api.audit_.run(std::move(call.request)); }},
      {"GET", "/v1/admin/rounds/unresolved", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.shards_.unresolved(std::move(call.request)); }},
      {"GET", "/v1/admin/audit-log", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.audit_log_.list(std::move(call.request)); }},
      {"POST", "/v1/login", Rule::open(), Trail::IfNoted,
       [](Api& api, Call call) { return api.access_.login(std::move(call.request), call.note); }},
      {"POST", "/v1/logout", Rule::known(), Trail::NoBody,
       [](Api& api, Call call) {
         return api.access_.logout(std::move(call.request), std::move(call.caller));
       }},
      {"GET", "/v1/whoami", Rule::known(), Trail::None,
       [](Api& api, Call call) { return api.access_.whoami(std::move(call.caller)); }},
      {"PUT", "/v1/users/{}/password", Rule::known(), Trail::NoBody,
       [](Api& api, Call call) {
         return api.access_.set_password(std::move(call.request), std::move(call.caller),
                                         std::move(call.arguments[0]));
       }},
      {"PUT", "/v1/admin/roles/{}", kAdmins, Trail::WithBody,
       [](Api& api, Call call) {
         return api.staff_.set_roles(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"POST", "/v1/admin/tokens", kAdmins, Trail::WithBody,
       [](Api& api, Call call) {
         return api.staff_.add_token(std::move(call.request), std::move(call.caller));
       }},
      {"GET", "/v1/admin/tokens", kAuditors, Trail::None,
       [](Api& api, Call call) { return api.staff_.list_tokens(std::move(call.request)); }},
      {"DELETE", "/v1/admin/tokens/{}", kAdmins, Trail::NoBody,
       [](Api& api, Call call) {
         return api.staff_.remove_token(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"DELETE", "/v1/admin/sessions/{}", kAdmins, Trail::NoBody,
       [](Api& api, Call call) {
         return api.staff_.end_sessions(std::move(call.request), std::move(call.arguments[0]));
       }},
      {"GET", "/healthz", Rule::open(), Trail::None,
       [](Api&, Call) { return plain(200, "alive"); }},
      {"HEAD", "/healthz", Rule::open(), Trail::None,
       [](Api&, Call) { return plain(200, "alive"); }},
      {"GET", "/readyz", Rule::open(), Trail::None, [](Api& api, Call) { return api.ready(); }},
      {"HEAD", "/readyz", Rule::open(), Trail::None, [](Api& api, Call) { return api.ready(); }},
      {"GET", "/metrics", kAuditors, Trail::None,
       [](Api& api, Call) {
         return answer({200, platform::MetricsPage::kContentType, api.metrics(), {}});
       }},
      {"HEAD", "/metrics", kAuditors, Trail::None,
       [](Api& api, Call) {
         return answer({200, platform::MetricsPage::kContentType, api.metrics(), {}});
       }},
      {"GET", "/openapi.yaml", Rule::open(), Trail::None,
       [](Api&, Call) {
         return answer({200, "application/yaml", std::string(openapi_text()), {}});
       }},
      {"HEAD", "/openapi.yaml", Rule::open(), Trail::None,
       [](Api&, Call) {
         return answer({200, "application/yaml", std::string(openapi_text()), {}});
       }},
};

std::span<const Api::Route> Api::routes() {
  return kRoutes;
}

}  // namespace koshel::coordinator
