#include <wsproxy/upstream/retry_budget.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

namespace wsproxy {

retry_budget::retry_budget(const retry_budget_options& options) : options_(options) {
  const auto refuse = [](const char* what) {
    throw std::invalid_argument(fmt::format("retry_budget: {}", what));
  };
  if (!(options.percent >= 0 && options.percent <= 100)) refuse("percent is not within 0 and 100");
  if (!(options.at_least >= 0)) refuse("at_least is negative or no number");
  if (options.half_life <= duration::zero()) refuse("half_life is not positive");
}

bool retry_budget::allows_retry(time_point now) noexcept {
  if (options_.percent == 0) return true;
  decay(now);
  return retries_ + 1 <= std::max(options_.at_least, options_.percent / 100 * (attempts_ + 1));
}

void retry_budget::count_attempt(bool is_retry, time_point now) noexcept {
  if (options_.percent == 0) return;
  decay(now);
  attempts_ += 1;
  if (is_retry) retries_ += 1;
}

void retry_budget::decay(time_point now) noexcept {
  if (now <= last_) return;
  const double half_lives = std::chrono::duration<double>(now - last_) / options_.half_life;
  const double left = std::exp2(-half_lives);
  attempts_ *= left;
  retries_ *= left;
  last_ = now;
}

}  // namespace wsproxy
