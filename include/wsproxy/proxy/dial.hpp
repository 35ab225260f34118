// Connecting to a backend.
#pragma once

#include <system_error>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/generic/stream_protocol.hpp>

#include <wsproxy/proxy/detail/made_descriptor.hpp>
#include <wsproxy/proxy/stream.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

/// The stream to a backend unless a dialer says otherwise: TCP or Unix, in one type.
using upstream_socket = asio::generic::stream_protocol::socket;

/// Makes connections: `async_dial(address, executor, token)` completes with (error_code, stream_type) on
/// `executor`, and ends early with asio::error::operation_aborted when the token's cancellation slot says
/// so. Another dialer gives TLS, connections made beforehand, or a simulator's.
template <class D>
concept dialer = requires(D& d, const address& to, asio::any_io_executor executor) {
  typename D::stream_type;
  requires stream_like<typename D::stream_type>;
  d.async_dial(to, executor, [](std::error_code, typename D::stream_type) {});
};

/// Dials TCP (with TCP_NODELAY) and Unix sockets, closed on exec. A host name is resolved first, off the
/// event loop, and its addresses are tried in order; the time limit is the caller's (timeouts::connect covers
/// all of it).
class socket_dialer {
 public:
  using stream_type = upstream_socket;  ///< what it makes

  /// Completion signature: void(std::error_code, upstream_socket). Any cancellation type ends it.
  template <asio::completion_token_for<void(std::error_code, upstream_socket)> Token =
                default_token<asio::any_io_executor>>
  auto async_dial(const address& to, asio::any_io_executor executor,
                  Token&& token = default_token<asio::any_io_executor>());
};

}  // namespace wsproxy

#include <wsproxy/proxy/impl/dial.hpp>
