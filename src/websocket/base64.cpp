#include "base64.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

namespace wsproxy {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr auto letters = [] {
  std::array<bool, 256> is{};
  for (const char c : alphabet) is[static_cast<unsigned char>(c)] = true;
  return is;
}();
bool is_letter(char c) noexcept { return letters[static_cast<unsigned char>(c)]; }

}  // namespace

std::string base64(std::span<const std::uint8_t> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4, '=');
  auto out = text.begin();
  for (; bytes.size() > 2; bytes = bytes.subspan(3)) {
    const std::uint32_t group = std::uint32_t{bytes[0]} << 16 | std::uint32_t{bytes[1]} << 8 | bytes[2];
    for (const int shift : {18, 12, 6, 0}) *out++ = alphabet[group >> shift & 63];
  }
  if (bytes.empty()) return text;
  const std::uint32_t rest = std::uint32_t{bytes[0]} << 16 | (bytes.size() == 2 ? bytes[1] : 0U) << 8;
  *out++ = alphabet[rest >> 18];
  *out++ = alphabet[rest >> 12 & 63];
  if (bytes.size() == 2) *out = alphabet[rest >> 6 & 63];
  return text;
}

bool is_base64_of_16_bytes(std::string_view text) noexcept {
  return text.size() == 24 && text.ends_with("==") && std::all_of(text.begin(), text.end() - 2, is_letter);
}

}  // namespace wsproxy
