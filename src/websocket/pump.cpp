#include <wsproxy/websocket/detail/pump.hpp>

#include <algorithm>
#include <cstring>

namespace wsproxy::detail {

namespace {
constexpr std::size_t payload_size = sizeof(std::uint64_t);  // of our pings
}

// A header goes to the sink only when it is complete and judged, so that the sink is never left inside
// one; at most 13 bytes wait for that. A pong that may be our echo waits whole, 22 bytes at most.
std::size_t pump::feed_frames(std::span<const char> in, const limits& bounds, slices& out) {
  const char* const begin = in.data();
  const char* const end = begin + in.size();
  const char* at = begin;     // parsed up to here
  const char* pass = begin;   // listed, held or dropped up to here
  const char* frame = begin;  // where the present frame's part of this input begins
  auto flush = [&](const char* to) {
    if (!stopped_) out.borrow({pass, static_cast<std::size_t>(to - pass)});
    pass = to;
  };
  auto hold_frame = [&] {
    flush(frame);
    hold(frame, static_cast<std::size_t>(at - frame));
    pass = frame = at;
  };
  for (bool more = true; more && out.room();) {
    if (!passing_ && wants_injection()) {
      flush(frame);
      inject(out);
    }
    const auto step = tracker_.next({at, static_cast<std::size_t>(end - at)});
    if (source_close_ == source_close::begun) note_close_payload(at, step.consumed);
    at += step.consumed;
    switch (step.what) {
      case frame_tracker::event::none:
        more = false;
        break;
      case frame_tracker::event::header:
        on_header(bounds);
        if (passing_) release_held(out);
        break;
      case frame_tracker::event::end:
        if (candidate_) hold_frame();
        on_end(out);
        frame = at;
        break;
      case frame_tracker::event::illegal:
        tracked_ = false;  // where its frames end cannot be told any more
        if (enforce_) fault_ = errc::bad_frame;
        else cancel_injection();
        break;
    }
    if (fault_) {
      flush(frame);
      held_size_ = 0;
      return in.size();
    }
    if (!tracked_) {
      flush(frame);
      release_held(out);
      at = end;
      flush(end);
      return in.size();
    }
  }
  if (passing_) flush(at);
  else hold_frame();
  return static_cast<std::size_t>(at - begin);
}

void pump::on_header(const limits& bounds) noexcept {
  const auto& header = tracker_.header();
  ++frames_;
  if (!header.control()) {
    if (header.code != opcode::continuation) message_size_ = 0;
    message_size_ += header.length;
    if (bounds.frame != 0 && header.length > bounds.frame) fault_ = errc::frame_too_large;
    if (bounds.message != 0 && message_size_ > bounds.message) fault_ = errc::message_too_large;
    if (fault_) return;
  }
  candidate_ = header.code == opcode::pong && header.length == payload_size && expected_ != 0;
  passing_ = !candidate_;
  if (header.code == opcode::close && source_close_ == source_close::none) {
    source_close_ = source_close::begun;
    close_code_ = 1005;
    cancel_injection();  // nothing of ours may follow a Close
  }
}

void pump::on_end(slices& out) noexcept {
  const auto& header = tracker_.header();
  if (candidate_) {
    if (is_our_echo()) {
      pong_taken_ = true;
      held_size_ = 0;
      --frames_;
    }
    release_held(out);
  }
  candidate_ = passing_ = false;
  if (header.code == opcode::close) source_close_ = source_close::seen;
  if (!header.control() && header.fin) ++messages_;
}

void pump::hold(const char* data, std::size_t size) noexcept {
  size = std::min(size, held_.size() - held_size_);
  if (size != 0) std::memcpy(held_.data() + held_size_, data, size);
  held_size_ = static_cast<std::uint8_t>(held_size_ + size);
}

void pump::release_held(slices& out) noexcept {
  if (!stopped_ && held_size_ != 0) out.copy({held_.data(), held_size_});
  held_size_ = 0;
}

void pump::note_close_payload(const char* data, std::size_t size) noexcept {
  const auto& header = tracker_.header();
  for (std::size_t i = 0; i != size && close_payload_ != 2; ++i) {
    const unsigned byte = static_cast<unsigned char>(data[i]) ^ (header.masked ? header.mask[close_payload_] : 0u);
    close_code_ = static_cast<std::uint16_t>(close_payload_ == 0 ? byte << 8 : (close_code_ & 0xff00u) | byte);
    ++close_payload_;
  }
}

bool pump::is_our_echo() noexcept {
  const auto& header = tracker_.header();
  std::array<char, payload_size> bytes;
  std::memcpy(bytes.data(), held_.data() + held_size_ - payload_size, payload_size);
  if (header.masked)
    for (std::size_t i = 0; i != payload_size; ++i) bytes[i] = static_cast<char>(bytes[i] ^ header.mask[i % 4]);
  std::uint64_t payload;
  std::memcpy(&payload, bytes.data(), payload_size);
  const auto stop = expect_.begin() + expected_;
  const auto found = std::find(expect_.begin(), stop, payload);
  if (found == stop) return false;
  std::move(found + 1, stop, found);
  --expected_;
  return true;
}

void pump::expect_pong(std::uint64_t payload) noexcept {
  if (expected_ == expect_.size()) {  // a peer that never answers: forget the oldest
    std::move(expect_.begin() + 1, expect_.end(), expect_.begin());
    --expected_;
  }
  expect_[expected_++] = payload;
}

void pump::want_ping(std::uint64_t payload, std::uint32_t mask) noexcept {
  ping_payload_ = payload;
  ping_mask_ = mask;
  ping_wanted_ = true;
}

void pump::want_close(std::uint16_t code, std::string_view reason, std::uint32_t mask) {
  close_ = std::make_unique<control_frame>(make_close(code, reason, source_, mask));
}

void pump::inject(slices& out) noexcept {
  if (std::exchange(ping_wanted_, false)) {
    std::array<char, payload_size> payload;
    std::memcpy(payload.data(), &ping_payload_, payload_size);
    out.copy(make_control(opcode::ping, {payload.data(), payload_size}, source_, ping_mask_).span());
  }
  if (const auto frame = std::move(close_)) {
    out.copy(frame->span());
    close_injected_ = true;
    stop();
  }
}

}  // namespace wsproxy::detail
