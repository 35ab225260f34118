#pragma once

#include <optional>

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/detail/submit.hpp>
#include <wsproxy/proxy/dial.hpp>

namespace wsproxy {

namespace detail {

/// Begins to connect a new descriptor of this socket's.
WSPROXY_EXPORT std::error_code begin_connect(edge_socket&, const void* address, std::size_t size) noexcept;

/// Connects edge_sockets.
class edge_connector {
 public:
  using stream_type = edge_socket;
  explicit edge_connector(asio::any_io_executor executor) : executor_(std::move(executor)) {}

  template <class Handler> void connect(const stream_endpoint& to, Handler handler) {
    const auto error = begin_connect(socket_.emplace(executor_), to.data(), to.size());
    if (error) return post_on(executor_, [handler = std::move(handler), error]() mutable { handler(error); });
    socket_->async_wait_write([handler = std::move(handler), this](std::error_code ec) mutable {
      handler(ec ? ec : socket_->connected());
    });
  }
  void stop() noexcept {
    if (socket_) socket_->close();
  }
  edge_socket take() { return std::move(*socket_); }
  static edge_socket closed(const asio::any_io_executor& executor) { return edge_socket(executor); }

 private:
  asio::any_io_executor executor_;
  std::optional<edge_socket> socket_;
};

}  // namespace detail

template <asio::completion_token_for<void(std::error_code, edge_socket)> Token>
auto edge_dialer::async_dial(const address& to, asio::any_io_executor executor, Token&& token) {
  return asio::async_initiate<Token, void(std::error_code, edge_socket)>(
      detail::initiate_dial<detail::edge_connector>{{std::move(executor)}}, token, address(to));
}

}  // namespace wsproxy
