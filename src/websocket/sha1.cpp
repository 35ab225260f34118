#include "sha1.hpp"

#include <bit>
#include <cstddef>

namespace wsproxy {
namespace {

class hasher {
 public:
  void add(std::uint8_t byte) noexcept {
    block_[fill_++] = byte;
    ++size_;
    if (fill_ == block_.size()) compress();
  }

  sha1_digest finish() noexcept {
    const std::uint64_t bits = size_ * 8;
    add(0x80);
    while (fill_ != block_.size() - 8) add(0);
    for (int shift = 56; shift >= 0; shift -= 8) add(static_cast<std::uint8_t>(bits >> shift));
    sha1_digest digest{};
    for (std::size_t i = 0; i != digest.size(); ++i)
      digest[i] = static_cast<std::uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
    return digest;
  }

 private:
  void compress() noexcept {
    std::array<std::uint32_t, 80> w{};
    for (std::size_t t = 0; t != 64; ++t) w[t / 4] = w[t / 4] << 8 | block_[t];
    for (std::size_t t = 16; t != 80; ++t) w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
    // Four times twenty steps (RFC 3174 section 6.1), each with its function and constant.
    std::uint32_t a = state_[0], b = state_[1], c = state_[2], d = state_[3], e = state_[4];
    std::size_t t = 0;
    const auto steps = [&](std::uint32_t constant, auto function) {
      for (const auto end = t + 20; t != end; ++t) {
        const std::uint32_t next = std::rotl(a, 5) + function() + e + w[t] + constant;
        e = d;
        d = c;
        c = std::rotl(b, 30);
        b = a;
        a = next;
      }
    };
    steps(0x5a827999, [&] { return (b & c) | (~b & d); });
    steps(0x6ed9eba1, [&] { return b ^ c ^ d; });
    steps(0x8f1bbcdc, [&] { return (b & c) | (b & d) | (c & d); });
    steps(0xca62c1d6, [&] { return b ^ c ^ d; });
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
  for (const auto part : parts)
    for (const char c : part) hash.add(static_cast<std::uint8_t>(c));
  return hash.finish();
}

}  // namespace wsproxy
