// The connections of a gateway's clients. Each reads a head, asks the selector, forwards or answers, and
// again; its pending operation keeps it alive. Private to the gateway.
#pragma once

#include <wsproxy/gateway/gateway.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "listener.hpp"
#include "tunnel_limits.hpp"

namespace wsproxy::detail {

class client_connection;

/// Those that are open, as a list through themselves.
class connection_list {
 public:
  /// From any thread.
  std::size_t size() const noexcept { return size_; }
  /// Closes those of which nothing of a request has come, or no answer has begun: nothing is lost.
  void close_reading() const;
  void stop_all() const;

  void add(client_connection& one) noexcept;
  /// True the first time.
  bool remove(client_connection& one) noexcept;

 private:
  std::vector<std::shared_ptr<client_connection>> all() const;

  client_connection* first_ = nullptr;
  std::atomic<std::size_t> size_{0};
};

/// What the connections of one gateway live by, and what they leave behind. On its executor, but for the
/// counters and `sessions`.
class connection_host {
 public:
  connection_host(environment& here, gateway::selector choose, gateway_options with)
      : world(&here),
        select(std::move(choose)),
        options(std::move(with)),
        usual{options.request_head, options.timeouts},
        limits(options.max_tunnels, options.max_tunnels_per_client) {}
  connection_host(const connection_host&) = delete;
  connection_host& operator=(const connection_host&) = delete;

  /// One of `connections` has ended, with the context running.
  virtual void on_connection_end() = 0;

  /// How a tunnel is to go: as its route says, or the drain. Without a deadline: the drain's own is for all
  /// connections.
  drain_options drain_of(const session_handle& session) const {
    const auto route = session.route();
    auto how = route->drain ? *route->drain : drain_how;
    how.deadline = duration::zero();
    return how;
  }

  environment* const world;  ///< looked up once
  const gateway::selector select;
  const gateway_options options;
  const reception usual;
  const session_registry sessions{};
  tunnel_limits limits;
  connection_list connections;
  bool draining = false;  ///< no further request
  bool stopped = false;   ///< nothing at all any more
  drain_options drain_how;
  std::atomic<std::uint64_t> requests{0}, refused{0}, over_limit{0};

 protected:
  ~connection_host() = default;
};

/// Where a connection comes from.
struct connection_origin {
  address_text client;
  std::shared_ptr<const address_text> local;  ///< one for all where the listener says it
  std::size_t listener;                       ///< its index
  std::uint64_t number;                       ///< the connection's, from 1
};

/// Begins to read the first head.
void serve_connection(std::shared_ptr<connection_host> host, gateway_socket socket, connection_origin from);

}  // namespace wsproxy::detail
