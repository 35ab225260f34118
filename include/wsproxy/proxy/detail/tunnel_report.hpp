// What a tunnel's machine means to those outside: to a host that asks, to the result, to a backend's health.
#pragma once

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/websocket/detail/tunnel_machine.hpp>

namespace wsproxy::detail {

/// From any thread.
WSPROXY_EXPORT session_stats numbers_of(const tunnel_machine& tunnel) noexcept;

/// Fills in all that the machine knows: not who the backend was, nor when it was.
WSPROXY_EXPORT void report_end(const tunnel_machine& tunnel, forward_result& result);

/// The upstream ended the tunnel, and not as one that closes in good order.
WSPROXY_EXPORT bool upstream_broke_off(const tunnel_machine& tunnel) noexcept;

}  // namespace wsproxy::detail
