#include <wsproxy/upstream/health.hpp>

#include <algorithm>
#include <chrono>

namespace wsproxy {
namespace {

std::int64_t whole_seconds(time_point now) noexcept {
  return std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
}

}  // namespace

bool health::window_is_over(const backend_options& options, time_point now) const noexcept {
  return whole_seconds(now) - checked > options.fail_timeout.count();
}

std::int64_t health::climbing(const backend_options& options, time_point now) const noexcept {
  if (climbs_since >= now) return 1;
  const auto passed = std::chrono::duration_cast<duration>(now - climbs_since);
  if (passed >= options.slow_start) return whole;
  return std::max<std::int64_t>(1, whole * passed.count() / options.slow_start.count());
}

void health::picked(const backend_options& options, time_point now) noexcept {
  const auto second = whole_seconds(now);
  if (second - checked > options.fail_timeout.count()) checked = second;
}

void health::failed(const backend_options& options, time_point now) noexcept {
  ++fails;
  accessed = checked = whole_seconds(now);
  if (options.max_fails != 0)
    effective_weight = std::max<std::int64_t>(0, effective_weight - options.weight / options.max_fails);
}

void health::succeeded(const backend_options& options, time_point now) noexcept {
  if (accessed >= checked) return;
  const bool was_out = options.max_fails != 0 && fails >= options.max_fails;
  fails = 0;
  if (!was_out) return;
  climb(options);
  if (climbs_since == time_point::max()) climbs_since = now;
}

void health::found(const backend_options& options, bool good) noexcept {
  if (checks_pass == good) return;
  checks_pass = good;
  if (!good) return;
  fails = 0;
  climb(options);
}

void health::climb(const backend_options& options) noexcept {
  if (options.slow_start > duration::zero()) climbs_since = time_point::max();
}

}  // namespace wsproxy
