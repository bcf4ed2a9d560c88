#include "platform/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

namespace koshel::platform {

void start_log(const std::string& program, const std::string& level) {
  auto logger = spdlog::stderr_logger_st(program);
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l [%n] %v", spdlog::pattern_time_type::utc);
  spdlog::set_level(spdlog::level::from_str(level));
}

}  // namespace koshel::platform
