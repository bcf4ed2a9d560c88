#pragma once
// The system's bound of files and connections that a process has open.

#include <cstddef>

namespace koshel::platform {

// Raises this process's bound as far as the system allows; false if that is less than `wanted`.
bool allow_open_files(std::size_t wanted);

}  // namespace koshel::platform
