// Frames for tests, written and read by code that shares nothing with the library's own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>
#include <wsproxy/websocket/frame.hpp>

namespace wsproxy::samples {

/// Any bytes, written as numbers.
inline std::string bytes(std::initializer_list<unsigned> values) {
  std::string text;
  for (const unsigned value : values) text += static_cast<char>(value);
  return text;
}

/// One frame, in its shortest form unless told otherwise.
struct sample {
  opcode code = opcode::text;
  std::string payload{};
  bool fin = true;
  std::uint8_t rsv = 0;
  std::optional<std::uint32_t> mask{};  // its bytes in network order

  std::string raw() const {
    std::string text;
    text += static_cast<char>((fin ? 0x80u : 0u) | rsv | static_cast<unsigned>(code));
    const std::uint64_t size = payload.size();
    const unsigned more = size < 126 ? 0 : size < 65536 ? 2 : 8;
    const auto start = more == 0 ? static_cast<unsigned>(size) : more == 2 ? 126u : 127u;
    text += static_cast<char>((mask ? 0x80u : 0u) | start);
    for (unsigned i = more; i != 0; --i) text += static_cast<char>(size >> 8 * (i - 1) & 0xff);
    std::string key;
    for (unsigned i = 4; mask && i != 0; --i) key += static_cast<char>(*mask >> 8 * (i - 1) & 0xff);
    text += key;
    for (std::size_t i = 0; i != payload.size(); ++i)
      text += mask ? static_cast<char>(payload[i] ^ key[i % 4]) : payload[i];
    return text;
  }
};

/// The frame that `text` begins with, and its size; nothing if it is not whole.
struct read_sample {
  sample frame;
  std::size_t size;
};
inline std::optional<read_sample> read_frame(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.size() < 2) return {};
  const unsigned start = byte(1) & 0x7fu;
  const std::size_t more = start == 126 ? 2 : start == 127 ? 8 : 0;
  const bool masked = byte(1) >= 0x80;
  const std::size_t head = 2 + more + (masked ? 4 : 0);
  if (text.size() < head) return {};
  std::uint64_t length = more == 0 ? start : 0;
  for (std::size_t i = 0; i != more; ++i) length = length * 256 + byte(2 + i);
  if (text.size() - head < length) return {};
  sample frame{.code = static_cast<opcode>(byte(0) & 15u),
               .fin = byte(0) >= 0x80,
               .rsv = static_cast<std::uint8_t>(byte(0) & 0x70u)};
  if (masked) {
    frame.mask = 0;
    for (std::size_t i = 0; i != 4; ++i) frame.mask = *frame.mask << 8 | byte(2 + more + i);
  }
  for (std::size_t i = 0; i != length; ++i)
    frame.payload += masked ? static_cast<char>(text[head + i] ^ text[head - 4 + i % 4]) : text[head + i];
  return read_sample{frame, head + static_cast<std::size_t>(length)};
}

/// All whole frames of a text that must consist of nothing else.
inline std::vector<sample> read_frames(std::string_view text) {
  std::vector<sample> frames;
  while (!text.empty()) {
    const auto one = read_frame(text);
    REQUIRE(one);
    frames.push_back(one->frame);
    text.remove_prefix(one->size);
  }
  return frames;
}

inline std::string close_payload(std::uint16_t code, std::string_view reason = {}) {
  return bytes({code / 256u, code % 256u}).append(reason);
}

using dice = std::mt19937_64;
/// A number below `limit`.
inline std::size_t roll(dice& random, std::size_t limit) { return random() % limit; }

/// A frame a peer of that role could send. `in_message` is carried from frame to frame.
inline sample random_frame(dice& random, frame_sender sender, bool& in_message, std::uint8_t rsv = 0) {
  static constexpr std::size_t sizes[] = {0, 1, 2, 8, 8, 8, 100, 125, 126, 127, 300, 65535, 65536};
  sample frame;
  const auto kind = roll(random, 10);
  std::size_t size = sizes[roll(random, roll(random, 20) == 0 ? std::size(sizes) : 6)];
  if (kind < 4) {
    frame.code = kind < 2 ? opcode::ping : opcode::pong;
    size = std::min<std::size_t>(size, 125);
  } else {
    frame.code = in_message ? opcode::continuation : kind < 7 ? opcode::text : opcode::binary;
    if (!in_message && roll(random, 2) == 0) frame.rsv = rsv;
    frame.fin = roll(random, 3) != 0;
    in_message = !frame.fin;
  }
  for (std::size_t i = 0; i != size; ++i) frame.payload += static_cast<char>(random());
  if (sender == frame_sender::client) frame.mask = static_cast<std::uint32_t>(random());
  return frame;
}

/// Calls `test(seed)` for as many seeds as are asked for; a failure names the seed.
template <class Test> void for_seeds(std::uint64_t count, Test test) {
  const char* asked = std::getenv("WSPROXY_TEST_SEEDS");
  const char* scale = std::getenv("WSPROXY_TEST_SCALE");
  if (asked != nullptr) count = std::strtoull(asked, nullptr, 10);
  else if (scale != nullptr)
    count = std::max<std::uint64_t>(count / std::max(1ull, std::strtoull(scale, nullptr, 10)), 1);
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    CAPTURE(seed);
    test(seed);
  }
}

}  // namespace wsproxy::samples
