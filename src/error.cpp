#include <wsproxy/error.hpp>

#include <string>

namespace wsproxy {
namespace {

std::string_view message_of(errc error) noexcept {
  switch (error) {
  case errc::bad_start_line: return "The request line or status line is malformed.";
  case errc::bad_version: return "The HTTP version is neither 1.0 nor 1.1.";
  case errc::bad_method: return "The method CONNECT or TRACE is not forwarded.";
  case errc::bad_target: return "The request target has no form that can be forwarded.";
  case errc::bad_field_name: return "A field name is empty, has a forbidden byte, or is followed by space.";
  case errc::bad_field_value: return "A field value contains a control character.";
  case errc::bad_line_ending: return "A line of the head ends with a bare LF or contains a bare CR.";
  case errc::folded_field: return "A field line begins with space or tab.";
  case errc::start_line_too_long: return "The start line is longer than the limit.";
  case errc::head_too_large: return "The head, one of its field lines, or their number is over the limit.";
  case errc::missing_host: return "The Host field is missing.";
  case errc::duplicate_host: return "The Host field stands more than once.";
  case errc::bad_host: return "The Host field names no host, or another than the request target.";
  case errc::bad_content_length: return "The Content-Length field is no number, or repeated.";
  case errc::length_with_coding: return "The Content-Length field stands beside Transfer-Encoding.";
  case errc::chunked_not_last: return "The Transfer-Encoding field does not end in chunked, or has it twice.";
  case errc::unknown_coding: return "The Transfer-Encoding field has another coding before chunked.";
  case errc::coding_in_http_1_0: return "The Transfer-Encoding field stands in an HTTP/1.0 request.";
  case errc::bad_chunk: return "The chunked coding of the body is malformed.";
  case errc::body_too_large: return "The request body is larger than the limit.";
  case errc::body_truncated: return "The connection ended inside a body.";
  case errc::missing_key: return "The Sec-WebSocket-Key field is missing.";
  case errc::duplicate_key: return "The Sec-WebSocket-Key field stands more than once.";
  case errc::bad_key: return "The Sec-WebSocket-Key field is not the base64 of 16 bytes.";
  case errc::bad_websocket_version: return "The Sec-WebSocket-Version field is not 13.";
  case errc::upgrade_with_body: return "The WebSocket handshake announces a body.";
  case errc::origin_not_allowed: return "The Origin field is not on the list of allowed origins.";
  case errc::early_bytes_too_large:
    return "More bytes than the limit arrived before the handshake was answered.";
  case errc::bad_response: return "The upstream's answer is not a usable HTTP/1 response.";
  case errc::unasked_switch: return "The upstream answered 101 to a request without Upgrade.";
  case errc::bad_switch_upgrade: return "The Upgrade field of the upstream's 101 is not websocket.";
  case errc::bad_switch_connection: return "The Connection field of the upstream's 101 lacks upgrade.";
  case errc::bad_accept: return "The Sec-WebSocket-Accept field of the upstream's 101 does not fit the key.";
  case errc::unexpected_status:
    return "The status of the upstream's answer is not the one that was expected.";
  case errc::no_backend: return "No usable backend is left.";
  case errc::connect_failed: return "The upstream could not be reached.";
  case errc::upstream_closed: return "The upstream closed the connection before its answer was whole.";
  case errc::client_head_timeout:
    return "The client_head timer fired: the request head did not arrive in time.";
  case errc::keep_alive_timeout: return "The keep_alive timer fired: no further request arrived.";
  case errc::client_body_timeout: return "The client_body timer fired: the request body stalled.";
  case errc::connect_timeout: return "The connect timer fired: the upstream did not accept the connection.";
  case errc::response_timeout: return "The response timer fired: the upstream was silent.";
  case errc::send_stall_timeout: return "The send_stall timer fired: a peer took no bytes.";
  case errc::idle_timeout: return "The idle timer fired: neither side of the tunnel sent a byte.";
  case errc::half_close_timeout:
    return "The half_close timer fired: one side had ended and the other was silent.";
  case errc::heartbeat_timeout: return "The heartbeat timer fired: a ping stayed unanswered.";
  case errc::bad_rewrite: return "A function of the host's failed or made a head that cannot be sent.";
  case errc::bad_frame: return "A WebSocket frame breaks RFC 6455, section 5.";
  case errc::message_too_large: return "A WebSocket message is larger than the limit.";
  case errc::frame_too_large: return "A WebSocket frame is larger than the limit.";
  case errc::consumer_too_slow:
    return "The slow_consumer timer fired: bytes waited too long for one side to take them.";
  case errc::lifetime_reached: return "The max_lifetime timer fired: the tunnel reached its age.";
  case errc::downstream_closed: return "The client closed the connection.";
  case errc::tunnel_limit: return "The limit on the number of tunnels is reached.";
  case errc::cancelled: return "The exchange was cancelled.";
  }
  return "Unknown error.";
}

std::string_view message_of(condition group) noexcept {
  switch (group) {
  case condition::bad_request: return "The client's request is refused.";
  case condition::bad_gateway: return "The upstream gave no usable answer.";
  case condition::timed_out: return "A timer fired.";
  case condition::unavailable: return "No backend is usable, or a limit is reached.";
  }
  return "Unknown condition.";
}

// 0 for an error that belongs to no group.
int condition_of(errc error) noexcept {
  if (error >= errc::bad_start_line && error <= errc::early_bytes_too_large)
    return static_cast<int>(condition::bad_request);
  if (error >= errc::client_head_timeout && error <= errc::heartbeat_timeout)
    return static_cast<int>(condition::timed_out);
  if (error == errc::no_backend || error == errc::tunnel_limit)
    return static_cast<int>(condition::unavailable);
  if (error >= errc::bad_response && error <= errc::upstream_closed)
    return static_cast<int>(condition::bad_gateway);
  return 0;
}

class error_names final : public std::error_category {
 public:
  const char* name() const noexcept override { return "wsproxy"; }
  std::string message(int value) const override { return std::string(message_of(static_cast<errc>(value))); }
  std::error_condition default_error_condition(int value) const noexcept override {
    if (const int group = condition_of(static_cast<errc>(value))) return {group, condition_category()};
    return {value, *this};
  }
};

class condition_names final : public std::error_category {
 public:
  const char* name() const noexcept override { return "wsproxy.condition"; }
  std::string message(int value) const override {
    return std::string(message_of(static_cast<condition>(value)));
  }
};

int status_of(errc error) noexcept {
  switch (error) {
  case errc::bad_version: return 505;
  case errc::bad_method: return 405;
  case errc::start_line_too_long: return 414;
  case errc::unknown_coding: return 501;
  case errc::body_too_large: return 413;
  case errc::bad_websocket_version: return 426;
  case errc::origin_not_allowed: return 403;
  case errc::client_head_timeout:
  case errc::client_body_timeout: return 408;
  case errc::connect_timeout:
  case errc::response_timeout:
  case errc::send_stall_timeout: return 504;
  case errc::bad_rewrite: return 500;
  case errc::no_backend: return 502;  // nginx: "no live upstreams"
  case errc::tunnel_limit: return 503;
  default: break;
  }
  switch (static_cast<condition>(condition_of(error))) {
  case condition::bad_request: return 400;
  case condition::bad_gateway: return 502;
  default: return 0;
  }
}

}  // namespace

const std::error_category& category() noexcept {
  static const error_names instance;
  return instance;
}

const std::error_category& condition_category() noexcept {
  static const condition_names instance;
  return instance;
}

std::error_code make_error_code(errc error) noexcept { return {static_cast<int>(error), category()}; }

std::error_condition make_error_condition(condition group) noexcept {
  return {static_cast<int>(group), condition_category()};
}

int status_for(const std::error_code& error) noexcept {
  if (!error) return 0;
  return error.category() == category() ? status_of(static_cast<errc>(error.value())) : 502;
}

std::string_view to_string(stage at) noexcept {
  switch (at) {
  case stage::head: return "head";
  case stage::pick: return "pick";
  case stage::connect: return "connect";
  case stage::handshake: return "handshake";
  case stage::response: return "response";
  case stage::tunnel: return "tunnel";
  }
  return "unknown";
}

std::string_view to_string(side who) noexcept {
  switch (who) {
  case side::none: return "none";
  case side::downstream: return "downstream";
  case side::upstream: return "upstream";
  case side::local: return "local";
  }
  return "unknown";
}

std::string_view to_string(end_cause cause) noexcept {
  switch (cause) {
  case end_cause::none: return "none";
  case end_cause::complete: return "complete";
  case end_cause::closed: return "closed";
  case end_cause::reset: return "reset";
  case end_cause::timeout: return "timeout";
  case end_cause::limit: return "limit";
  case end_cause::drained: return "drained";
  case end_cause::aborted: return "aborted";
  case end_cause::refused: return "refused";
  case end_cause::failed: return "failed";
  }
  return "unknown";
}

}  // namespace wsproxy
