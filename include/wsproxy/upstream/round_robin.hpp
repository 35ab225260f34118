// Smooth weighted round robin, nginx's default.
#pragma once

#include <memory>
#include <optional>

#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// Each backend gets its weight's share, evenly interleaved: weights 5, 1, 1 give a a b a c a a.
/// It counts arrivals, so with long connections it spreads well only while tunnels live about equally long.
/// [nginx: no directive; ngx_http_upstream_get_peer]
std::shared_ptr<balancer> round_robin();

namespace detail {
/// One step among the backends for which `eligible(i)` is true; nothing if there is none.
template <class Eligible> std::optional<std::size_t> smooth_step(pick_request& request, Eligible eligible) {
  std::optional<std::size_t> best;
  int total = 0;
  for (std::size_t i = 0; i != request.size(); ++i) {
    if (!eligible(i)) continue;
    auto& w = request.weights(i);
    w.current_weight += w.effective_weight;
    total += w.effective_weight;
    if (w.effective_weight < static_cast<int>(request.at(i).options().weight)) ++w.effective_weight;
    if (!best || w.current_weight > request.weights(*best).current_weight) best = i;
  }
  if (best) request.weights(*best).current_weight -= total;
  return best;
}
}  // namespace detail

}  // namespace wsproxy
