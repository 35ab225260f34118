// The signals that end the program, as events of a context.
#pragma once

#include <functional>

#include <asio/any_io_executor.hpp>

#ifdef __linux__
#include <wsproxy/proxy/edge_socket.hpp>
#else
#include <asio/signal_set.hpp>
#endif

namespace wsproxy_gateway {

/// Calls a function on the executor for every SIGTERM, SIGINT and SIGQUIT, as long as it exists. One in a
/// program. asio::signal_set would do, but in an edge_context it starts a thread of Asio's, and a process
/// with one thread saves the kernel and the C library what a second one costs in every system call.
class ending_signals {
 public:
  /// Throws std::system_error where there is no descriptor left.
  ending_signals(asio::any_io_executor executor, std::function<void()> on_signal);
  ~ending_signals();
  ending_signals(const ending_signals&) = delete;
  ending_signals& operator=(const ending_signals&) = delete;

 private:
  void wait();

  std::function<void()> on_signal_;
#ifdef __linux__
  wsproxy::edge_socket bell_;
#else
  asio::signal_set signals_;
#endif
};

}  // namespace wsproxy_gateway
