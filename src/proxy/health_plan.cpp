#include <wsproxy/proxy/detail/health_plan.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace wsproxy::detail {

const health_plan::watched* health_plan::find(const backend& which) const noexcept {
  const auto found = std::ranges::find(list_, &which, [](const watched& w) { return w.which.get(); });
  return found != list_.end() ? &*found : nullptr;
}

void health_plan::set_backends(std::span<const std::shared_ptr<backend>> list, time_point now) {
  const auto same = [](const std::shared_ptr<backend>& one, const watched& other) {
    return one == other.which;
  };
  if (std::ranges::equal(list, list_, same)) return;
  std::vector<watched> next;
  next.reserve(list.size());
  for (const auto& each : list) {
    const auto* known = find(*each);
    next.push_back(known != nullptr ? *known : watched{.which = each, .due = now});
  }
  list_ = std::move(next);
}

std::shared_ptr<backend> health_plan::take_due(time_point now) {
  for (auto& each : list_) {
    if (each.waiting || each.due > now) continue;
    each.waiting = true;
    each.asked = now;
    return each.which;
  }
  return nullptr;
}

time_point health_plan::next() const noexcept {
  auto earliest = time_point::max();
  for (const auto& each : list_)
    if (!each.waiting) earliest = std::min(earliest, each.due);
  return earliest;
}

bool health_plan::told(const backend& which, bool passed, time_point now, double chance) {
  auto* known = const_cast<watched*>(find(which));
  if (known == nullptr || !std::exchange(known->waiting, false)) return false;
  const auto pause = rules_.interval * (1 + rules_.jitter * (2 * chance - 1));
  known->due = std::max(now, known->asked + std::chrono::duration_cast<duration>(pause));
  known->against = passed == known->healthy ? 0 : known->against + 1;
  if (known->against < (known->healthy ? rules_.fall : rules_.rise) || known->against == 0) return false;
  known->healthy = passed;
  known->against = 0;
  return true;
}

bool health_plan::is_healthy(const backend& which) const noexcept {
  const auto* known = find(which);
  return known == nullptr || known->healthy;
}

std::vector<std::shared_ptr<backend>> health_plan::unhealthy() const {
  std::vector<std::shared_ptr<backend>> all;
  for (const auto& each : list_)
    if (!each.healthy) all.push_back(each.which);
  return all;
}

}  // namespace wsproxy::detail
