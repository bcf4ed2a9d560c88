#pragma once
// Internal to the HTTP server: the request line's target, taken apart.

#include "platform/http.hpp"

namespace koshel::platform {

// Fills path, segments and query; false when the target is malformed.
bool read_target(std::string_view target, HttpRequest& request);

}  // namespace koshel::platform
