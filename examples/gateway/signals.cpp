#include "signals.hpp"

#include <csignal>
#include <system_error>
#include <utility>

#ifdef __linux__
#include <cerrno>
#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>
#endif

namespace wsproxy_gateway {

#ifdef __linux__

namespace {

constexpr int ending[] = {SIGTERM, SIGINT, SIGQUIT};

volatile std::sig_atomic_t rung = -1;  // the bell's descriptor

/// On any thread, in the middle of anything.
extern "C" void ring(int) {
  const int before = errno;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(rung, &one, sizeof one);
  errno = before;
}

int make_bell() {
  const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor < 0) throw std::system_error(errno, std::system_category(), "eventfd");
  return descriptor;
}

}  // namespace

ending_signals::ending_signals(asio::any_io_executor executor, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)), bell_(std::move(executor), make_bell()) {
  rung = bell_.native_handle();
  for (const int number : ending) {
    struct sigaction action {};
    action.sa_handler = ring;
    action.sa_flags = SA_RESTART;
    ::sigaction(number, &action, nullptr);
  }
  wait();
}

ending_signals::~ending_signals() {
  for (const int number : ending) std::signal(number, SIG_DFL);
}

void ending_signals::wait() {
  bell_.async_wait_read([this](std::error_code error) {
    if (error) return;
    std::uint64_t times = 0;
    if (::read(bell_.native_handle(), &times, sizeof times) < 0) times = 0;
    bell_.exhausted();
    for (; times != 0; --times) on_signal_();
    wait();
  });
}

#else

ending_signals::ending_signals(asio::any_io_executor executor, std::function<void()> on_signal)
    : on_signal_(std::move(on_signal)), signals_(std::move(executor), SIGTERM, SIGINT, SIGQUIT) {
  wait();
}

ending_signals::~ending_signals() = default;

void ending_signals::wait() {
  signals_.async_wait([this](std::error_code error, int) {
    if (error) return;
    on_signal_();
    wait();
  });
}

#endif

}  // namespace wsproxy_gateway
