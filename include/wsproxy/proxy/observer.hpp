// What happens to tunnels, as it happens: for metrics, logs, alarms.
#pragma once

#include <cstddef>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/proxy/session.hpp>

namespace wsproxy {

struct forward_result;

/// Derive from it, override what you need, give it to a route (route::watch). A route without one pays
/// nothing, and with one nothing per byte.
///
/// @par Threads The members are called on the executor of the exchange in question: an observer whose routes
/// serve several contexts is called by their threads at the same time. They must not block and must not
/// throw.
class WSPROXY_EXPORT observer {
 public:
  virtual ~observer() = default;

  /// A tunnel has begun.
  virtual void established(const session_handle&) {}
  /// A WebSocket handshake did not become a tunnel: refused by a rule, for want of a backend, or by the
  /// upstream. `status` and `error` of the result say which.
  virtual void refused(const forward_result&) {}
  /// A tunnel has ended; once for each that was established, unless it goes with its context. The result says
  /// who ended it, why, and with which codes; it goes to the exchange's handler next.
  virtual void closed(const session_handle&, const forward_result&) {}
  /// That side has had `parked` bytes waiting for it as long as slow_consumer::after.
  virtual void stalled(const session_handle&, side, std::size_t /*parked*/) {}
};

}  // namespace wsproxy
