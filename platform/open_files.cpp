#include "platform/open_files.hpp"

#include <sys/resource.h>

namespace koshel::platform {

bool allow_open_files(std::size_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return false;
  // All that may be had: how many connections to databases and agents there will be shows later.
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted;
}

}  // namespace koshel::platform
