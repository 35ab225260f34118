// One direction of a tunnel: bytes in, the same bytes out, and at frame boundaries, if wanted,
// a ping or a Close of ours. A machine without I/O; payload is never copied.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/http/detail/slices.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/websocket/detail/relaxed.hpp>
#include <wsproxy/websocket/frame.hpp>

namespace wsproxy::detail {

class WSPROXY_EXPORT pump {
 public:
  pump(frame_sender source, frames mode, std::uint8_t rsv) noexcept
      : tracker_(source, rsv),
        source_(source),
        tracked_(mode != frames::off),
        enforce_(mode == frames::enforce) {}

  /// Takes bytes from the source and lists what goes to the sink. Returns how many were taken:
  /// fewer than given only when `out` is full; call again then.
  std::size_t feed(std::span<const char> in, const limits& bounds, slices& out) {
    const auto taken = tracked_           ? feed_frames(in, bounds, out)
                       : fault_ != errc{} ? in.size()
                                          : pass_all(in, out);
    bytes_ += taken;
    return taken;
  }

  /// The source ended: bytes held back for a decision go out as they are.
  void release_held(slices& out);

  /// A frame can be put in here now, or could once the source completes its frame.
  bool may_inject() const noexcept { return (tracked_ || fault_ != errc{}) && !close_seen_ && !stopped_; }
  /// Nothing of an unfinished frame has gone to the sink.
  bool sink_at_boundary() const noexcept { return !passing_; }
  void want_ping(std::uint64_t payload, std::uint32_t mask) noexcept;
  /// Takes the place of a ping that is still wanted.
  void want_close(std::uint16_t code, std::string_view reason, std::uint32_t mask);
  bool wants_close() const noexcept { return close_ != nullptr; }
  bool wants_injection() const noexcept { return ping_wanted_ || close_ != nullptr; }
  /// Puts in what is wanted. Only at a boundary.
  void inject(slices& out) noexcept;
  void cancel_ping() noexcept { ping_wanted_ = false; }
  /// Nothing more goes to the sink; the frames are still followed.
  void stop() noexcept {
    stopped_ = true;
    ping_wanted_ = false;
    close_.reset();
  }
  /// True once after a ping was put in.
  bool take_ping_sent() noexcept { return std::exchange(ping_sent_, false); }
  std::uint64_t ping_payload() const noexcept { return ping_payload_; }

  /// The source was pinged with this payload: its first echo is ours and is dropped.
  void expect_pong(std::uint64_t payload);
  /// True once after an echo of the last payload expected was dropped.
  bool take_pong() noexcept { return std::exchange(pong_taken_, false); }

  /// Something has come up that a tunnel must look at: a ping put in, an echo, a Close, a fault.
  bool has_news() const noexcept { return ping_sent_ || pong_taken_ || close_seen_ || fault_ != errc{}; }

  /// The source's frames are followed: not opaque, and no fault.
  bool tracked() const noexcept { return tracked_; }
  bool close_seen() const noexcept { return close_seen_; }  ///< the source's own, whole
  bool close_injected() const noexcept { return close_injected_; }
  /// How many pings the source has begun, and how many pongs it has ended, but for echoes of our pings; of
  /// these numbers the lowest bits are kept.
  std::uint16_t pings() const noexcept { return pings_; }
  std::uint16_t pongs() const noexcept { return pongs_; }
  /// It may yet echo a ping of ours.
  bool owes_echo() const noexcept { return expected_ != 0; }
  /// Of the source's Close; 1005 for none in it.
  std::uint16_t close_code() const noexcept { return close_code_; }
  /// Why the source's bytes are no longer passed on: an illegal frame (when enforcing) or a limit.
  /// The frame was held back with its header, so the sink stands at a boundary.
  std::error_code fault() const noexcept {
    return fault_ == errc{} ? std::error_code() : make_error_code(fault_);
  }
  /// The rule broken, also when only observing.
  std::string_view violation() const noexcept { return violation_; }

  // These may be read from any thread.
  std::uint64_t bytes() const noexcept { return bytes_; }
  std::uint64_t frames_seen() const noexcept { return frames_; }  ///< without echoes of our pings
  std::uint64_t messages() const noexcept { return messages_; }

 private:
  std::size_t pass_all(std::span<const char> in, slices& out) const noexcept {
    if (stopped_) return in.size();
    if (!out.room()) return 0;
    out.borrow(in);
    return in.size();
  }
  struct cursor;
  std::size_t feed_frames(std::span<const char> in, const limits& bounds, slices& out);
  void pass_to(const char* to, cursor&, slices& out) noexcept;
  void hold_frame(cursor&, slices& out);
  void end_frame(cursor&, slices& out);
  void give_up(cursor&, slices& out);
  void on_header(const limits& bounds) noexcept;
  bool admit(std::string_view whole) noexcept;
  bool is_our_echo(std::string_view payload) noexcept;

  frame_tracker tracker_;
  relaxed<std::uint64_t> bytes_ = 0;
  relaxed<std::uint64_t> frames_ = 0;
  relaxed<std::uint64_t> messages_ = 0;
  std::uint64_t message_size_ = 0;
  errc fault_{};
  std::string_view violation_{};
  std::unique_ptr<control_frame> close_;
  std::string held_;  // a header not yet complete, or a frame that is judged whole
  std::uint64_t ping_payload_ = 0;
  std::uint32_t ping_mask_ = 0;
  std::uint16_t close_code_ = 0;
  std::uint16_t pings_ = 0;
  std::uint16_t pongs_ = 0;
  frame_sender source_;
  bool tracked_;
  bool enforce_;
  bool stopped_ = false;
  bool passing_ = false;  // the sink has a part of the present frame
  bool whole_ = false;  // the present frame is judged whole: a Close, or a pong that may echo a ping of ours
  bool ping_wanted_ = false;
  bool ping_sent_ = false;
  bool pong_taken_ = false;
  bool close_seen_ = false;
  bool close_injected_ = false;
  std::uint8_t expected_ = 0;  // how many of expect_ are waited for, the latest last
  std::unique_ptr<std::array<std::uint64_t, 4>> expect_;  // once it was pinged
};

}  // namespace wsproxy::detail
