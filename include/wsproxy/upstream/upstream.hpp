// A named group of backends, and the leases it gives.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

namespace detail { struct upstream_state; }

/// One tunnel or request on one backend, counted for as long as this lives. Move-only; may die on
/// any thread. An outcome is told once, as soon as it is known: at the accepted 101, not at the end.
class lease {
 public:
  lease() = default;
  lease(lease&& other) noexcept = default;
  lease& operator=(lease&& other) noexcept;
  ~lease();

  explicit operator bool() const noexcept { return backend_ != nullptr; }
  const std::shared_ptr<wsproxy::backend>& backend() const noexcept { return backend_; }

  /// The backend proved itself alive. Later calls of either kind do nothing, and so do calls of an empty lease.
  void succeeded(time_point now);
  /// The backend failed this request (refused, timed out, broken answer, listed status).
  void failed(time_point now);

 private:
  friend class upstream;
  lease(std::shared_ptr<detail::upstream_state> from, std::shared_ptr<wsproxy::backend> which);
  void release() noexcept;
  std::shared_ptr<detail::upstream_state> from_;
  std::shared_ptr<wsproxy::backend> backend_;
  bool told_ = false;
};

/// What a pick is for. Views must live until `pick` returns.
struct pick_for {
  const request_head* head = nullptr;
  std::string_view client{};    ///< the client's address, without port
  std::string_view hash_key{};  ///< what hash methods use; empty: they fall back to round robin
  std::uint32_t random = 0;     ///< a fresh random number, for methods that draw
};

/// A cheap shared handle; copies are the same upstream. Every member may be called from any thread;
/// a short lock is held while a balancer picks. Live leases notice no change of the list.
class upstream {
 public:
  /// Throws std::invalid_argument: no primary backends, a weight of 0, an address that cannot be read,
  /// a backup where the method has none. `method` null: smooth weighted round robin.
  explicit upstream(std::vector<backend_options> backends, std::shared_ptr<balancer> method = nullptr,
                    std::string name = {});

  const std::string& name() const noexcept;

  /// A backend for a request's next attempt; an empty lease if none can be used. Each backend is given
  /// at most once per `state`; backups come when no primary is usable, and after one came no primary does.
  /// A state belongs to one request and one upstream.
  lease pick(const pick_for& what, pick_state& state, time_point now) const;

  /// Replaces the list. Backends that keep name and address keep their object, counters and health; a request
  /// between two attempts goes on with the new list. Throws as the constructor does, and then changes nothing.
  void set_backends(std::vector<backend_options> backends);

  /// The present list: the primaries, then the backups.
  std::vector<std::shared_ptr<backend>> backends() const;
  /// Attempts that one request can make: backends that are not down.
  std::size_t tries() const;

 private:
  std::shared_ptr<detail::upstream_state> state_;
};

}  // namespace wsproxy
