// WebSocket frames (RFC 6455 section 5): where they begin and end, and the few a proxy writes itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <wsproxy/export.hpp>
#include <wsproxy/http/fields.hpp>

namespace wsproxy {

/// What a frame is (section 5.2).
enum class opcode : std::uint8_t {
  continuation = 0,  ///< goes on with a message
  text = 1,          ///< begins a message of UTF-8
  binary = 2,        ///< begins a message of bytes
  close = 8,         ///< control: the last frame of its direction
  ping = 9,          ///< control: wants a pong with the same payload
  pong = 10,         ///< control: answers a ping, or nothing
};

/// One frame's header (section 5.2).
struct frame_header {
  bool fin = false;                    ///< the last fragment of a message
  std::uint8_t rsv = 0;                ///< the three reserved bits, as 0x40, 0x20, 0x10
  opcode code = opcode::continuation;  ///< what it is
  bool masked = false;                 ///< the payload is masked: `mask` says with what
  std::uint64_t length = 0;            ///< of the payload, in bytes
  std::array<std::uint8_t, 4> mask{};  ///< where it is masked

  /// Close, ping or pong: at most 125 bytes of payload, and never a fragment (section 5.5).
  bool control() const noexcept { return (static_cast<unsigned>(code) & 8u) != 0; }
};

/// Who sends the frames: a client must mask them, a server must not (section 5.1).
enum class frame_sender : std::uint8_t {
  client,  ///< the side that asked for the WebSocket
  server,  ///< the side that granted it
};

/// The reserved bits that the extensions of an accepted handshake give a meaning:
/// RSV1 for permessage-deflate (RFC 7692), all three where another extension was agreed on.
WSPROXY_EXPORT std::uint8_t negotiated_rsv(const fields& switching_response) noexcept;

/// Follows the frames of one direction through its bytes, in whatever pieces they come. It reads
/// headers only; payload is counted, never touched. No allocation, no I/O.
class WSPROXY_EXPORT frame_tracker {
 public:
  /// Where the input was left.
  enum class event : std::uint8_t {
    none,     ///< the input is used up
    header,   ///< a header is complete: see header()
    end,      ///< the frame that header() describes is complete; it may come without a byte of input
    illegal,  ///< the bytes break section 5: see violation(); feed nothing more
  };
  /// What became of one piece of input.
  struct step {
    std::size_t consumed;  ///< bytes of it, from its beginning
    event what;            ///< what they led to
  };

  /// For what this sender sends. `rsv` are the reserved bits that may be set, as 0x40, 0x20, 0x10:
  /// negotiated_rsv().
  explicit frame_tracker(frame_sender sender, std::uint8_t rsv = 0) noexcept : sender_(sender), rsv_(rsv) {}

  /// Takes input up to the next event.
  step next(std::span<const char> input) noexcept {
    if (in_payload_) {
      const auto take = input.size() < left_ ? input.size() : static_cast<std::size_t>(left_);
      left_ -= take;
      if (left_ != 0) return {take, event::none};
      in_payload_ = false;
      return {take, event::end};
    }
    return next_header(input);
  }

  /// The last header completed.
  const frame_header& header() const noexcept { return header_; }
  /// Between two frames: here, and only here, another frame may be put in.
  bool at_boundary() const noexcept { return !in_payload_ && have_ == 0; }
  /// Inside a message: a fragment with FIN = 0 was the last data frame.
  bool in_message() const noexcept { return in_message_; }
  /// Payload bytes still to come of the frame begun.
  std::uint64_t payload_left() const noexcept { return in_payload_ ? left_ : 0; }
  /// What rule was broken, in words; empty if none was.
  std::string_view violation() const noexcept { return violation_; }

 private:
  step next_header(std::span<const char> input) noexcept;
  const char* check_start() const noexcept;
  bool parse_header() noexcept;

  frame_header header_;
  std::uint64_t left_ = 0;
  const char* violation_ = "";
  std::array<std::uint8_t, 14> raw_{};
  std::uint8_t have_ = 0;  // bytes of raw_ that are filled
  std::uint8_t need_ = 2;  // bytes the header has, as far as is known
  frame_sender sender_;
  std::uint8_t rsv_;
  bool in_payload_ = false;
  bool in_message_ = false;
};

/// A frame of the proxy's own: at most 125 bytes of payload.
struct control_frame {
  std::array<char, 131> bytes;  ///< header and payload, as they are sent
  std::size_t size = 0;         ///< how many of them there are
  /// Those that there are.
  std::span<const char> span() const noexcept { return {bytes.data(), size}; }
};

/// A control frame; `mask` is applied where the sender is a client.
/// Payload beyond 125 bytes is cut off.
WSPROXY_EXPORT control_frame make_control(opcode, std::string_view payload, frame_sender,
                                          std::uint32_t mask) noexcept;
/// The rule of sections 5.5.1 and 7.4 that a Close frame's payload (unmasked) breaks, in words; empty if
/// none: half a code, a code that must not be sent, or a reason that is not UTF-8.
WSPROXY_EXPORT std::string_view close_violation(std::string_view payload) noexcept;
/// A Close frame (section 5.5.1). Code 0: without a body. The reason is cut to 123 bytes, at a UTF-8
/// boundary.
WSPROXY_EXPORT control_frame make_close(std::uint16_t code, std::string_view reason, frame_sender,
                                        std::uint32_t mask) noexcept;

}  // namespace wsproxy
