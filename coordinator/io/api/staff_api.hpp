#pragma once
// /v1/admin/roles, /v1/admin/tokens and /v1/admin/sessions: what people and services may do.

#include "coordinator/io/api/access_api.hpp"

namespace koshel::coordinator {

class StaffApi {
 public:
  explicit StaffApi(AccessContext context) : context_(context) {}

  Respond set_roles(platform::HttpRequest request, std::string name);
  Respond add_token(platform::HttpRequest request, Caller caller);
  Respond list_tokens(platform::HttpRequest request);
  Respond remove_token(platform::HttpRequest request, std::string id);
  Respond end_sessions(platform::HttpRequest request, std::string name);

 private:
  AccessContext context_;
};

}  // namespace koshel::coordinator
