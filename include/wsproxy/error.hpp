// Everything that can go wrong, and who did it.
//
// An `errc` names one broken rule or one timer that fired; its message is a
// sentence that names the field or the timer. `condition` groups them for a
// host that only wants to choose an answer. `stage`, `side` and `end_cause`
// say where an exchange stood when it ended: three small enumerations rather
// than one word per combination.
#pragma once

#include <string_view>
#include <system_error>

#include <wsproxy/export.hpp>

namespace wsproxy {

/// What went wrong: one value for each rule and each timer. Its message is a sentence that names the field,
/// the limit or the timer; status_for() has the status that answers it. Sections are of RFC 9112, unless said
/// otherwise.
enum class errc {
  // A head that breaks RFC 9112 (section in parentheses).
  bad_start_line = 1,   ///< (3, 4) the request or status line is malformed
  bad_version,          ///< (2.3) not HTTP/1.0 or HTTP/1.1
  bad_method,           ///< CONNECT or TRACE, which a reverse proxy does not forward
  bad_target,           ///< (3.2) the request target has no form we forward
  bad_field_name,       ///< (5.1) empty, or with a byte that is no token character, or followed by space
  bad_field_value,      ///< (5.5) NUL, CR or another control character
  bad_line_ending,      ///< (2.2) a bare LF or a bare CR
  folded_field,         ///< (5.2) obs-fold
  start_line_too_long,  ///< over head_limits::line_bytes
  head_too_large,       ///< over head_limits: a line, the whole head, or the number of fields
  missing_host,         ///< (3.2) HTTP/1.1 without Host
  duplicate_host,       ///< (3.2) more than one Host
  bad_host,             ///< (3.2) a Host that names no host
  bad_content_length,   ///< (6.3) not a number, or repeated
  length_with_coding,   ///< (6.1) Content-Length beside Transfer-Encoding
  chunked_not_last,     ///< (6.3) a Transfer-Encoding whose last coding is not chunked, or chunked twice
  unknown_coding,       ///< (6.1) a transfer coding before the last, chunked
  coding_in_http_1_0,   ///< (6.1) Transfer-Encoding in an HTTP/1.0 request
  // A body.
  bad_chunk,       ///< (7.1) a chunk header, its data's end or a trailer is malformed
  body_too_large,  ///< over limits::request_body
  body_truncated,  ///< the connection ended inside a body
  // A WebSocket handshake that RFC 6455 (section 4) does not allow.
  missing_key,            ///< no Sec-WebSocket-Key
  duplicate_key,          ///< Sec-WebSocket-Key twice
  bad_key,                ///< not the base64 of 16 bytes
  bad_websocket_version,  ///< Sec-WebSocket-Version is not 13
  upgrade_with_body,      ///< a handshake that announces a body
  origin_not_allowed,     ///< Origin is not on the route's list
  early_bytes_too_large,  ///< more bytes before the 101 than limits::early_bytes
  // An upstream's answer that cannot be used.
  bad_response,           ///< not an HTTP/1 response, or a head over the limits
  unasked_switch,         ///< 101 to a request that asked for no upgrade
  bad_switch_upgrade,     ///< 101 without exactly `Upgrade: websocket`
  bad_switch_connection,  ///< 101 whose Connection lacks `upgrade`
  bad_accept,             ///< 101 whose Sec-WebSocket-Accept does not fit the key
  unexpected_status,      ///< a probe was answered with another status than it wants
  // Reaching an upstream.
  no_backend,       ///< no usable backend is left
  connect_failed,   ///< refused, unreachable, or its name does not resolve
  upstream_closed,  ///< the upstream ended before its answer was whole
  // Timers (the table in policy.hpp); the name is the timer's.
  client_head_timeout,  ///< timeouts::client_head
  keep_alive_timeout,   ///< timeouts::keep_alive
  client_body_timeout,  ///< timeouts::client_body
  connect_timeout,      ///< timeouts::connect
  response_timeout,     ///< timeouts::response
  send_stall_timeout,  ///< timeouts::send_stall, or upstream_send_stall: forward_result::who tells them apart
  idle_timeout,        ///< timeouts::idle
  half_close_timeout,  ///< timeouts::half_close
  heartbeat_timeout,   ///< heartbeat::timeout: forward_result::who did not answer
  // The host.
  bad_rewrite,  ///< a function of the host's threw, or made a head that cannot be sent: 500
  // The tunnel.
  bad_frame,          ///< RFC 6455 section 5, when frames are enforced
  message_too_large,  ///< over limits::message
  frame_too_large,    ///< over limits::frame
  lifetime_reached,   ///< max_lifetime
  consumer_too_slow,  ///< slow_consumer::after
  // Ends that somebody wanted.
  downstream_closed,  ///< the client went away
  tunnel_limit,       ///< a limit on the number of tunnels
  cancelled,          ///< cancellation or abort
};

/// Groups of `errc`, to compare an error code with: `if (ec == condition::timed_out)`.
enum class condition {
  bad_request = 1,  ///< the client's fault: 4xx
  bad_gateway,      ///< the upstream's fault: 502
  timed_out,        ///< a timer fired
  unavailable,      ///< no backend, or a limit is reached
};

/// How far an exchange had come when its result was decided.
enum class stage {
  head,       ///< the request's head was read, or judged
  pick,       ///< a backend was chosen
  connect,    ///< it was dialed
  handshake,  ///< the request was sent, its answer awaited
  response,   ///< a response was relayed, its head or its body
  tunnel,     ///< behind the 101
};

/// Whose doing it was. `local` is this process: a timer, a limit, a cancellation.
enum class side {
  none,        ///< nobody's, or not known
  downstream,  ///< the client
  upstream,    ///< the backend
  local,       ///< this process
};

/// Why a tunnel or an exchange ended, seen from the outside.
enum class end_cause {
  none,      ///< it never began
  complete,  ///< an ordinary response was relayed whole
  closed,    ///< Close frames, or FIN, from the side named
  reset,     ///< a broken connection of the side named
  timeout,   ///< the timer named by the error
  limit,     ///< a size or frame rule, named by the error
  drained,   ///< drain() or max_lifetime
  aborted,   ///< abort(), cancellation, or the end of the context
  refused,   ///< answered with an error before anything reached an upstream
  failed,    ///< no upstream gave a usable answer
};

/// The category of `errc`, named "wsproxy". One object in a process, also where the library is a shared one.
WSPROXY_EXPORT const std::error_category& category() noexcept;
/// The category of `condition`, named "wsproxy.condition". An `errc` equals the condition of its group;
/// errors of Asio and of the system have none.
WSPROXY_EXPORT const std::error_category& condition_category() noexcept;
/// An `errc` where an error code is wanted, as std::error_code asks for it.
WSPROXY_EXPORT std::error_code make_error_code(errc) noexcept;
/// A `condition` where an error condition is wanted, as std::error_condition asks for it.
WSPROXY_EXPORT std::error_condition make_error_condition(condition) noexcept;

/// The status that answers a client for this error: 400, 403, 405, 408, 413, 414, 426, 500, 501, 502, 503,
/// 504, 505, as nginx chooses it. 0 where nothing is to be sent: the client is gone, or a tunnel ended. An
/// error of another category counts as a failed connection: 502.
WSPROXY_EXPORT int status_for(const std::error_code&) noexcept;

/// The enumerator's name, as for a log.
WSPROXY_EXPORT std::string_view to_string(stage) noexcept;
/// The enumerator's name, as for a log.
WSPROXY_EXPORT std::string_view to_string(side) noexcept;
/// The enumerator's name, as for a log.
WSPROXY_EXPORT std::string_view to_string(end_cause) noexcept;

}  // namespace wsproxy

/// @cond
template <> struct std::is_error_code_enum<wsproxy::errc> : std::true_type {};
template <> struct std::is_error_condition_enum<wsproxy::condition> : std::true_type {};
/// @endcond
