// Time and chance, injected: what the operations ask of the world beside their streams.
#pragma once

#include <cstddef>
#include <cstdint>

#include <asio/any_io_executor.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/detail/same_asio.hpp>

// Older Asio looks for std::aligned_alloc before it includes anything that would tell: translation units that
// disagree free with `delete` what another took with aligned_alloc. The CMake target settles it.
#if defined(_GLIBCXX_HAVE_ALIGNED_ALLOC) && ASIO_VERSION < 103100 && !defined(ASIO_HAS_STD_ALIGNED_ALLOC) && \
    !defined(ASIO_DISABLE_STD_ALIGNED_ALLOC)
#error \
    "Define ASIO_HAS_STD_ALIGNED_ALLOC=1 for the whole program (the target wsproxy::wsproxy does), or include a \
standard header before Asio everywhere."
#endif

namespace wsproxy {

/// An event that can be waited for. One at a time per object; the object must be disarmed before it goes.
class WSPROXY_EXPORT timer {
 public:
  timer() = default;
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  /// The time has come. Called on any thread, with the environment's lock held: it may only post.
  virtual void expired() = 0;

 protected:
  ~timer() = default;

 private:
  friend class timer_queue;
  static constexpr std::size_t unarmed = static_cast<std::size_t>(-1);
  time_point at_{};
  std::size_t place_ = unarmed;
};

/// Every execution context has one of these by itself (environment_of); tests and simulators pass another.
class WSPROXY_EXPORT environment {
 public:
  virtual ~environment() = default;
  /// The time; never runs backwards. Thread-safe.
  virtual time_point now() noexcept = 0;
  /// Calls `t.expired()` once, at or soon after `at`. Arming again moves it. Thread-safe.
  virtual void arm(timer& t, time_point at) = 0;
  /// After it returns, `expired()` is not called and not running. Thread-safe.
  virtual void disarm(timer& t) noexcept = 0;
  /// 64 bits that a peer cannot guess. Thread-safe.
  virtual std::uint64_t random() = 0;
};

/// The environment of the executor's context: the steady clock, one timer queue for all sessions of that
/// context, the system's randomness. It is an Asio service: made at the first use, gone with the context.
WSPROXY_EXPORT environment& environment_of(const asio::any_io_executor& executor);

}  // namespace wsproxy
