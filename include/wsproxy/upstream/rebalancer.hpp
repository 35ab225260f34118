// Moving live tunnels to a backend that came: how many, off which backends, and when.
//
// A balancer places what arrives. Where tunnels live for hours little arrives, so a backend that joins, or
// comes back, stays nearly empty beside full ones. This machine says which of them shall let go of some, a
// few per second; whoever holds the sessions drains that many (Close 1012, "service restart"), their clients
// connect again, and the balancing method places them anew.
//
//   wsproxy::rebalancer even({.rate = 20});
//   every second:
//     std::vector<wsproxy::rebalancer::load> loads = ...;   // upstream::status() and the sessions of each
//     for (const auto& [from, tunnels] : even.tick(loads, now)) drain `tunnels` sessions of `from`;
//
// Good with least_connections and random_choice_of_two, which give the newcomer what was let go elsewhere;
// with round_robin only one in n comes to it. Of no use with methods that place by a key: most clients would
// come back to where they were.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

/// How fast, and from when on.
struct rebalance_options {
  /// Tunnels moved per second at most; may be less than one. Zero: none ever.
  double rate = 0;
  /// It begins only when some backend has this part more than its fair share: 0.2 is a fifth more.
  double threshold = 0.2;

  bool operator==(const rebalance_options&) const = default;
};

/// For one upstream. No clock, no lock, no I/O: one thread at a time calls `tick`, about every second or
/// more often.
///
/// A backend's fair share is its weight's part of the tunnels of all accepting ones. A newcomer is a backend
/// that joined, or accepts again, and has not had its fair share since. Without one nothing is moved. With
/// one it begins when some backend is over its fair share by the threshold; no backend is brought below its
/// fair share, rounded up; newcomers, and those whose weight still climbs, let go of none. It ends when
/// nobody is above that; when the newcomer has its fair share, or no longer accepts; or when as many were
/// moved as the worst method needs to fill the newcomer (the surplus times the number of backends), so that a
/// method that never will is not served for ever.
class WSPROXY_EXPORT rebalancer {
 public:
  /// A backend as it stands.
  struct load {
    std::shared_ptr<const backend> which;  ///< compared by its object
    std::uint32_t tunnels = 0;             ///< without those that were told to go and are not gone yet
    double weight = 1;                     ///< as configured
    double climbed = 1;     ///< how much of the weight it has now: less than 1 while slow_start lasts
    bool accepting = true;  ///< it is given new tunnels: up, not draining, not failed
  };
  /// So many of its tunnels are to go now.
  struct move {
    std::shared_ptr<const backend> from;  ///< one of those given to tick()
    std::uint32_t tunnels = 0;            ///< at least one
    bool operator==(const move&) const = default;
  };

  /// Throws std::invalid_argument if a member is negative or no number.
  explicit rebalancer(const rebalance_options& options);

  /// The whole list as it stands now. What the first call names was there before: nobody joined.
  /// At most `rate` times the time since the last call, and never more than one second's worth (or one
  /// tunnel, if that is less), so late calls make no burst. The fullest for its weight lets go first.
  std::vector<move> tick(std::span<const load> backends, time_point now);

  /// Tunnels are being moved: between the threshold and the end.
  bool moving() const noexcept { return moving_; }

 private:
  using backend_list = std::vector<std::shared_ptr<const backend>>;
  void watch(std::span<const load> backends);
  /// What each has above its fair share and may let go.
  std::vector<std::uint32_t> surpluses(std::span<const load> backends, double level) const;
  void begin(std::span<const load> backends, time_point now);
  std::uint64_t most_needed(std::span<const load> backends) const;
  std::uint32_t earn(time_point now);
  void forget_climbed(std::span<const load> backends);
  std::vector<move> choose(std::span<const load> backends, std::uint32_t most);

  rebalance_options options_;
  backend_list accepting_;  // at the last call
  backend_list newcomers_;
  bool first_ = true;
  bool moving_ = false;
  std::optional<std::uint64_t> left_;  // tunnels that may be moved before it gives up on these newcomers
  double earned_ = 0;                  // tunnels that may be moved now
  time_point last_{};                  // when they were last counted
};

}  // namespace wsproxy
