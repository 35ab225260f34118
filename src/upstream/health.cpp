#include <wsproxy/upstream/health.hpp>

#include <algorithm>
#include <chrono>

namespace wsproxy {
namespace {

std::int64_t whole_seconds(time_point now) noexcept {
  return std::chrono::floor<std::chrono::seconds>(now.time_since_epoch()).count();
}

}  // namespace

bool health::available(const backend_options& options, time_point now) const noexcept {
  if (options.max_fails == 0 || fails < options.max_fails) return true;
  return whole_seconds(now) - checked > options.fail_timeout.count();
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

void health::succeeded() noexcept {
  if (accessed < checked) fails = 0;
}

}  // namespace wsproxy
