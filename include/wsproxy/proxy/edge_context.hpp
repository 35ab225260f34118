// An execution context for a thread that mostly serves edge_sockets: it waits for them itself, where an
// asio::io_context waits for an epoll set that holds theirs. That saves two system calls per wake-up.
// wsproxy's own threads (worker_pool) and wsproxy-gateway use it; a host that gives a thread to a gateway
// can. Linux.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/execution.hpp>
#include <asio/execution_context.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/detail/same_asio.hpp>

namespace wsproxy {

namespace detail {

/// A function in the queue of a context. It is either called or dropped, which frees it.
struct edge_task {
  void (*finish)(edge_task*, bool call);
  edge_task* next = nullptr;
};
template <class F> struct edge_task_of final : edge_task {
  explicit edge_task_of(F f) : edge_task{&finish_this}, function(std::move(f)) {}
  static void finish_this(edge_task* task, bool call) {
    std::unique_ptr<edge_task_of> self(static_cast<edge_task_of*>(task));
    if (!call) return;
    F f(std::move(self->function));
    self.reset();
    f();
  }
  F function;
};

struct edge_queue;

}  // namespace detail

/// Works as an io_context that one thread runs: edge_sockets and all of wsproxy are served by the thread in
/// run(). Asio's own sockets and timers may be used with its executor too; Asio serves them from a thread of
/// its own, which it starts for the first of them, and their handlers are called by the thread in run().
class WSPROXY_EXPORT edge_context : public asio::execution_context {
 public:
  class executor_type;

  /// Throws std::system_error where there is no descriptor left.
  edge_context();
  /// Drops the handlers that were not called. Nobody is in run().
  ~edge_context();

  executor_type get_executor() noexcept;  ///< Asio's functions take the context for it
  /// Calls handlers until there is nothing left to wait for, or stop() is called; after that it does nothing
  /// until restart(). An exception of a handler leaves it, and it may be called again. One thread at a time.
  void run();
  /// Ends run() soon: the handlers that are being called one after the other return first. From any thread.
  void stop() noexcept;
  bool stopped() const noexcept;  ///< and not restarted since
  void restart() noexcept;        ///< run() works again after stop()

 private:
  void post(detail::edge_task* task) noexcept;
  bool running_here() const noexcept;
  void work(int more) noexcept;

  std::unique_ptr<detail::edge_queue> queue_;
};

/// What any_io_executor holds for an edge_context. It must not outlive the context.
class edge_context::executor_type {
 public:
  /// Holds the context's run() too where `other` does.
  executor_type(const executor_type& other) noexcept
      : context_(other.context_), possibly_(other.possibly_), tracked_(other.tracked_) {
    if (tracked_) context_->work(1);
  }
  /// The same; and lets go of what it held.
  executor_type& operator=(const executor_type& other) noexcept {
    executor_type copy(other);
    std::swap(context_, copy.context_);
    std::swap(possibly_, copy.possibly_);
    std::swap(tracked_, copy.tracked_);
    return *this;
  }
  ~executor_type() {
    if (tracked_) context_->work(-1);
  }

  /// The same context and the same properties.
  bool operator==(const executor_type&) const noexcept = default;
  /// This is the thread that is in run().
  bool running_in_this_thread() const noexcept { return context_->running_here(); }

  /// Calls `f`, a function without arguments that may be move-only, in run(); here and now if this is the
  /// thread and the executor's property `blocking` allows it. From any thread.
  template <class F> void execute(F&& f) const {
    using function = std::decay_t<F>;
    if (possibly_ && context_->running_here()) {
      function here(std::forward<F>(f));
      here();
    } else {
      context_->post(new detail::edge_task_of<function>(std::forward<F>(f)));
    }
  }

  // The properties of Asio's executors: asio::query, asio::require and asio::prefer call these.

  /// @cond
  edge_context& query(asio::execution::context_t) const noexcept { return *context_; }
  static constexpr asio::execution::mapping_t query(asio::execution::mapping_t) noexcept {
    return asio::execution::mapping.thread;
  }
  asio::execution::blocking_t query(asio::execution::blocking_t) const noexcept {
    if (possibly_) return asio::execution::blocking.possibly;
    return asio::execution::blocking.never;
  }
  asio::execution::outstanding_work_t query(asio::execution::outstanding_work_t) const noexcept {
    if (tracked_) return asio::execution::outstanding_work.tracked;
    return asio::execution::outstanding_work.untracked;
  }
  executor_type require(asio::execution::blocking_t::possibly_t) const noexcept {
    return {*context_, true, tracked_};
  }
  executor_type require(asio::execution::blocking_t::never_t) const noexcept {
    return {*context_, false, tracked_};
  }
  executor_type require(asio::execution::outstanding_work_t::tracked_t) const noexcept {
    return {*context_, possibly_, true};
  }
  executor_type require(asio::execution::outstanding_work_t::untracked_t) const noexcept {
    return {*context_, possibly_, false};
  }
  /// @endcond

 private:
  friend class edge_context;
  executor_type(edge_context& context, bool possibly, bool tracked) noexcept
      : context_(&context), possibly_(possibly), tracked_(tracked) {
    if (tracked_) context_->work(1);
  }

  edge_context* context_;
  bool possibly_;  // a function may be called within execute()
  bool tracked_;   // run() goes on while this is there
};

inline edge_context::executor_type edge_context::get_executor() noexcept { return {*this, true, false}; }

}  // namespace wsproxy
