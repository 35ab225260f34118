// Numbers that nobody can guess, without a system call for each. Private.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>

#include <sys/random.h>
#include <unistd.h>

namespace wsproxy::detail {

class entropy {
 public:
  std::uint64_t next() {
    if (left_ == 0) fill();
    return words_[--left_];
  }
  /// After a fork, where the other process has the same.
  void forget() noexcept { left_ = 0; }

 private:
  void fill() {
    if (::getentropy(words_.data(), sizeof words_) != 0) {
      std::random_device device;
      for (auto& word : words_) word = static_cast<std::uint64_t>(device()) << 32 | device();
    }
    left_ = words_.size();
  }

  std::array<std::uint64_t, 32> words_{};  // as much as getentropy gives at a time
  std::size_t left_ = 0;
};

}  // namespace wsproxy::detail
