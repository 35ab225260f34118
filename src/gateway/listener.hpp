// A listening socket of any family, and the addresses it deals in. Private to the gateway.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include <asio/any_io_executor.hpp>
#include <asio/generic/stream_protocol.hpp>

#ifdef __linux__
#include <wsproxy/proxy/edge_socket.hpp>
#else
#include <wsproxy/proxy/dial.hpp>
#endif

namespace wsproxy::detail {

/// What a gateway waits for: its listening sockets, and its clients.
#ifdef __linux__
using gateway_socket = edge_socket;
#else
using gateway_socket = upstream_socket;
#endif
/// Takes over a descriptor. Throws std::system_error; then it is still the caller's.
gateway_socket make_socket(const asio::any_io_executor& executor,
                           const asio::generic::stream_protocol& protocol, made_descriptor descriptor);

/// An address as text, split where a port is.
struct address_text {
  std::string host;  // "unix:" for a Unix socket
  std::uint16_t port = 0;
};

address_text text_of(const asio::generic::stream_protocol::endpoint& endpoint);

struct listener {
  gateway_socket socket;
  asio::generic::stream_protocol::endpoint at;
  std::shared_ptr<const address_text> local{};  // of its connections; null where each must be asked
  std::string unlink{};                         // a Unix socket's path, to be removed at the end
  bool delays = false;                          // its connections have not inherited TCP_NODELAY
};

/// Opens "HOST:PORT", "[IPV6]:PORT", "unix:PATH". Throws std::system_error naming the text.
listener open_listener(const asio::any_io_executor& executor, std::string_view at, int backlog,
                       bool reuse_port, bool ipv6_only);
/// Takes over a listening descriptor. Throws std::system_error; then it is still the caller's.
listener adopt_listener(const asio::any_io_executor& executor, int descriptor);

/// The address that a connection came to.
std::shared_ptr<const address_text> local_text(const listener& from, int descriptor);

/// Accepts one connection without blocking. Number -1 and errno's code if there is none.
made_descriptor accept_one(listener& from, asio::generic::stream_protocol::endpoint& peer,
                           std::error_code& error) noexcept;

}  // namespace wsproxy::detail
