// What the fuzzers share: an input taken apart into choices and bytes, cuts, and a check that does not need
// assert().
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace fuzz {

inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

/// An input: its first bytes are choices of the test, the rest is what is tested.
class input {
 public:
  input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  /// 0 when there is none left.
  std::uint8_t choice() {
    if (rest_.empty()) return 0;
    const auto first = static_cast<std::uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return first;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

/// Calls `visit(piece)` for the pieces of `bytes`, until it returns false. The sizes of the pieces are
/// pseudo-random by `seed`; 0 is a single piece, 255 single bytes.
template <class Visit> void in_pieces(std::string_view bytes, std::uint8_t seed, Visit visit) {
  std::uint32_t state = seed;
  while (!bytes.empty()) {
    state = state * 1664525u + 1013904223u;
    const std::size_t most = 1u + (state >> 28) * (state >> 28);
    const auto piece = bytes.substr(0, seed == 0 ? bytes.size() : seed == 255 ? 1 : 1 + (state >> 8) % most);
    bytes.remove_prefix(piece.size());
    if (!visit(piece)) return;
  }
}

}  // namespace fuzz
