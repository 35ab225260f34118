// The threads of a worker_pool, and what a job on them has from it.
#pragma once

#include <wsproxy/gateway/adopt.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>
#include <vector>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#ifdef __linux__
#include <wsproxy/proxy/edge_context.hpp>
#endif

namespace wsproxy::detail {

#ifdef __linux__
using worker_context = edge_context;
#else
using worker_context = asio::io_context;
#endif

class job;

/// A thread and its context.
class worker {
 public:
  worker() : context_(std::make_unique<worker_context>()), work_(asio::make_work_guard(*context_)) {}

  void start() {
    thread_ = std::thread([this] { context_->run(); });
  }
  /// Runs `f` on the thread; drops it once the thread is gone.
  template <class F> void post(F f) {
    const std::lock_guard lock(mutex_);
    if (context_) asio::post(*context_, std::move(f));
  }
  /// Nothing is left to be called: ends the thread, and what others still hold of this context is inert.
  void end() {
    context_->stop();
    if (thread_.joinable()) thread_.join();
    const std::lock_guard lock(mutex_);
    work_.reset();
    context_.reset();
  }
  asio::any_io_executor executor() const { return context_->get_executor(); }

  std::atomic<std::size_t> live{0};
  std::unordered_set<job*> jobs;  // touched by the thread only

 private:
  std::mutex mutex_;  // of context_'s end
  std::unique_ptr<worker_context> context_;
  asio::executor_work_guard<worker_context::executor_type> work_;
  std::thread thread_;
};

struct adoption_state {
  explicit adoption_state(std::shared_ptr<worker> on) : where(std::move(on)) {}
  const std::shared_ptr<worker> where;
  std::mutex mutex;
  std::weak_ptr<job> work;
  session_handle session;
};

struct pool_state {
  void add(std::shared_ptr<job> work);
  void done(worker& from) {
    const std::lock_guard lock(mutex);
    --from.live;
    if (--live == 0) ended.notify_all();
  }
  bool has(const worker& one) const {
    return std::any_of(workers.begin(), workers.end(), [&](const auto& each) { return each.get() == &one; });
  }
  const std::shared_ptr<worker>& least_busy() const {
    return *std::min_element(workers.begin(), workers.end(),
                             [](const auto& a, const auto& b) { return a->live < b->live; });
  }
  void drain_all();
  void stop_all();

  std::vector<std::shared_ptr<worker>> workers;
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t live = 0;
  std::atomic<bool> draining{false}, stopped{false};
  drain_options how;  // set once, before `draining`
};

/// What a worker does for a host: begins, and ends with one callback. The pool outlives it.
class job : public std::enable_shared_from_this<job> {
 public:
  job(pool_state& pool, std::shared_ptr<adoption_state> state) : pool_(pool), state_(std::move(state)) {}
  virtual ~job() = default;

  void enter() {
    state_->where->jobs.insert(this);
    begin();
  }
  /// An operation that has just completed no longer hears the signal: what follows it asks.
  void stop() {
    asked_to_stop_ = true;
    stop_.emit(asio::cancellation_type::terminal);
  }
  void drain() {
    const auto tunnel = session();
    if (tunnel.id() != 0) tunnel.drain(pool_.how);
  }
  const std::shared_ptr<adoption_state>& state() const noexcept { return state_; }

 protected:
  virtual void begin() = 0;

  template <class Handler> auto stoppable(Handler handler) {
    return asio::bind_cancellation_slot(stop_.slot(), std::move(handler));
  }
  /// The callback's turn.
  template <class Callback> void leave(Callback callback) {
    state_->where->jobs.erase(this);
    callback();
    pool_.done(*state_->where);
  }
  /// Puts ours before the host's own.
  auto telling(std::function<void(session_handle)> next) {
    return [this_pool = &pool_, state = state_, next = std::move(next)](const session_handle& session) {
      {
        const std::lock_guard lock(state->mutex);
        state->session = session;
      }
      if (this_pool->draining) session.drain(this_pool->how);
      if (next) next(session);
    };
  }
  session_handle session() const {
    const std::lock_guard lock(state_->mutex);
    return state_->session;
  }
  asio::any_io_executor executor() const { return state_->where->executor(); }
  static forward_result ended_here(std::error_code error, end_cause cause, int status) {
    forward_result result;
    result.error = error;
    result.at = stage::head;
    result.who = side::local;
    result.cause = cause;
    result.status = status;
    result.begun = result.ended = std::chrono::steady_clock::now();
    return result;
  }
  bool stopped() const noexcept { return asked_to_stop_ || pool_.stopped; }
  /// Nothing new is begun.
  bool closing() const noexcept { return pool_.draining || stopped(); }
  forward_result turned_away() const {
    return ended_here(errc::cancelled, stopped() ? end_cause::aborted : end_cause::refused, 503);
  }

 private:
  pool_state& pool_;
  const std::shared_ptr<adoption_state> state_;
  asio::cancellation_signal stop_;
  bool asked_to_stop_ = false;
};

}  // namespace wsproxy::detail
