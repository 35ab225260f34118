// What the user may choose: times, heartbeat, limits, retries.
//
// Plain aggregates with documented defaults; every duration's zero means
// "off". They are validated when a route is built from them (std::invalid_argument
// names the member). All of them are immutable while an exchange uses them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <wsproxy/export.hpp>

namespace wsproxy {

/// A span of time in all that is configured: milliseconds.
using duration = std::chrono::milliseconds;
/// A century: longer ones, such as duration::max(), are refused, and where nothing is refused taken for this.
inline constexpr duration longest_time = std::chrono::hours(24 * 36525);
/// Time points are an argument everywhere below `proxy/`; nothing there reads a clock.
using time_point = std::chrono::steady_clock::time_point;

/// The timers of one exchange. nginx's directive of the same meaning is in brackets.
struct timeouts {
  /// Accept, or the first byte of a later request, to the end of the head;
  /// then the connection is closed silently, or answered 408 where a gateway is told so.
  /// [client_header_timeout]
  duration client_head = std::chrono::seconds(60);
  /// A response was sent and no further request began; closed silently. [keepalive_timeout]
  duration keep_alive = std::chrono::seconds(75);
  /// Request body bytes are awaited; each byte restarts it; 408, closed. [client_body_timeout]
  duration client_body = std::chrono::seconds(60);
  /// One connection attempt; then the next backend, else 504. [proxy_connect_timeout]
  duration connect = std::chrono::seconds(60);
  /// The request was sent and the upstream is silent; each read restarts it.
  /// Before the response head: next backend, else 504; inside the body: both sides are closed.
  /// [proxy_read_timeout]
  duration response = std::chrono::seconds(60);
  /// A write to the client waits and it takes nothing; progress restarts it; both sides are closed.
  /// [send_timeout]
  duration send_stall = std::chrono::seconds(60);
  /// The same of a write to the upstream; before the response head: next backend, else 504.
  /// [proxy_send_timeout]
  duration upstream_send_stall = std::chrono::seconds(60);
  /// A tunnel on which neither side sent a byte; bytes we write do not count; both sides are closed.
  /// [proxy_read_timeout, which in a tunnel is renewed by either direction]
  duration idle = std::chrono::seconds(60);
  /// One side has sent FIN and the other no byte since; takes over from `idle`; both sides are closed.
  duration half_close = std::chrono::seconds(30);
  /// A tunnel's age, at which it is drained with Close 1001.
  duration max_lifetime = duration::zero();
  /// Plus or minus this share of `max_lifetime`, drawn per tunnel: 0 … 1.
  double max_lifetime_jitter = 0;
  /// A Close of ours is due inside a frame: how long to wait for its end before a bare FIN.
  /// Zero, here and in the two that follow: no wait at all.
  duration boundary_wait = std::chrono::seconds(5);
  /// Our Close was sent: how long to wait for the peer's before FIN. Client and backend have exchanged Close
  /// frames, and the client has been closed: how long to wait for the end of the backend's connection.
  duration close_wait = std::chrono::seconds(5);
  /// FIN was sent: how long to read on, so that what was sent is not lost to a reset, before the connection
  /// is closed. A client that has sent its Close and got one, and owes no pong, is closed without.
  /// [lingering_timeout]
  duration linger = std::chrono::seconds(5);

  bool operator==(const timeouts&) const = default;
};

/// Pings of the proxy's own, at frame boundaries, so that a silent tunnel stays open
/// and a dead peer is noticed (RFC 6455 section 5.5.2).
struct heartbeat {
  /// A side silent for this long is sent a ping. Zero: no heartbeat.
  duration interval = duration::zero();
  /// A ping unanswered (by any byte of that side) for this long: that side is dead.
  duration timeout = std::chrono::seconds(10);
  bool downstream = true;  ///< ping clients
  bool upstream = true;    ///< ping backends

  bool operator==(const heartbeat&) const = default;
};

/// A side that takes less than is sent to it. It always slows its source down: no more is read than one
/// buffer of what it has not taken. This says when that is enough.
struct slow_consumer {
  /// Bytes have been waiting for it all this time, however many went out meanwhile. Zero: slowing is all.
  duration after = duration::zero();
  /// Then it gets Close 1013, the other side 1001, and as long again to take what waits. False:
  /// observer::stalled is told, and that is all.
  bool close = true;

  bool operator==(const slow_consumer&) const = default;
};

/// How much of RFC 6455 section 5 the tunnel looks at.
enum class frames {
  off,  ///< bytes are opaque, nothing of ours goes between; unless a heartbeat or a limit needs their frames
  observe,  ///< headers are followed; the first illegal one makes that direction opaque for good
  enforce,  ///< the first illegal one ends the tunnel with Close 1002
};

/// Bounds. Zero is unlimited, unless said otherwise.
struct limits {
  std::uint64_t request_body = 1 << 20;  ///< announced or counted; 413. [client_max_body_size]
  std::size_t early_bytes = 64 * 1024;   ///< after the request head and before the 101
  std::uint64_t message = 0;             ///< a WebSocket message, as it is on the wire; Close 1009
  std::uint64_t frame = 0;               ///< one frame's announced payload; Close 1009

  bool operator==(const limits&) const = default;
};

/// All that a tunnel is told when it begins.
struct tunnel_policy {
  wsproxy::timeouts timeouts{};                       ///< when what does not happen ends it
  wsproxy::heartbeat heartbeat{};                     ///< pings of ours
  wsproxy::frames frames = wsproxy::frames::observe;  ///< how much is looked at
  wsproxy::limits limits{};                           ///< how much may pass
  wsproxy::slow_consumer slow_consumer{};             ///< when a side that takes too little is given up
};

/// When another backend is asked. [proxy_next_upstream and its family]
struct retry {
  /// What another backend is asked for, a bit each.
  enum condition : unsigned {
    error = 1u << 0,           ///< refused, reset, or closed before a head
    timeout = 1u << 1,         ///< connect or response timed out before a head
    invalid_header = 1u << 2,  ///< the answer is no response, or a 101 that fails its check
    http_500 = 1u << 3,  ///< this status, and so on: the answer is not relayed if another backend is left
    http_502 = 1u << 4,  ///< status 502
    http_503 = 1u << 5,  ///< status 503
    http_504 = 1u << 6,  ///< status 504
    http_403 = 1u << 7,  ///< status 403
    http_404 = 1u << 8,  ///< status 404
    http_429 = 1u << 9,  ///< status 429
    non_idempotent = 1u << 10,  ///< also POST, LOCK and PATCH once their request was sent
  };
  unsigned on = error | timeout;       ///< bits of `condition`; zero: one attempt and no more
  unsigned tries = 0;                  ///< attempts at most; zero: as many as there are backends
  duration within = duration::zero();  ///< no new attempt later than this after the first

  bool operator==(const retry&) const = default;
};

/// What counts as a WebSocket handshake, and who may make one.
struct upgrade_policy {
  /// False: nothing is upgraded; a handshake goes on as a plain request without `Upgrade`.
  bool allowed = true;
  /// `Upgrade: websocket` without `Connection: upgrade` counts as a wish too.
  bool lenient_connection = false;
  /// If not empty, `Origin` must equal one of these (compared without case), else 403.
  /// CORS does not protect WebSockets; this does (RFC 6455 section 10.2).
  std::vector<std::string> origins{};

  bool operator==(const upgrade_policy&) const = default;
};

/// Throws std::invalid_argument naming the member that is negative or out of range.
WSPROXY_EXPORT void validate(const timeouts&);
WSPROXY_EXPORT void validate(const retry&);  ///< the same
/// The same of a heartbeat.
WSPROXY_EXPORT void validate(const heartbeat&);
/// The same of a slow_consumer.
WSPROXY_EXPORT void validate(const slow_consumer&);

}  // namespace wsproxy
