// An edge_context's timers: it asks for the next one before it sleeps. Private.
#pragma once

#include <atomic>
#include <functional>
#include <mutex>

#include <asio/execution_context.hpp>

#include <wsproxy/proxy/detail/timer_queue.hpp>
#include <wsproxy/proxy/environment.hpp>

#include "entropy.hpp"

namespace wsproxy::detail {

class edge_environment final : public asio::execution_context::service, public environment {
 public:
  using key_type = edge_environment;
  inline static asio::execution_context::id id;

  explicit edge_environment(asio::execution_context& context) : service(context) {}

  /// Called when it is to fire earlier, or has become idle, with the lock held, on any thread. Set once, at first.
  std::function<void()> on_change = [] {};

  time_point now() noexcept override { return std::chrono::steady_clock::now(); }
  void arm(timer& t, time_point at) override {
    const std::lock_guard lock(mutex_);
    queue_.arm(t, at);
    armed_ = queue_.size();
    if (at >= next_.load(std::memory_order_relaxed)) return;
    next_ = at;
    on_change();
  }
  void disarm(timer& t) noexcept override {
    const std::lock_guard lock(mutex_);
    queue_.disarm(t);
    if (armed_.exchange(queue_.size()) != 0 && queue_.empty()) on_change();
  }
  std::uint64_t random() override {
    const std::lock_guard lock(mutex_);
    return entropy_.next();
  }

  /// Nothing is armed.
  bool idle() const noexcept { return armed_ == 0; }
  /// Calls what is due. Returns how long until it may be worth calling again; duration::max() for never.
  duration fire() {
    if (next_.load(std::memory_order_relaxed) == time_point::max()) return duration::max();
    const auto present = now();
    if (next_.load(std::memory_order_relaxed) <= present) {
      const std::lock_guard lock(mutex_);
      while (timer* due = queue_.take_due(present)) due->expired();
      next_ = queue_.earliest();
      armed_ = queue_.size();
    }
    const auto next = next_.load(std::memory_order_relaxed);
    return next == time_point::max() ? duration::max() : std::chrono::ceil<duration>(next - present);
  }

 private:
  void shutdown() noexcept override {}
  void notify_fork(asio::execution_context::fork_event event) override {
    if (event == asio::execution_context::fork_child) entropy_.forget();
  }

  std::mutex mutex_;
  timer_queue queue_;
  std::atomic<time_point> next_{time_point::max()};
  std::atomic<std::size_t> armed_{0};
  entropy entropy_;
};

}  // namespace wsproxy::detail
