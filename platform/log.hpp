#pragma once
// The daemons' log: one line per event on stderr, through spdlog. Secrets and amounts do not go
// there.

#include <spdlog/spdlog.h>

#include <string>

namespace koshel::platform {

// `level` is one of trace, debug, info, warn, error; the config reader has checked it.
void start_log(const std::string& program, const std::string& level);

}  // namespace koshel::platform
