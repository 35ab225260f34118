// What wsproxy-gateway serves without a configuration: a page, and two WebSocket echo servers to reach
// through the gateway. The servers are written with the parts of wsproxy that do no I/O, on Asio.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

namespace wsproxy_gateway {

/// Serves the page, and on a WebSocket says {"backend":"NAME"} and then echoes every message. On a port of
/// the loopback address that the system chooses.
class demo_backend {
 public:
  demo_backend(asio::io_context& context, std::string name);
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  void accept();
  asio::ip::tcp::acceptor acceptor_;
  const std::shared_ptr<const std::string> name_;
};

/// Two of them on a thread of their own, for as long as this lives.
class demo {
 public:
  demo();
  ~demo();
  demo(const demo&) = delete;
  demo& operator=(const demo&) = delete;

  /// The configuration that leads to them.
  std::string configuration(std::string_view listen) const;

 private:
  asio::io_context context_{1};
  std::vector<std::unique_ptr<demo_backend>> backends_;
  std::thread thread_;
};

}  // namespace wsproxy_gateway
