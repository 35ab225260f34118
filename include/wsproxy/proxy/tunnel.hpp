// The two-way relay behind a 101, and between any two streams.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <asio/async_result.hpp>

#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/stream.hpp>

namespace wsproxy {

/// Relays a WebSocket between a client and an accepted upstream, until both sides are closed. Bytes pass
/// unchanged; frame boundaries are followed; timers, heartbeat, limits and environment are those of the
/// exchange that the handshake was made with.
///
/// @param downstream The client's stream, after the host has sent its 101; borrowed until completion, closed
/// then.
/// @param upstream What async_handshake accepted; its early frames go to the client first.
/// @param early Bytes that the client sent behind its request head: mandatory, often empty.
/// @param token Completion signature: void(forward_result).
///
/// Executor, cancellation and errors as in async_forward.
template <stream_like Downstream, class Upstream,
          asio::completion_token_for<void(forward_result)> Token = default_token<Downstream>>
auto async_tunnel(Downstream& downstream, switched<Upstream> upstream, std::string early,
                  Token&& token = default_token<Downstream>());

/// Relays opaque bytes between two streams of any protocol (frames are not followed, so there is no
/// heartbeat and no Close of ours): `first` is treated as the client's side. `policy` gives the timers. Early
/// bytes are what was read from each stream beforehand. `first` is borrowed and `second` taken; both are
/// closed at completion. Half-close is passed on in both directions, bounded by timeouts::half_close.
template <stream_like First, stream_like Second,
          asio::completion_token_for<void(forward_result)> Token = default_token<First>>
auto async_relay(First& first, std::string early_first, Second second, std::string early_second,
                 const tunnel_policy& policy, Token&& token = default_token<First>());

/// The same in an environment; null: that of the stream's execution context.
template <stream_like First, stream_like Second,
          asio::completion_token_for<void(forward_result)> Token = default_token<First>>
auto async_relay(First& first, std::string early_first, Second second, std::string early_second,
                 const tunnel_policy& policy, environment* world, Token&& token = default_token<First>());

}  // namespace wsproxy

#include <wsproxy/proxy/impl/tunnel.hpp>
