// What every operation of ours has in common: the handler, its work, its cancellation and one timer.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/bind_allocator.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/dispatch.hpp>
#include <asio/execution/blocking.hpp>
#include <asio/execution/outstanding_work.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/prefer.hpp>
#include <asio/require.hpp>
#include <asio/system_executor.hpp>

#include <wsproxy/proxy/detail/submit.hpp>
#include <wsproxy/proxy/environment.hpp>

namespace wsproxy::detail {

/// What begins an operation tells which executor that runs on: asio::cancel_after puts its timer there, and
/// a token made for the executor (as_default_on) is found by it.
template <class Executor> struct initiation {
  using executor_type = Executor;
  executor_type get_executor() const noexcept { return executor; }
  Executor executor;
};

/// Whether a handler says itself where it is to be called.
template <class Handler>
inline constexpr bool has_own_executor =
    !std::is_same_v<asio::associated_executor_t<Handler, asio::system_executor>, asio::system_executor>;

/// Keeps the context running where a handler that says so is called.
template <class Handler, bool = has_own_executor<Handler>> struct handler_work {
  handler_work(const Handler& handler, const asio::any_io_executor& usual)
      : guard(asio::make_work_guard(handler, usual)) {}
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> guard;
};
template <class Handler> struct handler_work<Handler, false> {
  handler_work(const Handler&, const asio::any_io_executor&) noexcept {}
};

/// A completed operation on its way to its handler's executor.
template <class Handler, class... Results> struct delivery {
  Handler handler;
  std::tuple<Results...> results;
  using allocator_type = asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return asio::get_associated_allocator(handler); }
  void operator()() {
    std::apply([this](auto&... each) { std::move(handler)(std::move(each)...); }, results);
  }
};

/// Posts it to the handler's executor; `usual` is that of a handler without one.
template <class Handler, class... Results>
void deliver(const asio::any_io_executor& usual, Handler handler, Results... results) {
  const auto executor = asio::get_associated_executor(handler, usual);
  delivery<Handler, Results...> done{std::move(handler), {std::move(results)...}};
  using never = asio::execution::blocking_t::never_t;
  if constexpr (asio::can_require_v<std::remove_const_t<decltype(executor)>, never>) {
    post_on(executor, std::move(done));
  } else {  // asio::any_completion_executor can only dispatch
    const auto allocator = done.get_allocator();
    auto there = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    post_on(usual, asio::bind_allocator(allocator, [there, done = std::move(done)]() mutable {
              asio::dispatch(there, std::move(done));
            }));
  }
}

/// An inner operation's handler: calls `Method` of the operation it keeps alive.
template <auto Method, class Op> struct bound {
  std::shared_ptr<Op> op;
  using allocator_type = typename Op::allocator_type;
  allocator_type get_allocator() const noexcept { return op->get_allocator(); }
  template <class... Args> void operator()(Args&&... args) {
    Op::enter(std::move(op), [&](Op& self) {
      self.arrived();
      if constexpr (std::is_invocable_v<decltype(Method), Op*, Args...>)
        std::invoke(Method, &self, std::forward<Args>(args)...);
      else std::invoke(Method, &self, std::forward<Args>(args)..., std::size_t{0});  // a wait, not a transfer
    });
  }
};

/// Base of the operations. `Derived` has `on_tick()`, `on_cancel(asio::cancellation_type)` and
/// `take_result()`; everything runs on the io executor. It is one allocation, made with the handler's
/// allocator, and gone before the handler is called; it completes exactly once, never inside the initiating
/// call, and only when no inner operation is pending: all that happens to it goes through enter().
template <class Derived, class Handler>
class operation : public timer, public std::enable_shared_from_this<Derived> {
 public:
  using allocator_type = asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return allocator_; }

  /// Makes an operation with the handler's allocator.
  template <class... Args> static std::shared_ptr<Derived> make(Handler handler, Args&&... args) {
    const auto allocator = asio::get_associated_allocator(handler);
    auto op = std::allocate_shared<Derived>(allocator, std::move(handler), std::forward<Args>(args)...);
    if (auto slot = asio::get_associated_cancellation_slot(op->handler_); slot.is_connected())
      slot.assign([weak = std::weak_ptr<Derived>(op)](asio::cancellation_type type) {
        if (auto self = weak.lock()) cancel(std::move(self), type);
      });
    return op;
  }

  /// Calls the member function `Start` on the executor, from whatever thread the operation was initiated.
  template <auto Start, class... Args> static void launch(std::shared_ptr<Derived> op, Args... args) {
    const auto executor = op->executor_;
    auto start = op->template bind<Start>();
    op.reset();
    dispatch_on(executor,
                [start = std::move(start), ... args = std::move(args)]() mutable { start(args...); });
  }

  /// One event, and the delivery if it was the last.
  template <class Event> static void enter(std::shared_ptr<Derived> self, Event event) {
    self->inside_ = true;
    event(*self);
    self->inside_ = false;
    settle(std::move(self));
  }

  /// For bound: an inner operation has called back.
  void arrived() noexcept { --pending_; }

  void expired() final {
    // With the environment's lock held, perhaps on another thread. If the operation is being destroyed,
    // its destructor waits for that lock and this finds nothing to lock.
    if (auto self = this->weak_from_this().lock()) {
      ticking_.fetch_add(1, std::memory_order_relaxed);
      // Not bound<>: the handler's allocator need not be fit for this thread.
      post_on(executor_,
              [self = std::move(self)]() mutable { enter(std::move(self), [](Derived& op) { op.tick(); }); });
    }
  }

 protected:
  operation(Handler&& handler, const asio::any_io_executor& executor, environment* world)
      : allocator_(asio::get_associated_allocator(handler)),
        executor_(asio::prefer(executor, asio::execution::outstanding_work.tracked)),
        world_(world != nullptr ? world : &environment_of(executor)),
        work_(handler, executor),
        handler_(std::move(handler)) {}
  ~operation() {
    if (!finishing_) world_->disarm(*this);
  }

  template <auto Method> auto bind() {
    ++pending_;
    return bound<Method, Derived>{this->shared_from_this()};
  }
  void arm(time_point at) {
    // Waking too early is harmless, and deadlines mostly move later: only one that moved forward is armed.
    if (finishing_ || at >= armed_) return;
    armed_ = at;
    world_->arm(*this, at);
  }
  time_point now() const noexcept { return world_->now(); }

  /// The end has come: no more ticks, no more cancellation. True the first time.
  bool finish() noexcept {
    if (std::exchange(finishing_, true)) return false;
    world_->disarm(*this);
    asio::get_associated_cancellation_slot(handler_).clear();
    return true;
  }
  bool finishing() const noexcept { return finishing_; }

  /// For others: it keeps no context running.
  asio::any_io_executor io_executor() const {
    return asio::prefer(executor_, asio::execution::outstanding_work.untracked);
  }
  environment& world() const noexcept { return *world_; }

 private:
  static void cancel(std::shared_ptr<Derived> self, asio::cancellation_type type) {
    if (self->finishing_) return;
    if (!self->inside_) return enter(std::move(self), [type](Derived& op) { op.on_cancel(type); });
    // A callback of the host's cancels what is calling it: once that has returned.
    auto again = self->template bind<&operation::cancel_again>();
    post_on(self->executor_, [again = std::move(again), type]() mutable { again(type); });
  }
  void cancel_again(asio::cancellation_type type) {
    if (!finishing_) static_cast<Derived*>(this)->on_cancel(type);
  }

  /// Delivers if the end has come and nothing is pending; `self` is then the last reference.
  static void settle(std::shared_ptr<Derived> self) {
    if (!self->finishing_ || self->delivered_ || !self->quiet()) return;
    self->delivered_ = true;
    auto result = self->take_result();
    auto handler = std::move(self->handler_);
    [[maybe_unused]] const auto work = std::move(self->work_);
    const auto here = self->executor_;  // until it is posted, the context has work
    self.reset();
    deliver(here, std::move(handler), std::move(result));
  }

  void tick() {
    ticking_.fetch_sub(1, std::memory_order_relaxed);
    armed_ = time_point::max();
    if (!finishing_) static_cast<Derived*>(this)->on_tick();
  }
  bool quiet() const noexcept { return pending_ == 0 && ticking_.load(std::memory_order_relaxed) == 0; }

  allocator_type allocator_;
  asio::any_io_executor executor_;  // tracked: the context has work
  environment* world_;
  [[no_unique_address]] handler_work<Handler> work_;
  Handler handler_;
  time_point armed_ = time_point::max();
  int pending_ = 0;              // inner operations that have not called back
  std::atomic<int> ticking_{0};  // ticks posted that have not arrived
  bool inside_ = false;          // an event is being handled
  bool finishing_ = false;
  bool delivered_ = false;
};

}  // namespace wsproxy::detail
