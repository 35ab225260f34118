// The output of one step of a machine: views of what came in, and a few bytes of the machine's own.
#pragma once

#include <array>
#include <cassert>
#include <cstddef>
#include <cstring>
#include <span>

namespace wsproxy::detail {

struct slice {
  const char* data;
  std::size_t size;
};

/// A gather list that lives on the stack for one step. Borrowed bytes are never copied;
/// own bytes are kept inside. A machine asks `room()` before each event it handles.
class slices {
 public:
  /// Room for one more event: at most four slices and 176 own bytes.
  bool room() const noexcept { return count_ + 4 <= list_.size() && used_ + 176 <= own_.size(); }

  void borrow(std::span<const char> bytes) noexcept {
    if (bytes.empty()) return;
    total_ += bytes.size();
    if (count_ != 0 && list_[count_ - 1].data + list_[count_ - 1].size == bytes.data()) {
      list_[count_ - 1].size += bytes.size();
      return;
    }
    assert(count_ != list_.size());
    list_[count_++] = {bytes.data(), bytes.size()};
  }

  void copy(std::span<const char> bytes) noexcept {
    assert(used_ + bytes.size() <= own_.size());
    char* at = own_.data() + used_;
    std::memcpy(at, bytes.data(), bytes.size());
    used_ += bytes.size();
    borrow({at, bytes.size()});
  }

  bool empty() const noexcept { return count_ == 0; }
  std::size_t total() const noexcept { return total_; }
  std::span<const slice> view() const noexcept { return {list_.data(), count_}; }
  void clear() noexcept { count_ = used_ = total_ = 0; }

 private:
  std::size_t count_ = 0;
  std::size_t used_ = 0;
  std::size_t total_ = 0;
  std::array<slice, 12> list_;  // left uninitialised: it is written before it is read
  std::array<char, 352> own_;
};

}  // namespace wsproxy::detail
