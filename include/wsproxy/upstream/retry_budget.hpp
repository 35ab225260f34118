// How many of the recent attempts may be retries.
#pragma once

#include <chrono>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>

namespace wsproxy {

/// When a whole upstream is in trouble, asking another backend for every failed request doubles its load.
/// With a budget, retries stop where they are more than a part of all; requests then fail with their first
/// failure.
struct retry_budget_options {
  /// Of a hundred recent attempts at most so many may be retries. Zero: no bound.
  double percent = 0;
  /// So many recent retries are allowed in any case: with few requests a part of them would be none.
  double at_least = 3;
  /// What "recent" is: an attempt so long ago counts half, twice as long ago a quarter.
  duration half_life = std::chrono::seconds(10);

  bool operator==(const retry_budget_options&) const = default;
};

/// Two counters that decay. No clock, no lock: time is an argument, and one that runs backwards stands still.
class WSPROXY_EXPORT retry_budget {
 public:
  /// Throws std::invalid_argument if a member is negative or no number, or half_life is zero.
  explicit retry_budget(const retry_budget_options& options = {});

  /// One more retry would stay within the budget.
  bool allows_retry(time_point now) noexcept;
  /// Tells of an attempt, the first ones of requests too: the budget is a part of all.
  void count_attempt(bool is_retry, time_point now) noexcept;

 private:
  void decay(time_point now) noexcept;
  retry_budget_options options_;
  double attempts_ = 0;  // retries are among them
  double retries_ = 0;
  time_point last_{};
};

}  // namespace wsproxy
