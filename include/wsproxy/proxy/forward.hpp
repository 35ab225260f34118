// Hand over one request: async_forward, and its first half async_handshake.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <asio/async_result.hpp>

#include <wsproxy/proxy/dial.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/stream.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

namespace detail {
template <class Up> struct switch_state;
struct switched_access;
}  // namespace detail

/// Forwards one request that the host has read from `downstream`, to its very end.
///
/// It picks a backend, connects, sends the request, and then does what the answer asks for: a verified 101
/// becomes a tunnel, which ends with both sides closed; any other answer is relayed with its framing intact.
/// A backend that fails before anything was committed is followed by the next (route::failover). Plain
/// requests go the same way, their bodies streamed in both directions.
///
/// @param downstream The client's stream, borrowed until completion: the host performs no other operation
///   on it meanwhile. After a tunnel it is closed; otherwise it is open, and `forward_result` says whether it
///   can carry another request (`keep_alive`, `leftover`) and whether the host may answer by itself
///   (`committed`, `status`).
/// @param backends A shared handle.
/// @param what The request and how to treat it, by value. `what.early` are bytes read behind the head.
/// @param token Completion signature: void(forward_result). The result carries the error; nothing is thrown.
/// It may be left out here and everywhere, see default_token.
///
/// @par Executor All inner handlers run on the stream's executor, which must not run two at a time (a
/// context of one thread, or a strand). The completion handler is posted to its associated executor.
///
/// @par Cancellation terminal, and any set that contains it: everything opened is closed now. total alone:
/// the same, but only until the request is handed to a backend. partial alone: ignored. Cancellation is not
/// drain: see session_handle::drain.
///
/// @par Errors In `forward_result::error`; the timers are those of route::tunnel.timeouts.
template <stream_like Downstream,
          asio::completion_token_for<void(forward_result)> Token = default_token<Downstream>>
auto async_forward(Downstream& downstream, upstream backends, exchange what,
                   Token&& token = default_token<Downstream>());

/// The same, with the stream given away: it lives in the operation and goes with it. If the connection is to
/// go on after a plain answer, lend the stream instead.
template <stream_like Downstream,
          asio::completion_token_for<void(forward_result)> Token = default_token<Downstream>>
requires(!std::is_lvalue_reference_v<Downstream>) auto async_forward(
    Downstream&& downstream, upstream backends, exchange what, Token&& token = default_token<Downstream>());

/// The same, over connections that `dial` makes.
template <stream_like Downstream, dialer Dialer,
          asio::completion_token_for<void(forward_result)> Token = default_token<Downstream>>
auto async_forward(Downstream& downstream, upstream backends, exchange what, Dialer dial,
                   Token&& token = default_token<Downstream>());

/// An accepted 101: the upstream connection behind it is a WebSocket now. Only async_handshake makes one,
/// after every check of the answer, and a WebSocket tunnel can be made from nothing else. Move-only; it
/// counts on its backend while it lives.
template <class Upstream = upstream_socket> class switched {
 public:
  switched(switched&&) noexcept;             ///< the other can only be assigned to or destroyed
  switched& operator=(switched&&) noexcept;  ///< the same; closes what this one was
  ~switched();

  /// The upstream's 101 as it came. What a host sends downstream is its own business;
  /// make_downstream_response gives the usual.
  const response_head& response() const noexcept;
  /// Frames that came with the 101; async_tunnel sends them on.
  const std::string& early() const noexcept;
  Upstream& stream() noexcept;  ///< the connection to the backend
  /// Which backend accepted.
  std::shared_ptr<const wsproxy::backend> backend() const noexcept;

 private:
  friend struct detail::switched_access;
  explicit switched(std::unique_ptr<detail::switch_state<Upstream>> state) noexcept;
  std::unique_ptr<detail::switch_state<Upstream>> state_;
};

/// What async_handshake found. Exactly one of `accepted` and `answer` is set unless `result.error` is.
template <class Upstream = upstream_socket> struct handshake_result {
  forward_result result{};  ///< how it went; `status` is what to answer where nothing was accepted
  std::optional<switched<Upstream>> accepted{};  ///< a verified 101
  /// Any other final answer: its head, unread body bytes that came with it, and the connection the rest of
  /// the body comes from, delimited as response_framing says; not to be used again afterwards.
  struct refusal {
    response_head head;  ///< as it came
    std::string early;   ///< what was read behind it
    Upstream stream;     ///< where the rest comes from
    /// All three, taken over.
    refusal(response_head h, std::string e, Upstream s)
        : head(std::move(h)), early(std::move(e)), stream(std::move(s)) {}
  };
  std::optional<refusal> answer{};  ///< what the backend said instead
};

/// Performs an opening handshake with a backend, for a host that answers its client itself: picks, connects,
/// sends the request, verifies the answer, with failover as in async_forward. Nothing is read from or written
/// to any downstream connection. `what.early` must be empty: bytes that the client sent early are given to
/// async_tunnel. `executor` runs all handlers.
///
/// Completion signature: void(handshake_result<>). Cancellation as in async_forward.
template <asio::completion_token_for<void(handshake_result<>)> Token = default_token<asio::any_io_executor>>
auto async_handshake(asio::any_io_executor executor, upstream backends, exchange what,
                     Token&& token = default_token<asio::any_io_executor>());

/// The same, over connections that `dial` makes.
template <dialer Dialer, asio::completion_token_for<void(handshake_result<typename Dialer::stream_type>)>
                             Token = default_token<asio::any_io_executor>>
auto async_handshake(asio::any_io_executor executor, upstream backends, exchange what, Dialer dial,
                     Token&& token = default_token<asio::any_io_executor>());

}  // namespace wsproxy

#include <wsproxy/proxy/impl/forward.hpp>
