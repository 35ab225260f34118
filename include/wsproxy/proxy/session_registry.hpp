// The tunnels that are alive: count, list, find, drain.
//
//   wsproxy::session_registry live;
//   exchange what{.head = head, .sessions = live};      // it enters at its 101 and leaves at its end
//   ...
//   auto watch = live.drain_if([&](const session_handle& s) { return s.backend() == old; },
//                              {.deadline = 60s, .spread = 30s, .code = 1012});
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/session.hpp>

namespace wsproxy {

namespace detail {
class session_table;
class drain_count;
}  // namespace detail

/// How far a drain has come.
struct drain_progress {
  std::size_t matched = 0;  ///< sessions it was for
  std::size_t drained = 0;  ///< of these, ended by its Close, in time
  std::size_t ended = 0;    ///< ended otherwise: by themselves, or cut by the deadline
  /// Those that are still open.
  std::size_t left() const noexcept { return matched - drained - ended; }
};

/// A drain under way, to watch. Copies watch the same one; members may be called from any thread.
class WSPROXY_EXPORT drain_watch {
 public:
  drain_watch() = default;
  /// For the library, which makes them.
  explicit drain_watch(std::shared_ptr<const detail::drain_count> count) : count_(std::move(count)) {}
  /// How far it has come by now; all zero for an empty watch.
  drain_progress progress() const noexcept;

 private:
  std::shared_ptr<const detail::drain_count> count_;
};

/// The tunnels of the exchanges that were given this registry. Copies share one. Every member may be called
/// from any thread, also from a session's callbacks; a short lock is held when a tunnel begins or ends and
/// while these members look, never while bytes pass, and never while a function of the caller's runs.
class WSPROXY_EXPORT session_registry {
 public:
  /// Chooses sessions. Called once for each, without a lock.
  using predicate = std::function<bool(const session_handle&)>;

  session_registry();

  /// How many are alive now.
  std::size_t count() const noexcept;
  /// An empty handle if there is none alive with that id.
  session_handle find(std::uint64_t id) const;
  /// Those alive now, the oldest first.
  std::vector<session_handle> sessions() const;
  /// Calls `f` for each of them.
  template <std::invocable<const session_handle&> F> void for_each(F&& f) const {
    for (const auto& each : sessions()) f(each);
  }

  /// Drains those alive now for which `which` is true. `done` is called once, when none of them is left: on
  /// the executor of the last; within this call where there are none; not at all if the last went with its
  /// context.
  drain_watch drain_if(const predicate& which, const drain_options& options = {},
                       std::function<void()> done = {}) const;
  /// All of them.
  drain_watch drain(const drain_options& options = {}, std::function<void()> done = {}) const;
  /// session_handle::close for those for which `which` is true; returns how many.
  std::size_t close_if(const predicate& which, std::uint16_t code, std::string_view reason = {}) const;

  bool operator==(const session_registry&) const = default;

 private:
  friend class detail::session_record;
  std::shared_ptr<detail::session_table> table_;
};

}  // namespace wsproxy
