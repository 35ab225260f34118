#include <wsproxy/websocket/frame.hpp>

#include <algorithm>

namespace wsproxy {

namespace {

// RFC 3629: no overlong form, no surrogate, nothing beyond U+10FFFF.
bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i != text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    // Only the byte after the lead has a range of its own.
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    for (int left = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3; left != 0; --left, low = 0x80, high = 0xbf) {
      if (i == text.size()) return false;
      const auto byte = static_cast<unsigned char>(text[i++]);
      if (byte < low || byte > high) return false;
    }
  }
  return true;
}

}  // namespace

std::uint8_t negotiated_rsv(const fields& switching_response) noexcept {
  std::uint8_t bits = 0;
  for (const auto line : switching_response) {
    if (!iequals(line.name, "Sec-WebSocket-Extensions")) continue;
    for_each_element(line.value, [&](std::string_view extension) {
      const auto name = trim(extension.substr(0, extension.find(';')));
      bits = static_cast<std::uint8_t>(bits | (iequals(name, "permessage-deflate") ? 0x40u : 0x70u));
      return true;
    });
  }
  return bits;
}

frame_tracker::step frame_tracker::next_header(std::span<const char> input) noexcept {
  std::size_t used = 0;
  while (used != input.size()) {
    const auto take = std::min<std::size_t>(input.size() - used, need_ - have_);
    for (std::size_t i = 0; i != take; ++i) raw_[have_++] = static_cast<std::uint8_t>(input[used++]);
    if (have_ < need_) break;
    if (have_ == 2) {
      if (const char* broken = check_start(); broken != nullptr) {
        violation_ = broken;
        return {used, event::illegal};
      }
      const unsigned length = raw_[1] & 0x7fu;
      const unsigned more = length == 126 ? 2 : length == 127 ? 8 : 0;
      need_ = static_cast<std::uint8_t>(2 + more + ((raw_[1] & 0x80u) != 0 ? 4 : 0));
      if (have_ < need_) continue;
    }
    if (!parse_header()) return {used, event::illegal};
    have_ = 0;
    need_ = 2;
    in_payload_ = true;  // a frame without payload ends at the next call, with no byte consumed
    return {used, event::header};
  }
  return {used, event::none};
}

// The first two bytes already tell most of what can be wrong, before the length is known.
const char* frame_tracker::check_start() const noexcept {
  const unsigned code = raw_[0] & 0x0fu;
  const bool fin = (raw_[0] & 0x80u) != 0;
  const bool control = (code & 8u) != 0;
  if (code > 10 || (code > 2 && code < 8)) return "reserved opcode";
  if ((raw_[0] & 0x70u & ~static_cast<unsigned>(rsv_)) != 0)
    return "reserved bit without a negotiated extension";
  // permessage-deflate leaves control frames and continuations alone (RFC 7692 section 6).
  if (rsv_ == 0x40 && (raw_[0] & 0x40u) != 0 && (control || code == 0))
    return "compression bit where it has no meaning";
  if (control && !fin) return "fragmented control frame";
  if (control && (raw_[1] & 0x7fu) > 125) return "control frame of more than 125 bytes";
  if (!control && code == 0 && !in_message_) return "continuation without a beginning";
  if (!control && code != 0 && in_message_) return "new message inside a message";
  const bool masked = (raw_[1] & 0x80u) != 0;
  if (masked != (sender_ == frame_sender::client))
    return masked ? "masked frame from a server" : "unmasked frame from a client";
  return nullptr;
}

bool frame_tracker::parse_header() noexcept {
  header_.fin = (raw_[0] & 0x80u) != 0;
  header_.rsv = raw_[0] & 0x70u;
  header_.code = static_cast<opcode>(raw_[0] & 0x0fu);
  header_.masked = (raw_[1] & 0x80u) != 0;
  const unsigned length = raw_[1] & 0x7fu;
  std::size_t at = 2;
  header_.length = length;
  if (length >= 126) {
    const std::size_t bytes = length == 126 ? 2 : 8;
    header_.length = 0;
    for (std::size_t i = 0; i != bytes; ++i) header_.length = header_.length << 8 | raw_[at++];
    if (header_.length >> 63 != 0) violation_ = "length with its highest bit set";
    if (header_.length <= (length == 126 ? 125u : 65535u)) violation_ = "length not in its shortest form";
    if (*violation_ != '\0') return false;
  }
  if (header_.masked) std::copy_n(raw_.begin() + static_cast<std::ptrdiff_t>(at), 4, header_.mask.begin());
  left_ = header_.length;
  if (!header_.control()) in_message_ = !header_.fin;
  return true;
}

control_frame make_control(opcode code, std::string_view payload, frame_sender sender,
                           std::uint32_t mask) noexcept {
  control_frame frame;
  payload = payload.substr(0, 125);
  const bool masked = sender == frame_sender::client;
  auto put = [&](unsigned byte) { frame.bytes[frame.size++] = static_cast<char>(byte); };
  put(0x80u | static_cast<unsigned>(code));
  put(static_cast<unsigned>(payload.size()) | (masked ? 0x80u : 0u));
  if (!masked) mask = 0;  // which changes nothing
  for (unsigned shift = 0; masked && shift != 32; shift += 8) put(mask >> shift & 0xffu);
  for (std::size_t i = 0; i != payload.size(); ++i)
    put((static_cast<unsigned char>(payload[i]) ^ (mask >> (i % 4 * 8))) & 0xffu);
  return frame;
}

std::string_view close_violation(std::string_view payload) noexcept {
  if (payload.empty()) return {};
  if (payload.size() == 1) return "close code of one byte";
  const unsigned code =
      static_cast<unsigned char>(payload[0]) * 256u + static_cast<unsigned char>(payload[1]);
  const bool reserved = code >= 1004 && code <= 1006;
  const bool registered = code >= 1000 && code <= 1014 && !reserved;
  if (!registered && (code < 3000 || code > 4999)) return "close code that must not be sent";
  if (!is_utf8(payload.substr(2))) return "close reason that is not UTF-8";
  return {};
}

control_frame make_close(std::uint16_t code, std::string_view reason, frame_sender sender,
                         std::uint32_t mask) noexcept {
  if (code == 0) return make_control(opcode::close, {}, sender, mask);
  if (reason.size() > 123) {
    std::size_t cut = 123;
    while (cut != 0 && (static_cast<unsigned char>(reason[cut]) & 0xc0u) == 0x80u) --cut;
    reason = reason.substr(0, cut);
  }
  std::array<char, 125> payload;
  payload[0] = static_cast<char>(code >> 8);
  payload[1] = static_cast<char>(code & 0xff);
  std::copy(reason.begin(), reason.end(), payload.begin() + 2);
  return make_control(opcode::close, {payload.data(), reason.size() + 2}, sender, mask);
}

}  // namespace wsproxy
