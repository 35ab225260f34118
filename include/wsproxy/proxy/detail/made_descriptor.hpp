// What is known of a descriptor that was made here: whether anybody else may have it.
#pragma once

#include <wsproxy/export.hpp>

namespace wsproxy::detail {

/// How often this process has forked, counted from the first call on, which says 1. 0: it cannot be counted.
/// posix_spawn() and vfork() are not counted: what wsproxy opens is closed by exec. Nor are _Fork() and a bare
/// clone(), which tell nobody. From any thread.
WSPROXY_EXPORT unsigned forks() noexcept;

/// A descriptor that was made when forks() said this before: while it says so, nothing has a copy of it.
struct made_descriptor {
  int number = -1;
  unsigned forks = 0;
};

/// close() of a connection whose peer's bytes have all been read. The peer hears of it (FIN), also if a child
/// has a copy.
WSPROXY_EXPORT void close_for_all(made_descriptor) noexcept;

}  // namespace wsproxy::detail
