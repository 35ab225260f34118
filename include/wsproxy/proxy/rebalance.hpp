// Acts as rebalancer (upstream/rebalancer.hpp) says: after a backend has joined, live tunnels are moved to
// it.
//
//   wsproxy::rebalancing even(context.get_executor(), chat, {gateway.sessions()}, {.how = {.rate = 20}});
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include <asio/any_io_executor.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/proxy/session_registry.hpp>
#include <wsproxy/upstream/rebalancer.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

/// How tunnels are moved.
struct rebalancing_options {
  rebalance_options how{.rate = 10};         ///< how many, and from when on
  duration every = std::chrono::seconds(1);  ///< how often it looks
  /// How a tunnel is moved: it is closed at a frame boundary, its client connects again. 1012: service
  /// restart (RFC 6455 section 7.4, IANA's registry).
  drain_options close{.code = 1012, .reason = "moved to another backend"};
  /// So many tunnels of that backend were told to go.
  std::function<void(const rebalancer::move&)> on_move{};
  environment* world = nullptr;  ///< null: that of the executor's context
};

/// Moves the tunnels of one upstream for as long as it lives, the oldest first. `sessions` are the registries
/// of all who forward to it: gateway::sessions() of each, or your own. What it told to go goes on going after
/// its end.
///
/// Runs on a strand of `executor`. May be destroyed on any thread, before the executor's context.
class WSPROXY_EXPORT rebalancing {
 public:
  /// Throws std::invalid_argument naming the member that is out of range.
  rebalancing(asio::any_io_executor executor, upstream of, std::vector<session_registry> sessions,
              rebalancing_options options = {});
  rebalancing(rebalancing&&) noexcept = default;         ///< the other moves nothing afterwards
  rebalancing& operator=(rebalancing&& other) noexcept;  ///< the same; ends what this one did
  ~rebalancing();

 private:
  class state;
  void end() noexcept;
  std::shared_ptr<state> state_;
};

}  // namespace wsproxy
