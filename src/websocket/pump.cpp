#include <wsproxy/websocket/detail/pump.hpp>

#include <algorithm>
#include <cstring>

namespace wsproxy::detail {

namespace {
constexpr std::size_t payload_size = sizeof(std::uint64_t);  // of our pings

std::string_view part(const char* from, const char* to) noexcept {
  return {from, static_cast<std::size_t>(to - from)};
}

std::string_view unmask(const frame_header& header, std::string_view payload, std::span<char> into) noexcept {
  if (!header.masked) return payload;
  for (std::size_t i = 0; i != payload.size(); ++i)
    into[i] = static_cast<char>(payload[i] ^ header.mask[i % 4]);
  return {into.data(), payload.size()};
}
}  // namespace

// How far one input has come.
struct pump::cursor {
  const char* at;     // parsed up to here
  const char* pass;   // listed, held or dropped up to here
  const char* frame;  // where the present frame's part of this input begins
  const char* end;
};

// A header goes to the sink only when it is complete and judged, so that the sink is never left inside
// one; at most 13 bytes wait for that. A Close, and a pong that may be our echo, wait whole: until then a
// frame of ours can still go before them, and what must not pass has not begun to.
std::size_t pump::feed_frames(std::span<const char> in, const limits& bounds, slices& out) {
  cursor c{in.data(), in.data(), in.data(), in.data() + in.size()};
  for (bool more = true; more && out.room();) {
    if (!passing_ && wants_injection()) {
      pass_to(c.frame, c, out);
      inject(out);
    }
    const auto step = tracker_.next(part(c.at, c.end));
    c.at += step.consumed;
    switch (step.what) {
    case frame_tracker::event::none: more = false; break;
    case frame_tracker::event::header:
      on_header(bounds);
      if (passing_) release_held(out);
      if (fault_ != errc{} || tracker_.header().length != 0) break;
      tracker_.next({});  // Its end, now: the input may be used up, and nobody would ask again.
      [[fallthrough]];
    case frame_tracker::event::end: end_frame(c, out); break;
    case frame_tracker::event::illegal:
      tracked_ = false;  // where its frames end cannot be told any more
      violation_ = tracker_.violation();
      if (enforce_) fault_ = errc::bad_frame;
      break;
    }
    if (!tracked_) {
      give_up(c, out);
      return in.size();
    }
  }
  if (passing_ || c.at == c.frame) pass_to(c.at, c, out);
  else hold_frame(c, out);
  return in.size() - part(c.at, c.end).size();
}

void pump::pass_to(const char* to, cursor& c, slices& out) noexcept {
  if (!stopped_) out.borrow(part(c.pass, to));
  c.pass = to;
}

void pump::hold_frame(cursor& c, slices& out) {
  pass_to(c.frame, c, out);
  held_ += part(c.frame, c.at);
  c.pass = c.frame = c.at;
}

void pump::end_frame(cursor& c, slices& out) {
  if (whole_ && !held_.empty()) hold_frame(c, out);
  if (!whole_ || admit(held_.empty() ? part(c.frame, c.at) : held_)) {
    release_held(out);
    if (tracker_.header().code == opcode::pong) ++pongs_;
  } else {
    pass_to(c.frame, c, out);
    held_.clear();
    c.pass = c.at;
  }
  if (tracker_.header().fin && !tracker_.header().control()) ++messages_;
  whole_ = passing_ = false;
  c.frame = c.at;
}

// The frames are followed no longer: with a fault nothing more passes, else everything.
void pump::give_up(cursor& c, slices& out) {
  pass_to(c.frame, c, out);
  if (fault_ != errc{}) {
    held_.clear();
    return;
  }
  release_held(out);
  passing_ = true;
  pass_to(c.end, c, out);
}

void pump::on_header(const limits& bounds) noexcept {
  const auto& header = tracker_.header();
  ++frames_;
  if (header.code == opcode::ping) ++pings_;
  if (!header.control()) {
    if (header.code != opcode::continuation) message_size_ = 0;
    message_size_ += header.length;
    if (bounds.frame != 0 && header.length > bounds.frame) fault_ = errc::frame_too_large;
    else if (bounds.message != 0 && message_size_ > bounds.message) fault_ = errc::message_too_large;
    if (fault_ != errc{}) {
      tracked_ = false;
      return;
    }
  }
  const bool may_be_echo = header.code == opcode::pong && header.length == payload_size && expected_ != 0;
  whole_ = may_be_echo || header.code == opcode::close;
  passing_ = !whole_;
}

// Whether a frame that was held back goes on, now that all of it is known.
bool pump::admit(std::string_view whole) noexcept {
  const auto& header = tracker_.header();
  std::array<char, 125> space;
  const auto payload =
      unmask(header, whole.substr(whole.size() - static_cast<std::size_t>(header.length)), space);
  if (header.code == opcode::pong) {
    if (!is_our_echo(payload)) return true;
    --frames_;
    return false;
  }
  if (enforce_) violation_ = close_violation(payload);
  if (!violation_.empty()) {
    tracked_ = false;
    fault_ = errc::bad_frame;
    return false;
  }
  if (!std::exchange(close_seen_, true)) {
    const bool coded = payload.size() >= 2;
    close_code_ = coded ? static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                                     static_cast<unsigned char>(payload[1]))
                        : std::uint16_t{1005};
  }
  return true;
}

bool pump::is_our_echo(std::string_view payload) noexcept {
  std::uint64_t number;
  std::memcpy(&number, payload.data(), payload_size);
  const auto stop = expect_->begin() + expected_;
  const auto found = std::find(expect_->begin(), stop, number);
  if (found == stop) return false;
  pong_taken_ = found + 1 == stop;
  std::move(found + 1, stop, found);
  --expected_;
  return true;
}

void pump::release_held(slices& out) {
  if (held_.empty()) return;
  if (!stopped_) {
    out.copy(held_);
    passing_ = true;
  }
  held_.clear();
}

void pump::expect_pong(std::uint64_t payload) {
  if (!expect_) expect_ = std::make_unique<std::array<std::uint64_t, 4>>();
  if (expected_ == expect_->size()) {  // a peer that never answers: forget the oldest
    std::move(expect_->begin() + 1, expect_->end(), expect_->begin());
    --expected_;
  }
  (*expect_)[expected_++] = payload;
}

void pump::want_ping(std::uint64_t payload, std::uint32_t mask) noexcept {
  ping_payload_ = payload;
  ping_mask_ = mask;
  ping_wanted_ = true;
}

void pump::want_close(std::uint16_t code, std::string_view reason, std::uint32_t mask) {
  close_ = std::make_unique<control_frame>(make_close(code, reason, source_, mask));
  cancel_ping();
}

void pump::inject(slices& out) noexcept {
  if (std::exchange(ping_wanted_, false)) {
    std::array<char, payload_size> payload;
    std::memcpy(payload.data(), &ping_payload_, payload_size);
    out.copy(make_control(opcode::ping, {payload.data(), payload_size}, source_, ping_mask_).span());
    ping_sent_ = true;
  }
  if (const auto frame = std::move(close_)) {
    out.copy(frame->span());
    close_injected_ = true;
    stop();
  }
}

}  // namespace wsproxy::detail
