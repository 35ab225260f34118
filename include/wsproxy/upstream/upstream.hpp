// A named group of backends, and the leases it gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/upstream/balancer.hpp>
#include <wsproxy/upstream/retry_budget.hpp>

namespace wsproxy {

namespace detail {
struct upstream_state;
}

/// One tunnel or request on one backend, counted for as long as this lives. Move-only; may die on
/// any thread. An outcome is told once, as soon as it is known: at the accepted 101, not at the end.
class WSPROXY_EXPORT lease {
 public:
  lease() = default;
  lease(lease&& other) noexcept = default;   ///< the other is empty afterwards
  lease& operator=(lease&& other) noexcept;  ///< the same; what this one counted is no longer counted
  ~lease();

  /// A backend was found.
  explicit operator bool() const noexcept { return backend_ != nullptr; }
  /// The backend; null if there was none.
  const std::shared_ptr<wsproxy::backend>& backend() const noexcept { return backend_; }
  /// Why a pick gave none: errc::no_backend (502), or errc::tunnel_limit (503). None if it gave one.
  std::error_code error() const noexcept { return refused_; }

  /// The backend proved itself alive. Later calls of either kind do nothing, and so do calls of an empty
  /// lease.
  void succeeded(time_point now);
  /// The backend failed this request (refused, timed out, broken answer, listed status).
  void failed(time_point now);
  /// After `succeeded`: the backend broke off what it had accepted. Within upstream_options::early_death it
  /// counts as a failure, later it does not. Told once.
  void died(time_point now);

 private:
  friend class upstream;
  lease(std::shared_ptr<detail::upstream_state> from, std::shared_ptr<wsproxy::backend> which);
  explicit lease(errc why) : refused_(why) {}
  void release() noexcept;
  void count_failure(time_point now);

  enum class outcome : std::uint8_t { open, succeeded, told };
  std::shared_ptr<detail::upstream_state> from_;
  std::shared_ptr<wsproxy::backend> backend_;
  std::error_code refused_;
  time_point succeeded_{};
  outcome outcome_ = outcome::open;
};

/// What a pick is for. Views must live until `pick` returns.
struct pick_for {
  const request_head* head = nullptr;  ///< for methods of your own; may be null
  std::string_view client{};           ///< the client's address, without port
  std::string_view hash_key{};         ///< what hash methods use; empty: they fall back to round robin
  std::uint32_t random = 0;            ///< a fresh random number, for methods that draw
};

/// What is chosen for an upstream as a whole. May be changed while it is in use.
struct upstream_options {
  /// Leases alive at most: tunnels, and requests under way. More get 503. Zero: unlimited. Tunnels on
  /// backends that were removed count for as long as they live.
  std::uint32_t max_tunnels = 0;
  /// A tunnel that its backend breaks off (a reset, an end without Close, a Close 1011 to 1014) so soon after
  /// the 101 counts as a failure. Zero: a 101 is proof enough. Needs frames to be tracked, but for resets.
  duration early_death = duration::zero();
  /// When no usable backend is left, those that are usable but for their failures are tried all the same.
  /// False: 502. [nginx: 502, "no live upstreams"]
  bool try_failed = false;
  retry_budget_options retry_budget{};  ///< how many of the attempts may be retries

  bool operator==(const upstream_options&) const = default;
};

/// What became of a list: which backends there are now for the first time, which went on, which are gone.
/// Those that are gone keep their tunnels. To end them is for whoever holds the sessions.
struct backend_changes {
  std::vector<std::shared_ptr<backend>> added;    ///< in the order of the new list
  std::vector<std::shared_ptr<backend>> kept;     ///< the same; their options may have changed
  std::vector<std::shared_ptr<backend>> removed;  ///< in the order of the old list
};

/// How a backend stands.
struct backend_status {
  std::shared_ptr<backend> which;  ///< the live object, with its counters
  backend_options options;         ///< what is configured of it
  /// It is given new tunnels: not down, not draining, and not failed. A failed backend whose window is over
  /// is probed, but is in service only when that probe succeeds.
  bool in_service = true;
  bool checks_pass = true;  ///< what `set_healthy` said last
  unsigned fails = 0;       ///< passive failures that are not forgiven
  double climbed = 1;       ///< how much of its weight it has: less than 1 while slow_start lasts
};

/// A cheap shared handle; copies are the same upstream. Every member may be called from any thread;
/// a short lock is held while a balancer picks. Live leases notice no change of the list.
class WSPROXY_EXPORT upstream {
 public:
  /// Throws std::invalid_argument: no primary backends, a weight of 0, an address that cannot be read,
  /// a backup or slow_start where the method has none, options out of range.
  /// `method` null: smooth weighted round robin.
  explicit upstream(std::vector<backend_options> backends, std::shared_ptr<balancer> method = nullptr,
                    std::string name = {}, const upstream_options& options = {});

  /// As given to the constructor; for logs.
  const std::string& name() const noexcept;

  /// A backend for a request's next attempt; an empty lease if none can be used, or max_tunnels is reached.
  /// Each backend is given at most once per `state`; backups come when no primary is usable, and after one
  /// came no primary does. A state belongs to one request and one upstream.
  lease pick(const pick_for& what, pick_state& state, time_point now) const;

  /// Replaces the list. Backends that keep name and address keep their object, counters and health; a request
  /// between two attempts goes on with the new list. Throws as the constructor does, and then changes
  /// nothing.
  backend_changes set_backends(std::vector<backend_options> backends);
  /// Adds, removes, re-weights, drains: `edit` is given the present list, and what it leaves is set as above.
  /// Edits of several threads come one after the other. `edit` must not call back into this upstream's
  /// members that change it; what it throws is passed on, and nothing changes.
  backend_changes edit_backends(const std::function<void(std::vector<backend_options>&)>& edit);
  /// Throws std::invalid_argument, and then changes nothing.
  void set_options(const upstream_options& options);

  /// What an active health check found: a backend that fails them is not used until they pass again, which
  /// forgives its failures. True if that is news; false also for a backend that is not on the list.
  bool set_healthy(const backend& which, bool healthy);

  /// The present list: the primaries, then the backups.
  std::vector<std::shared_ptr<backend>> backends() const;
  /// How each of them stands at this time.
  std::vector<backend_status> status(time_point now) const;
  /// Leases alive, those on backends that were removed too.
  std::uint32_t active() const noexcept;
  /// Attempts that one request can make: backends that are neither down nor draining.
  std::size_t tries() const;
  /// The retry budget has room for one more retry.
  bool allows_retry(time_point now) const;

 private:
  std::shared_ptr<detail::upstream_state> state_;
};

}  // namespace wsproxy
