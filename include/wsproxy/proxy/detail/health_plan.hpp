// When each backend is probed, and what its answers mean: rise and fall. No I/O, no clock.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy::detail {

class WSPROXY_EXPORT health_plan {
 public:
  struct rules {
    duration interval;
    double jitter;
    unsigned rise, fall;
  };
  explicit health_plan(const rules& with) : rules_(with) {}

  /// The list as it stands now. A backend that stays keeps its state; a new one counts as healthy and is due
  /// at once. A backend that left is forgotten, and so is the answer of its probe.
  void set_backends(std::span<const std::shared_ptr<backend>> list, time_point now);

  /// The next backend to be probed by now, or null. It is not due again before its answer.
  std::shared_ptr<backend> take_due(time_point now);
  /// When the next one is due.
  time_point next() const noexcept;

  /// The answer of a probe. `chance` (0 … 1) places the next within the jitter. True if the backend's state
  /// changed.
  bool told(const backend& which, bool passed, time_point now, double chance);

  bool is_known(const backend& which) const noexcept { return find(which) != nullptr; }
  bool is_healthy(const backend& which) const noexcept;
  std::vector<std::shared_ptr<backend>> unhealthy() const;

 private:
  struct watched {
    std::shared_ptr<backend> which;
    time_point due{};
    time_point asked{};
    bool waiting = false;  // for an answer
    bool healthy = true;
    unsigned against = 0;  // answers in a row that contradict `healthy`
  };
  const watched* find(const backend& which) const noexcept;

  rules rules_;
  std::vector<watched> list_;
};

}  // namespace wsproxy::detail
