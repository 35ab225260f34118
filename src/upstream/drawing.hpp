// What the methods share that draw a backend, by a hash or by chance, until they hit a usable one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <wsproxy/upstream/balancer.hpp>
#include <wsproxy/upstream/round_robin.hpp>

namespace wsproxy::detail {

/// Draws in vain a request may make, over all its attempts. Then round robin decides.
inline constexpr unsigned most_tries = 20;

/// Finds the backend that owns a number when each owns as many numbers in a row as it weighs.
class weight_ranges {
 public:
  /// To be called before `owner`; works only when the list has changed.
  void follow(const pick_request& request) {
    if (version_ == request.version) return;
    ends_.clear();
    std::uint64_t end = 0;
    for (std::size_t i = 0; i != request.size(); ++i) ends_.push_back(end += request.options(i).weight);
    version_ = request.version;
  }

  std::size_t owner(std::uint64_t number) const {
    const auto found = std::upper_bound(ends_.begin(), ends_.end(), number % ends_.back());
    return static_cast<std::size_t>(found - ends_.begin());
  }

 private:
  std::optional<std::uint64_t> version_;  // of the list that what follows was made from
  std::vector<std::uint64_t> ends_;
};

/// The first usable one of what `draw()` returns.
template <class Draw> std::optional<std::size_t> draw_usable(pick_request& request, Draw draw) {
  for (auto& tries = request.state.tries; tries <= most_tries; ++tries) {
    const std::size_t drawn = draw();
    if (request.usable(drawn)) return drawn;
  }
  return round_robin_step(request);
}

}  // namespace wsproxy::detail
