// What a proxy must remove from a head, and what it may add.
#pragma once

#include <string>
#include <string_view>

#include <wsproxy/export.hpp>
#include <wsproxy/http/message.hpp>

namespace wsproxy {

/// Removes what concerns one connection only (RFC 9110 section 7.6.1): every field that any
/// `Connection` line nominates, then Connection, Proxy-Connection, Keep-Alive, TE, Transfer-Encoding
/// and Upgrade. `Trailer` and `Expect` stay.
/// A nomination of Host, Content-Length, Content-Type, Authorization, Cookie, Origin or of a
/// Sec-WebSocket-* field is ignored: no client may delete what routing and the handshake rest on.
WSPROXY_EXPORT void strip_hop_by_hop(fields&);

/// nginx's $proxy_add_x_forwarded_for: the client's X-Forwarded-For lines joined by ", ",
/// then `client`; `client` alone if there are none.
WSPROXY_EXPORT std::string append_forwarded_for(const fields&, std::string_view client);

/// The host that a request names, in lower case and without port: the absolute-form target's
/// authority, else Host; empty if there is none. [nginx's $host]
WSPROXY_EXPORT std::string request_host(const request_head&);

}  // namespace wsproxy
