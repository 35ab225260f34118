// What the objects that act by themselves from time to time have in common: a strand, and one alarm.
#pragma once

#include <memory>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <wsproxy/proxy/environment.hpp>

namespace wsproxy::detail {

/// Owned by its handle; what is under way knows it weakly. All but the constructor, destructor and expired()
/// run on the strand, so the executor may be one that several threads run.
class wakeable : public timer, public std::enable_shared_from_this<wakeable> {
 public:
  void expired() final {
    // With the environment's lock held, perhaps on another thread; see operation::expired.
    if (auto self = weak_from_this().lock())
      asio::post(strand_, [self = std::move(self)] {
        self->armed_ = time_point::max();
        if (!self->stopped_) self->on_wake();
      });
  }

 protected:
  wakeable(const asio::any_io_executor& executor, environment* world)
      : strand_(asio::make_strand(executor)), world_(world != nullptr ? world : &environment_of(strand_)) {}
  virtual ~wakeable() { world_->disarm(*this); }

  virtual void on_wake() = 0;
  /// Wakes at `at`, or before if that was wished earlier.
  void wake_at(time_point at) {
    if (stopped_ || at >= armed_) return;
    armed_ = at;
    world_->arm(*this, at);
  }
  /// No more waking. True the first time.
  bool stop_waking() noexcept {
    if (std::exchange(stopped_, true)) return false;
    world_->disarm(*this);
    return true;
  }
  bool stopped() const noexcept { return stopped_; }
  time_point now() const noexcept { return world_->now(); }
  /// 0 … 1, drawn.
  double chance() const { return static_cast<double>(world_->random() >> 11) * 0x1p-53; }
  environment* world() const noexcept { return world_; }
  const asio::any_io_executor& strand() const noexcept { return strand_; }

 private:
  const asio::any_io_executor strand_;
  environment* const world_;
  time_point armed_ = time_point::max();
  bool stopped_ = false;
};

}  // namespace wsproxy::detail
