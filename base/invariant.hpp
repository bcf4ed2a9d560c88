#pragma once
// INVARIANT states what the code relies on. It stays on in release builds: a program whose own
// state is impossible must stop before it writes, and crash recovery then does what it does for any
// crash.

#include <cstdio>
#include <cstdlib>

#define INVARIANT(condition)                                                                   \
  do {                                                                                         \
    if (!(condition)) [[unlikely]] {                                                           \
      std::fprintf(stderr, "invariant broken: %s at %s:%d\n", #condition, __FILE__, __LINE__); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (false)
