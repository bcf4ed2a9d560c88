#pragma once
// The system's bound of files and connections that a process has open.

#include <cstddef>

namespace koshel::platform {

// Raises this process's bound to `wanted`, or as near as the system allows; false if that is less.
bool allow_open_files(std::size_t wanted);

}  // namespace koshel::platform
