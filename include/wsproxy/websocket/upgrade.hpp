// Is this request a WebSocket opening handshake (RFC 6455 section 4.2.1)?
#pragma once

#include <system_error>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/policy.hpp>

namespace wsproxy {

/// What a request asks for.
enum class request_kind {
  plain,      ///< ordinary HTTP; `Upgrade` is not forwarded
  websocket,  ///< a valid opening handshake
  refused,    ///< wants a WebSocket, and breaks a rule: answer with the error's status
};

/// What detect_upgrade found.
struct upgrade_verdict {
  request_kind kind = request_kind::plain;  ///< how to go on
  std::error_code error{};                  ///< for refused: the rule; `status_for(error)` is its status
};

/// Classifies a request.
///
/// | request | verdict |
/// |---|---|
/// | no `Upgrade`, no `Connection: upgrade`, HTTP/1.0, not GET, or no `websocket` in the list | plain |
/// | none, two, or a wrong-size Sec-WebSocket-Key | refused: 400 |
/// | Sec-WebSocket-Version other than 13 | refused: 426 |
/// | with a body (length over 0, or any transfer coding) | refused: 400 |
/// | `policy.origins` is set and Origin is not among them | refused: 403 |
///
/// Lists are read as lists, over all lines of a field; tokens compare without case.
/// No I/O, no allocation, any thread.
WSPROXY_EXPORT upgrade_verdict detect_upgrade(const request_head&, const upgrade_policy& policy = {});

/// The fields that an answer to this error must have: the version we speak where that was wrong (RFC 6455
/// section 4.4), and in a 426 the protocol to upgrade to (RFC 9110 section 15.5.22).
WSPROXY_EXPORT fields refusal_fields(const std::error_code&);

/// A complete response for a refusal, ready to be sent: status, a body that names the rule,
/// refusal_fields(), and `Connection: close`.
WSPROXY_EXPORT std::string make_refusal(const std::error_code&);

}  // namespace wsproxy
