// A number that one thread writes and any thread may read.
#pragma once

#include <atomic>

namespace wsproxy::detail {

/// Plain loads and stores on the writer's thread, without order or fence; readers elsewhere see some recent
/// value.
template <class T> class relaxed {
 public:
  relaxed() noexcept : value_(T{}) {}
  relaxed(T value) noexcept : value_(value) {}
  relaxed(const relaxed& other) noexcept : value_(T(other)) {}
  relaxed& operator=(const relaxed& other) noexcept { return *this = T(other); }
  relaxed& operator=(T value) noexcept {
    value_.store(value, std::memory_order_relaxed);
    return *this;
  }
  operator T() const noexcept { return value_.load(std::memory_order_relaxed); }
  // Not fetch_add: there is one writer.
  relaxed& operator+=(T more) noexcept { return *this = T(*this) + more; }
  relaxed& operator++() noexcept { return *this += T{1}; }
  relaxed& operator--() noexcept { return *this = T(*this) - T{1}; }

 private:
  std::atomic<T> value_;
};

}  // namespace wsproxy::detail
