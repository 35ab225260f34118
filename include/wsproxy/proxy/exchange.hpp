// One exchange in, one result out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/observer.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/session_registry.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/websocket/handshake.hpp>

namespace wsproxy {

class environment;
struct exchange;

/// How exchanges of one kind are treated. Immutable once in use, shared by any number of exchanges;
/// live tunnels keep the one they began with.
struct WSPROXY_EXPORT route {
  tunnel_policy tunnel{};         ///< timers, heartbeat, frames and limits, for plain exchanges too
  retry failover{};               ///< when another backend is asked
  upgrade_policy upgrade{};       ///< what may become a WebSocket
  head_limits response_limits{};  ///< bounds of an upstream's response head
  /// Told of every backend that is about to be dialed, those that are never reached too; on the exchange's
  /// executor; must not block. An exception is errc::bad_rewrite, a 500.
  std::function<void(const exchange&, const backend&)> on_attempt{};
  /// Changes the request for this backend: target, fields to set. Called once per attempt, on the
  /// exchange's executor; must not block. An exception is errc::bad_rewrite, a 500. Empty: the request goes
  /// as it came, less its hop-by-hop fields.
  std::function<void(const exchange&, const backend&, request_rewrite&)> rewrite_request{};
  /// Changes the response head (a 101 too) before it goes downstream; hop-by-hop fields are gone
  /// already and are decided after it. The status may change only to one that is framed alike: not to or from
  /// 101, 204 or 304. That, and an exception, is errc::bad_rewrite, a 500. Empty: as it came.
  std::function<void(const exchange&, response_head&)> rewrite_response{};
  /// Told of what happens to its tunnels; null: nobody is.
  std::shared_ptr<observer> watch{};
  /// How a gateway that is drained drains these tunnels; nothing: as it does others. The deadline is the
  /// gateway's.
  std::optional<drain_options> drain{};

  /// Checks the values and makes them immutable. Throws std::invalid_argument where one is out of range.
  static std::shared_ptr<const route> make(route value);
  /// A route with every default; always the same object.
  static std::shared_ptr<const route> make();
};

/// What a host hands over: a request it has read, by value.
struct exchange {
  request_head head{};  ///< as the client sent it: what has to be stripped is stripped here
  /// Bytes that were read behind the head: a body, the first frames, or nothing. Never optional: a host
  /// whose parser read further must pass them on.
  std::string early{};
  std::string client{};  ///< the client's address as text, without port; for hashing, rewriting, the result
  std::string local{};   ///< the address it connected to
  /// What hash balancers use; nothing: `client`. An empty key is no key: they fall back to round robin.
  std::optional<std::string> hash_key{};
  /// Null: a route with every default.
  std::shared_ptr<const route> how{};
  /// Where its tunnel is listed while it lives.
  std::optional<session_registry> sessions{};
  /// Called once, when the 101 has been handed to the downstream connection (of async_tunnel: when the tunnel
  /// begins); on the exchange's executor. If it throws, the tunnel ends with errc::bad_rewrite.
  std::function<void(session_handle)> on_established{};
  /// The host's own, for the functions of `how`: what they have to know of this request.
  std::shared_ptr<void> user{};
  /// The downstream connection is not kept after the response, whatever the client asks for.
  bool close = false;
  /// Clock, timers and randomness; null: those of the stream's execution context.
  environment* world = nullptr;
};

/// What came from one side.
struct flow {
  std::uint64_t bytes = 0;       ///< of a tunnel; of a plain message its body
  std::uint64_t frames = 0;      ///< where frames are tracked
  std::uint64_t messages = 0;    ///< where frames are tracked
  std::uint16_t close_code = 0;  ///< of that side's Close frame; 1005: it had none; 0: no Close was seen
};

/// How an exchange ended. Delivered exactly once.
struct forward_result {
  std::error_code error{};            ///< success, or what went wrong; a normal end is no error
  stage at = stage::pick;             ///< how far it came
  side who = side::none;              ///< whose doing the end was
  end_cause cause = end_cause::none;  ///< why it ended
  /// The status sent downstream; or, if nothing was (`committed` is false), the status to answer with:
  /// the host may do so. 0: the client is gone.
  int status = 0;
  bool committed = false;  ///< something of a final response was sent downstream
  /// The downstream connection can carry another request, whose first bytes may be in `leftover`.
  /// False: it is to be closed; after a tunnel it has been.
  bool keep_alive = false;
  std::string leftover{};  ///< bytes behind this request, for the next async_read_head
  unsigned attempts = 0;   ///< backends that were tried
  std::shared_ptr<const wsproxy::backend> backend{};  ///< the last of them
  flow from_client{};                                 ///< what the client sent
  flow from_upstream{};                               ///< what the backend sent
  duration round_trip{};     ///< to the client, as last measured by a ping; zero: never
  time_point begun{};        ///< when the exchange was handed over
  time_point established{};  ///< of the 101; zero if there was none
  time_point ended{};        ///< when its result was decided
};

}  // namespace wsproxy
