#include <wsproxy/proxy/environment.hpp>

#include <memory>
#include <mutex>

#include <asio/execution_context.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/query.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>

#include <wsproxy/proxy/detail/target_of.hpp>
#include <wsproxy/proxy/detail/timer_queue.hpp>

#include "entropy.hpp"
#ifdef __linux__
#include "edge_environment.hpp"
#endif

namespace wsproxy {

namespace {

// A strand's own work must not delay everybody's timers: take what is beneath it.
asio::any_io_executor beneath(const asio::any_io_executor& executor) {
  using context_executor = asio::io_context::executor_type;
  if (auto* strand = detail::target_of<asio::strand<context_executor>>(executor))
    return strand->get_inner_executor();
  if (auto* strand = detail::target_of<asio::strand<asio::any_io_executor>>(executor))
    return strand->get_inner_executor();
  return executor;
}

class environment_service final : public asio::execution_context::service, public environment {
 public:
  using key_type = environment_service;
  inline static asio::execution_context::id id;

  explicit environment_service(asio::execution_context& context) : service(context) {}

  void begin(const asio::any_io_executor& executor) {
    const std::lock_guard lock(mutex_);
    if (!wake_ && !down_) wake_ = std::make_unique<asio::steady_timer>(beneath(executor));
  }

  time_point now() noexcept override { return std::chrono::steady_clock::now(); }

  void arm(timer& t, time_point at) override {
    const std::lock_guard lock(mutex_);
    queue_.arm(t, at);
    schedule();
  }

  void disarm(timer& t) noexcept override {
    const std::lock_guard lock(mutex_);
    queue_.disarm(t);
    // A pending wait is work that would keep the context running for nothing.
    if (queue_.empty() && wake_ && waiting_for_ != time_point::max()) {
      waiting_for_ = time_point::max();
      wake_->cancel();
    }
  }

  std::uint64_t random() override {
    const std::lock_guard lock(mutex_);
    return entropy_.next();
  }

 private:
  void shutdown() noexcept override {
    const std::lock_guard lock(mutex_);
    down_ = true;
    wake_.reset();
  }
  void notify_fork(asio::execution_context::fork_event event) override {
    if (event == asio::execution_context::fork_child) entropy_.forget();
  }

  void schedule() {
    if (!wake_ || queue_.earliest() >= waiting_for_) return;
    waiting_for_ = queue_.earliest();
    // The wait that this replaces may be the context's only work, and end on its thread before the next
    // begins.
    const auto work = asio::make_work_guard(wake_->get_executor());
    wake_->expires_at(waiting_for_);
    wake_->async_wait([this, at = waiting_for_](std::error_code ec) {
      if (!ec) fire(at);
    });
  }

  void fire(time_point armed_for) {
    const std::lock_guard lock(mutex_);
    if (armed_for != waiting_for_) return;  // replaced by an earlier one just as it expired
    waiting_for_ = time_point::max();
    const auto present = now();
    while (timer* due = queue_.take_due(present)) due->expired();
    schedule();
  }

  std::mutex mutex_;
  timer_queue queue_;
  std::unique_ptr<asio::steady_timer> wake_;
  time_point waiting_for_ = time_point::max();
  detail::entropy entropy_;
  bool down_ = false;
};

}  // namespace

environment& environment_of(const asio::any_io_executor& executor) {
  auto& context = asio::query(executor, asio::execution::context);
#ifdef __linux__
  if (asio::has_service<detail::edge_environment>(context))
    return asio::use_service<detail::edge_environment>(context);
#endif
  auto& service = asio::use_service<environment_service>(context);
  service.begin(executor);
  return service;
}

}  // namespace wsproxy
