// Smooth weighted round robin, nginx's default.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// Each backend gets its weight's share, evenly interleaved: weights 5, 1, 1 give a a b a c a a.
/// With long connections: it counts arrivals, so it is even only while tunnels live about equally long, and a
/// backend that comes back stays behind the others for as long as their tunnels live.
/// [nginx: no directive; ngx_http_upstream_get_peer]
WSPROXY_EXPORT std::shared_ptr<balancer> round_robin();

namespace detail {
struct every_one {
  bool operator()(std::size_t) const noexcept { return true; }
};

/// One step among the candidates, a range of indices, that fit; nothing if there is none.
template <class Candidates, class Fits = every_one>
std::optional<std::size_t> smooth_step(pick_request& request, const Candidates& candidates, Fits fits = {}) {
  std::optional<std::size_t> best;
  std::int64_t total = 0;
  for (const std::size_t i : candidates) {
    if (!fits(i)) continue;
    auto& w = request.weights(i);
    const auto step = w.effective_weight * w.climbed(request.options(i), request.now);
    w.current_weight += step;
    total += step;
    if (w.effective_weight < request.options(i).weight) ++w.effective_weight;
    if (!best || w.current_weight > request.weights(*best).current_weight) best = i;
  }
  if (best) request.weights(*best).current_weight -= total;
  return best;
}

/// One step among all usable backends: what every other method falls back to.
inline std::optional<std::size_t> round_robin_step(pick_request& request) {
  return smooth_step(request, request.usable());
}
}  // namespace detail

}  // namespace wsproxy
