// Heads and frames as bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "tests/support/socket.hpp"

namespace test {

// The key and its answer of RFC 6455, section 1.3.
inline constexpr std::string_view sample_key = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr std::string_view sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An opening handshake; `more` are further field lines, each with its CRLF.
inline std::string handshake(std::string_view more = {}, std::string_view target = "/chat") {
  return std::string("GET ").append(target) +
         " HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
         std::string(sample_key) + "\r\n" + std::string(more) + "\r\n";
}

/// Its answer.
inline std::string switching(std::string_view more = {}) {
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Accept: " +
         std::string(sample_accept) + "\r\n" + std::string(more) + "\r\n";
}

inline std::string get(std::string_view target = "/", std::string_view more = {}) {
  return std::string("GET ").append(target) + " HTTP/1.1\r\nHost: example.test\r\n" + std::string(more) +
         "\r\n";
}

inline std::string ok(std::string_view body, std::string_view more = {}) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(more) +
         "\r\n" + std::string(body);
}

enum frame_code : unsigned { continuation = 0, text = 1, binary = 2, close_frame = 8, ping = 9, pong = 10 };

/// A frame's header.
inline std::string frame_header(unsigned code, std::uint64_t size, bool masked, bool fin = true) {
  std::string out;
  out += static_cast<char>((fin ? 0x80u : 0u) | code);
  const unsigned mask_bit = masked ? 0x80u : 0u;
  int length_bytes = 0;
  if (size < 126) out += static_cast<char>(mask_bit | size);
  else if (size < 65536) out += static_cast<char>(mask_bit | 126u), length_bytes = 2;
  else out += static_cast<char>(mask_bit | 127u), length_bytes = 8;
  for (int i = length_bytes; i-- != 0;) out += static_cast<char>(size >> (8 * i) & 0xff);
  return out;
}

/// A frame as a server sends it.
inline std::string server_frame(unsigned code, std::string_view payload, bool fin = true) {
  return frame_header(code, payload.size(), false, fin).append(payload);
}

/// A frame as a client sends it.
inline std::string client_frame(unsigned code, std::string_view payload, bool fin = true) {
  constexpr std::string_view mask = "\x12\x34\x56\x78";
  auto out = frame_header(code, payload.size(), true, fin).append(mask);
  for (std::size_t i = 0; i != payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
  return out;
}

inline std::string close_payload(std::uint16_t code, std::string_view reason = {}) {
  return std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)}.append(reason);
}

struct received_frame {
  unsigned code = 0;
  bool fin = false;
  bool masked = false;
  std::string payload;  // unmasked
  std::string bytes;    // as they came
};

/// Reads one frame.
inline received_frame read_frame(peer& from) {
  received_frame frame;
  frame.bytes = from.read(2);
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(frame.bytes[i]); };
  frame.code = byte(0) & 15u;
  frame.fin = (byte(0) & 0x80u) != 0;
  frame.masked = (byte(1) & 0x80u) != 0;
  std::uint64_t size = byte(1) & 0x7fu;
  if (size > 125) {
    frame.bytes += from.read(size == 126 ? 2 : 8);
    size = 0;
    for (std::size_t i = 2; i != frame.bytes.size(); ++i) size = size << 8 | byte(i);
  }
  std::string mask;
  if (frame.masked) frame.bytes += mask = from.read(4);
  frame.payload = from.read(size);
  frame.bytes += frame.payload;
  if (frame.masked)
    for (std::size_t i = 0; i != frame.payload.size(); ++i)
      frame.payload[i] = static_cast<char>(frame.payload[i] ^ mask[i % 4]);
  return frame;
}

inline std::uint16_t close_code(const received_frame& frame) {
  if (frame.code != close_frame || frame.payload.size() < 2) return 0;
  return static_cast<std::uint16_t>(static_cast<unsigned char>(frame.payload[0]) << 8 |
                                    static_cast<unsigned char>(frame.payload[1]));
}

/// A head, blank line included.
inline std::string read_head(peer& from) { return from.read_until("\r\n\r\n"); }

inline int status_of(std::string_view head) {
  return head.size() > 12 && head.starts_with("HTTP/1.1 ") ? std::stoi(std::string(head.substr(9, 3))) : 0;
}

/// The value of a field's first line; "(none)" if there is none.
inline std::string field_of(std::string_view head, std::string_view name) {
  auto lower = [](std::string_view s) {
    std::string out;
    for (const char c : s) out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return out;
  };
  const auto at = lower(head).find("\r\n" + lower(name) + ":");
  if (at == std::string::npos) return "(none)";
  const auto begin = head.find_first_not_of(" \t", at + 2 + name.size() + 1);
  return std::string(head.substr(begin, head.find("\r\n", begin) - begin));
}

struct message {
  std::string head;
  std::string body;
  int status() const { return status_of(head); }
  std::string field(std::string_view name) const { return field_of(head, name); }
};

/// A message whose body has a length, or none.
inline message read_message(peer& from) {
  message m{read_head(from), {}};
  if (const auto size = m.field("Content-Length"); size != "(none)") m.body = from.read(std::stoul(size));
  return m;
}

}  // namespace test
