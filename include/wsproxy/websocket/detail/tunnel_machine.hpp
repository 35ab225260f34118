// The tunnel as a machine: two pumps, their timers, and how it ends. Events in, wishes out;
// no I/O, no clock. Whoever performs the wishes holds no `if` about the protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <wsproxy/error.hpp>
#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/websocket/detail/pump.hpp>

namespace wsproxy::detail {

constexpr side opposite(side s) noexcept { return s == side::downstream ? side::upstream : side::downstream; }

/// How a tunnel ended: once, for good.
struct tunnel_end {
  std::error_code error{};
  end_cause cause = end_cause::none;
  side who = side::none;
  bool cut = false;  // it was aborted, at first or while it was ending
};

class WSPROXY_EXPORT tunnel_machine {
 public:
  /// `policy` must outlive the machine. `rsv`: see negotiated_rsv. `seed` feeds masks, ping payloads and
  /// jitter. `is_websocket` false: the bytes are opaque.
  tunnel_machine(const tunnel_policy& policy, bool is_websocket, std::uint8_t rsv, std::uint64_t seed,
                 time_point now);

  // Events.
  /// Bytes of that side, one at least. Returns how many were taken; fewer only when `out`, bound for the
  /// other side, is full.
  std::size_t on_read(side from, std::span<const char> in, slices& out, time_point now) {
    auto& p = at(from);
    p.heard = now;
    if (p.beat != pulse::none) silence_broken(from);
    const bool tracked = p.in.tracked();
    const auto taken = p.in.feed(in, policy_->limits, out);
    // Most frames change nothing, and nobody takes leave.
    if (tracked && (p.in.has_news() || peers_[0].bye != farewell::none || peers_[1].bye != farewell::none))
      after_frames(from, now);
    return taken;
  }
  /// That side sent FIN. `out` is bound for the other side.
  void on_eof(side from, slices& out, time_point now);
  /// That side's connection broke, on reading.
  void on_broken(side which, std::error_code error, time_point now);
  /// Nothing can be written to that side any more; what it still sends is read.
  void on_write_error(side to, std::error_code error, time_point now);
  /// So many bytes written to that side wait (told after each progress too), or all was taken (0).
  void on_backlog(side to, std::size_t waiting, time_point now) noexcept {
    auto& p = at(to);
    if (p.bye >= farewell::fin_sent) return;
    if ((p.parked == 0) != (waiting == 0)) {
      p.parked_since = waiting != 0 ? now : time_point();
      p.slow = verdict::none;
    }
    p.parked = waiting;
    p.stalled = waiting != 0 ? now : time_point::max();
    moved_ |= waiting != 0;
  }
  void on_fin_sent(side to, time_point now) noexcept;
  void on_tick(time_point now);
  /// Close frames to both, then the end; code 0: FIN only. A second one changes nothing.
  void close(end_cause cause, std::uint16_t code, std::string_view reason, time_point now);
  void drain(std::uint16_t code, std::string_view reason, time_point now) {
    close(end_cause::drained, code, reason, now);
  }
  /// The same at a moment drawn between the two, and the end at `deadline`. What was planned for earlier
  /// stands.
  void plan_drain(std::uint16_t code, std::string_view reason, time_point earliest, time_point latest,
                  time_point deadline, time_point now);
  /// The end, at once.
  void abort(std::error_code error) noexcept {
    finish(end_cause::aborted, error, side::local);
    end_.cut = true;
  }

  // Wishes.
  bool wants_read(side from) const noexcept { return !at(from).ended; }
  /// Control frames of ours for that side that can go now.
  bool has_output(side to) const noexcept {
    const auto& feed = at(opposite(to)).in;
    return feed.wants_injection() && feed.sink_at_boundary();
  }
  void take_output(side to, slices& out, time_point now);
  /// FIN is due once everything listed has been written.
  bool wants_fin(side to) const noexcept { return at(to).bye == farewell::fin_due; }
  /// That side is to be closed now, whatever is unwritten.
  bool wants_close(side s) const noexcept { return at(s).bye == farewell::over; }
  bool finished() const noexcept { return wants_close(side::downstream) && wants_close(side::upstream); }
  /// When on_tick is due; time_point::max() for never.
  time_point deadline() const noexcept;
  /// True once after anything that may have moved the deadline earlier. Ordinary traffic only moves it
  /// later: then the timer may fire early, and is set anew.
  bool take_deadline_moved() noexcept { return std::exchange(moved_, false); }
  /// True once after that side was found slow.
  bool take_slow(side which) noexcept {
    if (at(which).slow != verdict::found) return false;
    at(which).slow = verdict::told;
    return true;
  }

  const tunnel_end& end() const noexcept { return end_; }
  // What these return, and the numbers of a pump, may be read from any thread.
  const pump& from(side s) const noexcept { return at(s).in; }
  time_point heard(side s) const noexcept { return at(s).heard; }
  /// Bytes that were written to that side and wait, and since when some do.
  std::size_t parked(side to) const noexcept { return at(to).parked; }
  time_point parked_since(side to) const noexcept { return at(to).parked_since; }
  /// The last measured time between our ping to that side and its pong; zero if none was.
  duration round_trip(side s) const noexcept { return at(s).round_trip; }

 private:
  /// What is still owed to a side. It only goes forward.
  enum class farewell : std::uint8_t {
    none,        // it is alive
    close_due,   // a Close, ours or the other side's, waits for a frame boundary
    close_sent,  // we wait for its Close
    fin_due,     // FIN once everything is written; nothing more is listed
    fin_sent,    // we read on, until its FIN
    over,        // closed
  };
  /// A ping of ours to a side.
  enum class pulse : std::uint8_t { none, due, sent };
  /// Whether the present backlog of a side was found to wait for too long.
  enum class verdict : std::uint8_t { none, found, told };
  struct peer {
    pump in;  // what it sends
    relaxed<time_point> heard;
    time_point pinged{};  // when the last ping became due, then when it was sent
    time_point stalled = time_point::max();
    relaxed<time_point> parked_since{};
    relaxed<std::size_t> parked{};  // bytes it has not taken
    time_point since{};             // when `bye` was entered; for fin_sent, when it began to linger
    relaxed<duration> round_trip{};
    farewell bye = farewell::none;
    pulse beat = pulse::none;
    verdict slow = verdict::none;
    bool ended = false;   // it sent FIN, its connection broke, or it is closed
    bool mute = false;    // it takes nothing any more
    bool closed = false;  // its Close was seen
  };

  struct drain_plan {
    std::uint16_t code;
    std::string reason;
  };

  peer& at(side s) noexcept { return peers_[s == side::upstream]; }
  const peer& at(side s) const noexcept { return peers_[s == side::upstream]; }
  peer& other(side s) noexcept { return peers_[s != side::upstream]; }
  const peer& other(side s) const noexcept { return peers_[s != side::upstream]; }
  bool is_pinged(side s) const noexcept;
  bool closes_exchanged(side s) const noexcept;
  bool awaits_end(side s) const noexcept;
  bool lingers(side s) const noexcept;
  static bool is_half_closed(const peer&) noexcept;
  void silence_broken(side from) noexcept;
  void after_frames(side from, time_point now);
  void after_injection(side to, time_point now);
  void say_goodbye(side to, std::uint16_t code, std::string_view reason, time_point now);
  void break_off(time_point now) noexcept;
  void advance(side s, time_point now) noexcept;
  void enter(side s, farewell, time_point now) noexcept;
  void begin_end(end_cause, std::error_code, side who) noexcept;
  void finish(end_cause, std::error_code, side who) noexcept;
  void carry_out_plan(time_point now);
  void lost(side which, std::uint16_t code, time_point now);
  bool fire(side s, time_point now);
  void too_slow(side which, time_point now);
  template <class Visit> void tunnel_timer(Visit visit) const;
  template <class Visit> void each_side_timer(side s, Visit visit) const;
  std::uint64_t random() noexcept;

  const tunnel_policy* policy_;
  peer peers_[2];
  time_point half_since_{};
  time_point drain_at_ = time_point::max();
  time_point end_at_ = time_point::max();
  std::unique_ptr<drain_plan> plan_;  // null: what is planned is max_lifetime
  tunnel_end end_{};
  std::uint64_t random_;
  bool closing_ = false;  // we are ending it: both sides have their farewell
  bool moved_ = true;
};

}  // namespace wsproxy::detail
