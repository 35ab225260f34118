// Whether a backend may be used, and how much of its weight it has: nginx's passive failure window
// (ngx_http_upstream_round_robin.c), what active checks say, and slow start, as a value without a clock.
#pragma once

#include <cstdint>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

/// The numbers kept per backend, most of them nginx's. Guarded by the upstream's lock; `now` is an argument.
/// The failure window counts in whole seconds, as nginx's ngx_time() does.
struct WSPROXY_EXPORT health {
  /// A weight of 1, where parts of it count. (Weights have 32 bits, and are multiplied with numbers of
  /// tunnels.)
  static constexpr std::int64_t whole = 256;

  std::int64_t current_weight = 0;    ///< smooth weighted round robin, in parts of `whole`
  std::int64_t effective_weight = 1;  ///< falls with failures, recovers by one per pick
  unsigned fails = 0;                 ///< passive failures that are not forgiven
  std::int64_t accessed = 0;          ///< seconds: the last failure
  std::int64_t checked = 0;           ///< seconds: the last failure, or the pick that probes after it
  bool checks_pass = true;            ///< what active checks said last
  /// Slow start: since when the weight climbs. min(): it is all there; max(): from the next pick on.
  time_point climbs_since = time_point::min();

  /// Of a backend that nothing is known of: healthy, with all its weight.
  explicit health(const backend_options& options) : effective_weight(options.weight) {}

  /// False while max_fails failures lie within fail_timeout, or active checks fail.
  bool available(const backend_options& options, time_point now) const noexcept {
    return proven(options) || (checks_pass && window_is_over(options, now));
  }
  /// It is not failed: unlike `available`, true again only after a success, not when a probe is due.
  bool proven(const backend_options& options) const noexcept {
    return checks_pass && (options.max_fails == 0 || fails < options.max_fails);
  }
  /// How much of its weight it has: 1 to `whole`.
  std::int64_t climbed(const backend_options& options, time_point now) const noexcept {
    return climbs_since == time_point::min() ? whole : climbing(options, now);
  }

  /// Told at every pick: admits one probe per window.
  void picked(const backend_options&, time_point now) noexcept;
  /// An attempt on it failed: counts one more, and lowers its weight.
  void failed(const backend_options&, time_point now) noexcept;
  /// Forgives the failures, unless one came after the last probe was admitted.
  void succeeded(const backend_options&, time_point now) noexcept;
  /// What an active check found. The first good one after a bad one forgives all failures.
  void found(const backend_options&, bool good) noexcept;
  /// Its weight climbs from the next pick on, if it has a slow_start.
  void climb(const backend_options&) noexcept;

 private:
  bool window_is_over(const backend_options&, time_point now) const noexcept;
  std::int64_t climbing(const backend_options&, time_point now) const noexcept;
};

}  // namespace wsproxy
