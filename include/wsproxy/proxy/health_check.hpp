// Active health: every backend of an upstream is probed again and again, and one that fails gets no new
// tunnels.
//
//   wsproxy::health_checker checks(context.get_executor(), chat,
//                                  {.probe = {.target = "/health", .ping = true}, .interval = 2s});
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/dial.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/proxy/probe.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

/// A backend's state changed.
struct health_change {
  std::shared_ptr<backend> which;  ///< of the upstream's list
  bool healthy = true;             ///< from now on
  probe_result last{};             ///< the answer that settled it
};

/// How often, and how many of them count.
struct health_check_options {
  probe_options
      probe{};  ///< an empty `host` is the backend's name where that is an address, else its address
  duration interval =
      std::chrono::seconds(5);  ///< from the start of one probe of a backend to that of the next
  double jitter = 0.1;          ///< plus or minus this share of the interval, drawn each time: 0 … 1
  unsigned rise = 2;            ///< probes in a row that an unhealthy backend must pass to be used again
  unsigned fall = 3;            ///< probes in a row that a healthy one must fail to be taken out
  /// Called after the upstream was told. It may destroy the checker.
  std::function<void(const health_change&)> on_change{};
  environment* world = nullptr;  ///< null: that of the executor's context
};

/// Probes the backends of one upstream for as long as it lives. One that is taken out keeps its live tunnels
/// and its other state; it is only not picked. What has not been probed yet counts as healthy. The passive
/// window (max_fails, fail_timeout) works as before beside it.
///
/// It follows the upstream's list: a new backend is probed within one interval, one that left no more. Have
/// one checker per upstream, however many gateways share that.
///
/// @par Threads Probes and callbacks run on a strand of `executor`, any executor will do. Handles may be
/// destroyed on any thread, before the executor's context. The end closes every connection, and counts as
/// healthy again what was taken out: nobody else would.
class WSPROXY_EXPORT health_checker {
 public:
  /// Throws std::invalid_argument naming the member that is out of range. `dial` makes the connections.
  template <dialer Dialer = socket_dialer>
  health_checker(asio::any_io_executor executor, upstream backends, health_check_options options = {},
                 Dialer dial = {})
      : health_checker(std::move(executor), std::move(backends), prober_over(std::move(dial), options.world),
                       std::move(options)) {}
  health_checker(health_checker&&) noexcept = default;         ///< the other checks nothing afterwards
  health_checker& operator=(health_checker&& other) noexcept;  ///< the same; ends what this one checked
  ~health_checker();

  /// Ends it before its time. A second call does nothing.
  void stop() noexcept;

 private:
  using prober = std::function<void(const asio::any_io_executor&, const address&, const probe_options&,
                                    asio::cancellation_slot, std::function<void(probe_result)>)>;
  template <class Dialer> static prober prober_over(Dialer dial, environment* world) {
    return [dial = std::move(dial), world](const asio::any_io_executor& executor, const address& to,
                                           const probe_options& options, asio::cancellation_slot slot,
                                           std::function<void(probe_result)> done) {
      async_probe(executor, to, options, dial, world, asio::bind_cancellation_slot(slot, std::move(done)));
    };
  }
  health_checker(asio::any_io_executor executor, upstream backends, prober probe,
                 health_check_options options);

  class state;
  std::shared_ptr<state> state_;
};

}  // namespace wsproxy
