// Is this backend alive? One connection of our own, one question, one answer: async_probe.
// health_checker (proxy/health_check.hpp) asks again and again, and tells an upstream.
#pragma once

#include <chrono>
#include <string>
#include <system_error>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/http/fields.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/dial.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

/// What is asked of a backend.
struct probe_options {
  /// What a healthy one does.
  enum class kind {
    tcp,        ///< that it accepts a connection
    http,       ///< GET, and a response head with an expected status; the body is not read
    websocket,  ///< an opening handshake with a key of ours, and a 101 that keeps every rule of RFC 6455
  } how = kind::websocket;   ///< which of these
  std::string target = "/";  ///< path and query
  std::string host{};        ///< the Host field; empty: the address
  /// Further fields, in this order: Origin, Cookie, Sec-WebSocket-Protocol, … What frames the request or
  /// makes the handshake (Host, Connection, Upgrade, Content-Length, Transfer-Encoding, the other
  /// Sec-WebSocket-*) is ours.
  wsproxy::fields extra{};
  int status_from = 200;  ///< http: the least status that passes
  int status_to = 399;    ///< http: the greatest
  /// websocket: passes only when a ping sent behind the 101 is answered by its pong (RFC 6455 section 5.5.3).
  bool ping = false;
  duration timeout = std::chrono::seconds(5);  ///< for all of it; above zero
};

/// Throws std::invalid_argument naming the member that is out of range or cannot be sent.
WSPROXY_EXPORT void validate(const probe_options&);

/// The answer to one probe.
struct probe_result {
  /// Success: it passed. Else what was wrong: errc::connect_failed, connect_timeout, response_timeout (no
  /// answer, or no pong), upstream_closed, bad_response, unexpected_status, bad_accept and the other rules of
  /// a 101, bad_frame, cancelled.
  std::error_code error{};
  int status = 0;   ///< of the response head; 0: none came
  duration took{};  ///< from the start to the verdict
};

/// Probes a backend once, over a connection that is closed afterwards; after an accepted WebSocket with a
/// Close frame (1000), for whose answer it waits at most a second and never beyond `timeout`.
///
/// Completion signature: void(probe_result). Handlers run on `executor`, which must not run two at a time.
/// Any cancellation type ends it at once with errc::cancelled. Throws what validate throws. `world` is the
/// environment; null: that of the executor's context.
template <dialer Dialer,
          asio::completion_token_for<void(probe_result)> Token = default_token<asio::any_io_executor>>
auto async_probe(asio::any_io_executor executor, const address& to, const probe_options& options, Dialer dial,
                 environment* world, Token&& token = default_token<asio::any_io_executor>());

/// The same, over TCP and Unix sockets, in the environment of the executor's context.
template <asio::completion_token_for<void(probe_result)> Token = default_token<asio::any_io_executor>>
auto async_probe(asio::any_io_executor executor, const address& to, const probe_options& options,
                 Token&& token = default_token<asio::any_io_executor>());

}  // namespace wsproxy

#include <wsproxy/proxy/impl/probe.hpp>
