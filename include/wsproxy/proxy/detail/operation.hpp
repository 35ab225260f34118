// What every operation of ours has in common: the handler, its work, its cancellation and one timer.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <system_error>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>

#include <wsproxy/proxy/environment.hpp>

namespace wsproxy::detail {

/// A completed operation on its way to its handler's executor.
template <class Handler, class Result> struct delivery {
  Handler handler;
  Result result;
  using allocator_type = asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return asio::get_associated_allocator(handler); }
  void operator()() { std::move(handler)(std::move(result)); }
};

/// An inner operation's handler: calls `Method` of the operation it keeps alive.
template <auto Method, class Op> struct bound {
  std::shared_ptr<Op> op;
  using allocator_type = typename Op::allocator_type;
  allocator_type get_allocator() const noexcept { return op->get_allocator(); }
  template <class... Args> void operator()(Args&&... args) {
    auto self = std::move(op);
    if constexpr (std::is_invocable_v<decltype(Method), Op*, Args...>) std::invoke(Method, self.get(), std::forward<Args>(args)...);
    else std::invoke(Method, self.get(), std::forward<Args>(args)..., std::size_t{0});  // a wait, not a transfer
    Op::settle(std::move(self));
  }
};

/// Base of the operations. `Derived` has `on_tick()`, `on_cancel(asio::cancellation_type)` and `take_result()`;
/// everything runs on the io executor. It is one allocation, made with the handler's allocator, and gone
/// before the handler is called; it completes exactly once, never inside the initiating call, and only when
/// no inner operation is pending: whoever enters it calls settle() on leaving.
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
        auto self = weak.lock();
        if (!self || self->finishing_) return;
        self->on_cancel(type);
        settle(std::move(self));
      });
    return op;
  }

  /// Delivers if the end has come and nothing is pending; `self` is then the last reference.
  static void settle(std::shared_ptr<Derived> self) {
    if (!self->finishing_ || self->delivered_ || !self->quiet()) return;
    self->delivered_ = true;
    auto result = self->take_result();
    auto handler = std::move(self->handler_);
    const auto work = std::move(self->work_);
    const auto executor = asio::get_associated_executor(handler, self->executor_);
    self.reset();
    asio::post(executor, delivery<Handler, decltype(result)>{std::move(handler), std::move(result)});
  }

  void expired() final {
    // With the environment's lock held, perhaps on another thread. If the operation is being destroyed,
    // its destructor waits for that lock and this finds nothing to lock.
    if (auto self = this->weak_from_this().lock()) {
      ticking_.store(true, std::memory_order_relaxed);
      asio::post(executor_, bound<&operation::tick, Derived>{std::move(self)});
    }
  }

 protected:
  operation(Handler&& handler, asio::any_io_executor executor, environment* world)
      : allocator_(asio::get_associated_allocator(handler)),
        executor_(std::move(executor)),
        world_(world != nullptr ? world : &environment_of(executor_)),
        work_(asio::make_work_guard(handler, executor_)),
        handler_(std::move(handler)) {}
  ~operation() { world_->disarm(*this); }

  template <auto Method> auto bind() {
    ++pending_;
    return bound<Method, Derived>{this->shared_from_this()};
  }
  /// First thing in every inner handler.
  void arrived() noexcept { --pending_; }

  void arm(time_point at) {
    // Waking too early is harmless, and deadlines mostly move later: only one that moved forward is armed.
    if (at >= armed_) return;
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

  const asio::any_io_executor& io_executor() const noexcept { return executor_; }
  environment& world() const noexcept { return *world_; }

 private:
  void tick() {
    ticking_.store(false, std::memory_order_relaxed);
    armed_ = time_point::max();
    if (!finishing_) static_cast<Derived*>(this)->on_tick();
  }
  bool quiet() const noexcept { return pending_ == 0 && !ticking_.load(std::memory_order_relaxed); }

  allocator_type allocator_;
  asio::any_io_executor executor_;
  environment* world_;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
  Handler handler_;
  time_point armed_ = time_point::max();
  int pending_ = 0;                    // inner operations that have not called back
  std::atomic<bool> ticking_{false};   // a tick was posted and has not arrived
  bool finishing_ = false;
  bool delivered_ = false;
};

}  // namespace wsproxy::detail
