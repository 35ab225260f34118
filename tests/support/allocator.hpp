// An allocator that counts, to see what an operation does with its handler's.
#pragma once

#include <cstddef>
#include <memory>

namespace test {

struct allocations {
  long live = 0;
  long made = 0;
};
template <class T> struct counting_allocator {
  using value_type = T;
  explicit counting_allocator(allocations& all) : counts(&all) {}
  template <class U> counting_allocator(const counting_allocator<U>& from) : counts(from.counts) {}
  T* allocate(std::size_t n) {
    ++counts->live;
    ++counts->made;
    return std::allocator<T>().allocate(n);
  }
  void deallocate(T* at, std::size_t n) {
    --counts->live;
    std::allocator<T>().deallocate(at, n);
  }
  bool operator==(const counting_allocator&) const = default;
  allocations* counts;
};

}  // namespace test
