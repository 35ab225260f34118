// A server made of the library's parts: listeners, a choice of route per request, drain.
//
//   asio::io_context context;
//   wsproxy::upstream chat({{.name = "127.0.0.1:9001"}, {.name = "127.0.0.1:9002"}},
//                          wsproxy::consistent_hash());
//   wsproxy::gateway gateway(context.get_executor(),
//                            [&](const wsproxy::inbound&) { return wsproxy::pass{chat}; });
//   gateway.listen("0.0.0.0:8080");
//   context.run();
//
// It is built from the public operations only (async_read_head, async_forward, async_send), so whatever it
// does, another server can do too.
#pragma once

#include <asio/any_io_executor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

/// A request, as the route selector sees it. Views are valid during the call.
struct inbound {
  const request_head& head;       ///< as it came
  std::string_view client;        ///< the client's address, without port; "unix:" for a Unix socket
  std::uint16_t client_port = 0;  ///< 0 for a Unix socket
  std::string_view local;         ///< the address it came in at
  std::uint16_t local_port = 0;   ///< 0 for a Unix socket
  std::size_t listener = 0;       ///< index in the order of `listen`
  std::uint64_t connection = 0;   ///< the connection's number, from 1
  std::uint64_t request = 0;      ///< the request's number on its connection, from 1
  void* user = nullptr;           ///< in error_answer and on_request: what `pass` came with
};

/// Answer: forward to an upstream.
struct pass {
  upstream to;                                           ///< whose backends are asked
  std::shared_ptr<const route> how{};                    ///< null: every default
  std::optional<std::string> hash_key{};                 ///< nothing: the client's address; see exchange
  std::function<void(session_handle)> on_established{};  ///< see exchange
  std::function<void(const forward_result&)> on_end{};   ///< for logs and accounts; called once
  /// See exchange and inbound. It is held until the request has ended, but by a tunnel only if there is
  /// on_request.
  std::shared_ptr<void> user{};
  bool close = false;  ///< see exchange
};

/// Answer: a response of the gateway's own.
struct respond {
  int status = 200;                    ///< three digits
  fields extra{};                      ///< stand before Content-Length, which is ours
  std::string body{};                  ///< all of it
  bool close = false;                  ///< the connection ends behind it
  std::shared_ptr<const route> how{};  ///< whose send_stall and keep_alive hold; null: those of the reception
};

/// Answer: close the connection without a word. [nginx: return 444]
struct hang_up {};

/// What a selector answers: one of the three.
using decision = std::variant<pass, respond, hang_up>;

/// What holds for a connection as long as no route is known.
struct reception {
  head_limits request_head{};  ///< what is beyond is answered 400 or 414
  /// client_head, keep_alive, send_stall and linger are used. After a request, keep_alive is that of its
  /// route.
  wsproxy::timeouts timeouts{};
};

/// What a gateway does, apart from the routes.
struct gateway_options {
  head_limits request_head{};    ///< of the reception that every connection has,
  wsproxy::timeouts timeouts{};  ///< unless `receive` knows better
  /// Another reception, by where the connection came in (there need not be a head). Null: the usual one. What
  /// it points to outlives the gateway. Must not throw.
  std::function<const reception*(const inbound&)> receive{};
  /// When client_head fires: answer 408 (RFC 9110 section 15.5.9) before closing, as nginx does not.
  bool answer_head_timeout = false;
  /// Connections at most; more wait in the listen queue. Zero: unlimited.
  std::size_t max_connections = 0;
  /// Tunnels at most, and at most from one client address; handshakes under way count as tunnels. One more is
  /// answered 503 (errc::tunnel_limit) before a backend is picked. Zero: unlimited. Clients of a Unix socket
  /// have no address; behind another proxy all have that one's.
  std::size_t max_tunnels = 0;
  std::size_t max_tunnels_per_client = 0;  ///< see above
  /// Makes the answer for a request that the gateway refuses or an exchange that failed before it was
  /// committed. Empty: a short page with the status and the rule. Where no head could be read it is empty.
  std::function<respond(int status, const std::error_code& why, const inbound& request)> error_answer{};
  /// Called once per request that ended, after the response or tunnel: for an access log.
  std::function<void(const inbound& request, int status, std::uint64_t sent, const forward_result* result)>
      on_request{};
  /// Trouble that has no request: accepting paused for want of descriptors, a listener that failed, a
  /// function of yours that was only to be told and has thrown. Must not throw itself.
  std::function<void(std::string_view message)> on_warning{};
};

/// Where it stands.
struct gateway_stats {
  std::size_t connections = 0;          ///< of clients, open now
  std::size_t tunnels = 0;              ///< of these, behind a 101
  std::uint64_t accepted = 0;           ///< connections ever
  std::uint64_t requests = 0;           ///< heads ever read
  std::uint64_t refused = 0;            ///< answered 4xx by a rule of ours, or 503 by the next
  std::uint64_t over_tunnel_limit = 0;  ///< of these, by max_tunnels or max_tunnels_per_client
};

/// Copies share one server. A gateway runs on one executor, which must not run two of its handlers at a
/// time (a context run by one thread, or a strand); for more threads, one context and one gateway each,
/// with `reuse_port`. Members may be called from any thread unless said otherwise.
/// Destroying the last copy, before the executor's context, closes the listeners and every connection.
class WSPROXY_EXPORT gateway {
 public:
  /// Which way a request goes. Called on the gateway's executor; must not block; an exception is a 500.
  using selector = std::function<decision(const inbound&)>;

  /// Listens nowhere yet: see listen().
  gateway(asio::any_io_executor executor, selector select, gateway_options options = {});
  ~gateway();
  gateway(const gateway&) = default;             ///< the same server
  gateway& operator=(const gateway&) = default;  ///< the same server

  /// How a listener is opened.
  struct listen_options {
    int backlog = 511;  ///< connections that may wait to be accepted; the system bounds it too
    bool reuse_port =
        false;  ///< SO_REUSEPORT: several listeners share the port, of several gateways or processes
    bool ipv6_only = true;  ///< "[::]:PORT" takes no IPv4
  };
  /// Opens a listener: "HOST:PORT", "[IPV6]:PORT", "unix:PATH"; port 0 lets the system choose. Throws
  /// std::system_error that names the address; std::logic_error after drain() or stop(). Returns the address
  /// it listens on. Before the context runs, or on the executor.
  std::string listen(std::string_view at) { return listen(at, listen_options{}); }
  /// The same, with options.
  std::string listen(std::string_view at, const listen_options& options);
  /// Takes over a listening descriptor (from a service manager), and sets its O_NONBLOCK.
  void listen_on(int descriptor);

  using drain_options = wsproxy::drain_options;  ///< how its tunnels are ended
  /// No new connections, and no further request on the present ones. Tunnels get Close frames, spread over
  /// `spread`, as these options say or their route (route::drain); code 0: they are left alone. What is still
  /// open after `deadline` (zero: no deadline) is closed. A spread that leaves less than
  /// `timeouts::close_wait` before the deadline is shortened, with a warning. `sessions().count()` is what is
  /// left of them. `done` is called once nothing is left. A second call only brings the deadline forward.
  void drain(const drain_options& options, std::function<void()> done = {});
  /// Closes everything now.
  void stop();

  /// Its numbers now.
  gateway_stats stats() const;
  /// Its live tunnels: to list them, to drain those of one backend.
  session_registry sessions() const;

 private:
  class state;
  std::shared_ptr<state> state_;  // its end is the last copy's
};

}  // namespace wsproxy
