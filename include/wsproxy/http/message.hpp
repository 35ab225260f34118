// The heads of HTTP/1 messages (RFC 9112): start line and fields, no body.
#pragma once

#include <string>
#include <string_view>

#include <wsproxy/export.hpp>
#include <wsproxy/http/fields.hpp>

namespace wsproxy {

/// The versions that are spoken (RFC 9112 section 2.3).
enum class http_version {
  http_1_0,  ///< a connection carries one request, no WebSocket, and no chunks
  http_1_1,  ///< everything else
};

/// A request's head. A host that has parsed a request itself fills this in; the
/// fields keep the order and bytes of the wire.
struct request_head {
  std::string method;                             ///< "GET": case counts
  std::string target;                             ///< as received: origin-form, absolute-form or "*"
  http_version version = http_version::http_1_1;  ///< of whoever sent it
  wsproxy::fields fields{};                       ///< Host among them
};

/// A response's head.
struct response_head {
  int status = 0;                                 ///< three digits
  std::string reason;                             ///< the phrase behind it; may be empty, and means nothing
  http_version version = http_version::http_1_1;  ///< of whoever sent it
  wsproxy::fields fields{};                       ///< those that frame the body among them
};

/// The bytes of a head, blank line included. Appends to `out`. A value or reason with CR, LF or NUL,
/// a name or method that is no token, a target with space or a byte that is not visible ASCII, or a
/// status without three digits throws std::invalid_argument: nothing may smuggle a line.
WSPROXY_EXPORT void serialize(const request_head&, std::string& out);
/// The same of a response's head.
WSPROXY_EXPORT void serialize(const response_head&, std::string& out);

/// A complete small response with Content-Length (and none for 1xx, 204, 304).
/// `extra` comes before Content-Length, without its own Content-Length and Transfer-Encoding; `close` adds
/// `Connection: close` where it is not there.
WSPROXY_EXPORT std::string make_response(int status, std::string_view body, const fields& extra = {},
                                         bool close = false);

/// The reason phrase a status is sent with, in nginx's words where it has one; "" for unknown codes.
WSPROXY_EXPORT std::string_view reason_phrase(int status) noexcept;

}  // namespace wsproxy
