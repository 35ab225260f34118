#include "sha1.hpp"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>

namespace wsproxy {
namespace {

class hasher {
 public:
  void add(std::string_view text) noexcept {
    size_ += text.size();
    while (!text.empty()) {
      const auto taken = std::min(text.size(), block_.size() - fill_);
      std::memcpy(block_.data() + fill_, text.data(), taken);
      fill_ += taken;
      text.remove_prefix(taken);
      if (fill_ == block_.size()) compress();
    }
  }

  sha1_digest finish() noexcept {
    constexpr std::size_t length_at = 64 - 8;
    block_[fill_++] = 0x80;
    if (fill_ > length_at) {
      std::fill(block_.begin() + fill_, block_.end(), std::uint8_t{0});
      compress();
    }
    std::fill(block_.begin() + fill_, block_.begin() + length_at, std::uint8_t{0});
    for (std::size_t i = 0; i != 8; ++i)
      block_[length_at + i] = static_cast<std::uint8_t>(size_ * 8 >> (56 - 8 * i));
    compress();
    sha1_digest digest{};
    for (std::size_t i = 0; i != digest.size(); ++i)
      digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
  }

 private:
  void compress() noexcept {
    std::array<std::uint32_t, 80> w;
    for (std::size_t t = 0; t != 16; ++t)
      w[t] = std::uint32_t{block_[4 * t]} << 24 | std::uint32_t{block_[4 * t + 1]} << 16 |
             std::uint32_t{block_[4 * t + 2]} << 8 | block_[4 * t + 3];
    for (std::size_t t = 16; t != 80; ++t) w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    // Four times twenty steps (RFC 3174 section 6.1), each with its function and constant. Five at a time,
    // the letters change places in the text and not in the registers.
    std::uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3], e = state_[4];
    const std::uint32_t* word = w.data();
    const auto steps = [&](std::uint32_t constant, auto function) {
      const auto step = [&](std::uint32_t p, std::uint32_t& q, std::uint32_t r, std::uint32_t s,
                            std::uint32_t& u) {
        u += std::rotl(p, 5) + function(q, r, s) + *word++ + constant;
        q = std::rotl(q, 30);
      };
      for (int four = 0; four != 4; ++four) {
        step(a, b, c, d, e);
        step(e, a, b, c, d);
        step(d, e, a, b, c);
        step(c, d, e, a, b);
        step(b, c, d, e, a);
      }
    };
    using u32 = std::uint32_t;
    steps(0x5a827999, [](u32 x, u32 y, u32 z) { return (x & y) | (~x & z); });
    steps(0x6ed9eba1, [](u32 x, u32 y, u32 z) { return x ^ y ^ z; });
    steps(0x8f1bbcdc, [](u32 x, u32 y, u32 z) { return (x & y) | (x & z) | (y & z); });
    steps(0xca62c1d6, [](u32 x, u32 y, u32 z) { return x ^ y ^ z; });
    state_ = {state_[0] + a, state_[1] + b, state_[2] + c, state_[3] + d, state_[4] + e};
    fill_ = 0;
  }

  std::array<std::uint32_t, 5> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  std::array<std::uint8_t, 64> block_{};
  std::size_t fill_ = 0;
  std::uint64_t size_ = 0;
};

}  // namespace

sha1_digest sha1(std::initializer_list<std::string_view> parts) noexcept {
  hasher hash;
  for (const auto part : parts) hash.add(part);
  return hash.finish();
}

}  // namespace wsproxy
