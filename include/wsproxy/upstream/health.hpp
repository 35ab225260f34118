// nginx's passive failure window (ngx_http_upstream_round_robin.c), as a value without a clock.
#pragma once

#include <cstdint>

#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

/// The numbers nginx keeps per peer. Guarded by the upstream's lock; `now` is an argument and counts
/// in whole seconds, as nginx's ngx_time() does.
struct health {
  std::int64_t current_weight = 0;    ///< smooth weighted round robin
  std::int64_t effective_weight = 1;  ///< falls with failures, recovers by one per pick
  unsigned fails = 0;
  std::int64_t accessed = 0;  ///< seconds: the last failure
  std::int64_t checked = 0;   ///< seconds: the last failure, or the pick that probes after it

  explicit health(const backend_options& options) : effective_weight(options.weight) {}

  /// False while max_fails failures lie within fail_timeout.
  bool available(const backend_options&, time_point now) const noexcept;
  /// Told at every pick: admits one probe per window.
  void picked(const backend_options&, time_point now) noexcept;
  void failed(const backend_options&, time_point now) noexcept;
  /// Forgives the failures, unless one came after the last probe was admitted.
  void succeeded() noexcept;
};

}  // namespace wsproxy
