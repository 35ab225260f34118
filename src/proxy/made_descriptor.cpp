#include <wsproxy/proxy/detail/made_descriptor.hpp>

#include <atomic>
#include <thread>

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wsproxy::detail {

namespace {

std::atomic<unsigned> count{1};
std::atomic<unsigned> closing{0};  // who may have read the count, and act on it: a fork waits for them

void before_fork() noexcept {
  if (++count == 0) ++count;
  // Bounded: it may be a signal handler that forks, amid one of them.
  for (int turns = 0; closing != 0 && turns != 1000; ++turns) std::this_thread::yield();
}
// The others that were closing are not in the child.
void in_child() noexcept { closing = 0; }

}  // namespace

unsigned forks() noexcept {
  static const bool counted = ::pthread_atfork(&before_fork, nullptr, &in_child) == 0;
  return counted ? count.load() : 0;
}

void close_for_all(made_descriptor which) noexcept {
  ++closing;
  if (which.forks == 0 || which.forks != count) ::shutdown(which.number, SHUT_WR);
  ::close(which.number);
  if (closing != 0) --closing;  // else this is a child that a signal handler forked meanwhile
}

}  // namespace wsproxy::detail
