// wsproxy: WebSockets across a proxy, as a library.
//
// The life of one connection, and the header that each step is in:
//
//   head       bytes become a request_head and early bytes       http/head_parser.hpp, proxy/read_head.hpp
//   classify   plain HTTP, a WebSocket handshake, or refused     websocket/upgrade.hpp
//   pick       a balancer chooses a backend; a lease counts it   upstream/upstream.hpp, upstream/balancer.hpp
//   connect    TCP or a Unix socket                              proxy/dial.hpp
//   handshake  the request goes up, the answer is verified       websocket/handshake.hpp, proxy/forward.hpp
//   tunnel     two pumps, one liveness                           proxy/tunnel.hpp, policy.hpp
//   result     one forward_result, exactly once                  proxy/exchange.hpp
//
// One call does all of it: async_forward (proxy/forward.hpp). A server made of these parts: gateway
// (gateway/gateway.hpp). For a host with a loop or threads of its own: worker_pool::adopt
// (gateway/adopt.hpp). Everything above `proxy/` works without I/O and without Asio (wsproxy::core).
//
//   asio::awaitable<void> serve(asio::ip::tcp::socket client, wsproxy::upstream backends) {
//     auto read = co_await wsproxy::async_read_head(client, {}, {}, asio::use_awaitable);
//     if (read.error) co_return;
//     wsproxy::exchange what{.head = std::move(read.head), .early = std::move(read.early)};
//     auto result = co_await wsproxy::async_forward(client, backends, std::move(what), asio::use_awaitable);
//     if (result.error) std::cerr << result.error.message() << '\n';
//   }
//
// (Make the exchange a variable, not a braced temporary inside the co_await: g++ 12 destroys such
// temporaries twice.)
#pragma once

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/gateway/adopt.hpp>
#include <wsproxy/gateway/gateway.hpp>
#include <wsproxy/http/body.hpp>
#include <wsproxy/http/fields.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/http/rewrite.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/dial.hpp>
#include <wsproxy/proxy/discovery.hpp>
#include <wsproxy/proxy/edge_context.hpp>
#include <wsproxy/proxy/edge_socket.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/health_check.hpp>
#include <wsproxy/proxy/observer.hpp>
#include <wsproxy/proxy/probe.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/rebalance.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/session_registry.hpp>
#include <wsproxy/proxy/stream.hpp>
#include <wsproxy/proxy/tunnel.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/upstream/balancer.hpp>
#include <wsproxy/upstream/consistent_hash.hpp>
#include <wsproxy/upstream/health.hpp>
#include <wsproxy/upstream/ip_hash.hpp>
#include <wsproxy/upstream/key_hash.hpp>
#include <wsproxy/upstream/least_connections.hpp>
#include <wsproxy/upstream/random.hpp>
#include <wsproxy/upstream/rebalancer.hpp>
#include <wsproxy/upstream/retry_budget.hpp>
#include <wsproxy/upstream/round_robin.hpp>
#include <wsproxy/upstream/upstream.hpp>
#include <wsproxy/version.hpp>
#include <wsproxy/websocket/frame.hpp>
#include <wsproxy/websocket/handshake.hpp>
#include <wsproxy/websocket/upgrade.hpp>
