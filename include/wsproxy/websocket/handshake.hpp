// The opening handshake as a proxy speaks it: what goes upstream, and whether the answer switches.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/http/body.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/websocket/upgrade.hpp>

namespace wsproxy {

/// The Sec-WebSocket-Accept value that answers a key: base64(SHA-1(key + GUID)) (RFC 6455 section 4.2.2).
WSPROXY_EXPORT std::string accept_key(std::string_view sec_websocket_key);

/// A Sec-WebSocket-Key of these 16 bytes, which a peer must not be able to guess (RFC 6455 section 4.1). For
/// whoever opens a WebSocket of its own; a proxy forwards its client's.
WSPROXY_EXPORT std::string make_key(const std::array<std::uint8_t, 16>& random);

/// How the host changes a request on its way upstream.
struct request_rewrite {
  /// Replaces the request target; empty leaves it byte for byte, but an absolute-form becomes its path
  /// and query, as in nginx.
  std::string target{};
  /// Fields to set: they stand first, in this order, and the client's fields of these names are left
  /// out. An empty value only leaves the client's out. [proxy_set_header]
  wsproxy::fields set{};
  /// A WebSocket handshake and a chunked body are sent as HTTP/1.1 in any case. [proxy_http_version]
  http_version version = http_version::http_1_1;
};

/// The request to send upstream. In this order:
/// 1. hop-by-hop and nominated fields of the client's are stripped (strip_hop_by_hop; also `Expect`,
///    which this proxy answers itself);
/// 2. `rewrite.set` comes first, then what the client sent, in its order;
/// 3. `Upgrade` and `Connection` are decided last: for a WebSocket `Upgrade: websocket` and
///    `Connection: upgrade`, for a plain request no `Upgrade` and `Connection: close`. They stand where
///    `rewrite.set` has them, with its value's spelling where that means the same, else behind `set`.
///    A plain request whose `set` has an empty `Connection` gets none.
/// 4. Content-Length or Transfer-Encoding describe `body`, behind all of these and before what the client
///    sent; `rewrite.set` cannot set them.
/// The client's Sec-WebSocket-Key is forwarded. If neither `set` nor the client has a Host, a `Host` with an
/// empty value comes first. Does not modify `in`.
WSPROXY_EXPORT request_head make_upstream_request(const request_head& in, request_kind kind,
                                                  const body_framing& body,
                                                  const request_rewrite& rewrite = {});
/// The same with the body that `in` announces (request_framing, http/body.hpp), and no rewrite. Throws
/// std::invalid_argument where it announces none that can be.
WSPROXY_EXPORT request_head make_upstream_request(const request_head& in, request_kind kind);

/// What an upstream's response head means for a request.
struct response_verdict {
  /// The four things that it can mean.
  enum class kind {
    switched,               ///< a 101 that keeps every rule: the connection is a WebSocket now
    interim,                ///< 1xx other than 101: pass it on and read the next head
    final,                  ///< an ordinary response
    broken,                 ///< `error` says which rule; counts as nginx's invalid_header
  } is = kind::broken;      ///< which
  std::error_code error{};  ///< of kind::broken: the rule
};

/// Checks a response head against the request that was sent upstream: exactly 101, one Upgrade
/// element `websocket`, `Connection` with `upgrade`, and a Sec-WebSocket-Accept that fits the key
/// (RFC 6455 section 4.1). A 101 to a plain request is broken (errc::unasked_switch).
WSPROXY_EXPORT response_verdict check_response(const request_head& sent, request_kind kind,
                                               const response_head& response);

/// The head to send downstream. Strips hop-by-hop and nominated fields; for a 101 adds
/// `Connection: upgrade` and `Upgrade: websocket`; for a final response `body` says how its body goes
/// down (Content-Length is kept from upstream, chunked is announced, until_close is
/// `Connection: close`, and so is chunked to an HTTP/1.0 client), and `keep_alive` whether the connection
/// goes on
/// (`Connection: keep-alive` to an HTTP/1.0 client, `close` when it does not).
WSPROXY_EXPORT response_head make_downstream_response(const response_head& in, const body_framing& body,
                                                      bool keep_alive, http_version client);

}  // namespace wsproxy
