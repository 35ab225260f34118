#include <wsproxy/websocket/detail/tunnel_machine.hpp>

#include <algorithm>
#include <array>

namespace wsproxy::detail {

namespace {
constexpr std::array both{side::downstream, side::upstream};

frames mode_of(const tunnel_policy& policy, bool is_websocket) noexcept {
  if (!is_websocket) return frames::off;
  // A heartbeat must know where frames end, even where they are not looked at otherwise.
  if (policy.frames == frames::off && policy.heartbeat.interval > duration::zero()) return frames::observe;
  return policy.frames;
}
}  // namespace

tunnel_machine::tunnel_machine(const tunnel_policy& policy, bool is_websocket, std::uint8_t rsv, std::uint64_t seed,
                               time_point now)
    : policy_(&policy),
      peers_{{.in = pump(frame_sender::client, mode_of(policy, is_websocket), rsv), .heard = now},
             {.in = pump(frame_sender::server, mode_of(policy, is_websocket), rsv), .heard = now}},
      random_(seed),
      is_websocket_(is_websocket) {
  const auto& t = policy.timeouts;
  if (t.max_lifetime > duration::zero()) {
    const double share = static_cast<double>(random() >> 11) * 0x1p-53 * 2 - 1;  // -1 … 1
    const auto spread = static_cast<double>(t.max_lifetime.count()) * t.max_lifetime_jitter * share;
    drain_at_ = now + t.max_lifetime + duration(static_cast<duration::rep>(spread));
  }
}

std::uint64_t tunnel_machine::random() noexcept {  // splitmix64
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

void tunnel_machine::on_eof(side from, slices& out, time_point now) {
  auto& p = at(from);
  auto& sink = other(from);
  const side to = opposite(from);
  p.in.release_held(out);
  p.ended = true;
  half_since_ = now;
  if (!closing_) begin_end(end_cause::closed, {}, from);
  if (p.bye == farewell::fin_sent) enter(from, farewell::over, now);
  else if (p.bye == farewell::close_due || p.bye == farewell::close_sent) enter(from, farewell::fin_due, now);
  if (sink.bye == farewell::none || sink.bye == farewell::close_due) {
    // A backend that goes without a Close would leave the client with 1006.
    const bool deserted = from == side::upstream && !closing_;
    if (p.in.may_inject() && p.in.sink_at_boundary() && (deserted || p.in.wants_injection())) {
      if (deserted) p.in.want_close(1014, "", static_cast<std::uint32_t>(random()));
      p.in.inject(out);
    }
    enter(to, farewell::fin_due, now);
  }
}

void tunnel_machine::on_broken(side which, std::error_code error, time_point now) {
  auto& p = at(which);
  if (p.bye == farewell::over) return;
  if (!closing_) begin_end(end_cause::reset, error, which);
  lost(which, which == side::upstream ? 1014 : 1001, now);
}

void tunnel_machine::on_write_error(side to, std::error_code error, time_point now) {
  auto& p = at(to);
  if (p.bye == farewell::over) return;
  if (!closing_) begin_end(end_cause::reset, error, to);
  p.mute = true;
  other(to).in.stop();
  if (p.ended) {
    on_broken(to, error, now);
  } else {
    enter(to, farewell::fin_sent, now);
  }
}

void tunnel_machine::on_fin_sent(side to, time_point now) noexcept {
  auto& p = at(to);
  if (p.bye != farewell::fin_due) return;
  other(to).in.stop();
  enter(to, p.ended ? farewell::over : farewell::fin_sent, now);
}

void tunnel_machine::drain(std::uint16_t code, std::string_view reason, time_point now) {
  if (closing_) return;
  begin_end(end_cause::drained, {}, side::local);
  closing_ = true;
  for (const side s : both) say_goodbye(s, code, reason, now);
}

// A Close frame if one can still be sent, else FIN.
void tunnel_machine::say_goodbye(side to, std::uint16_t code, std::string_view reason, time_point now) {
  auto& p = at(to);
  auto& feed = other(to).in;
  if (p.bye != farewell::none) return;
  if (code != 0 && is_websocket_ && feed.may_inject()) {
    feed.want_close(code, reason, static_cast<std::uint32_t>(random()));
    enter(to, farewell::close_due, now);
  } else {
    feed.stop();
    enter(to, farewell::fin_due, now);
  }
}

void tunnel_machine::take_output(side to, slices& out, time_point now) {
  other(to).in.inject(out);
  injected(to, now);
}

// Frames of ours may have been put in on the way to that side.
void tunnel_machine::injected(side to, time_point now) noexcept {
  auto& p = at(to);
  const auto& feed = other(to).in;
  if (p.ping_due && !feed.wants_ping()) {
    p.ping_due = false;
    p.awaiting_pong = true;
    p.pinged = now;
    moved_ = true;
  }
  if (p.bye == farewell::close_due && feed.close_injected()) {
    const bool answered = p.ended || p.in.close_seen() || p.in.fault();
    enter(to, answered ? farewell::fin_due : farewell::close_sent, now);
  }
}

// What the frames of a read changed: an echo of ours, a Close, a fault, an injection at a boundary.
void tunnel_machine::after_frames(side from, time_point now) {
  auto& p = at(from);
  if (p.in.take_pong()) p.round_trip = std::chrono::duration_cast<duration>(now - p.pinged);
  injected(opposite(from), now);
  if (p.in.close_seen()) {
    if (!closing_) begin_end(end_cause::closed, {}, from);
    if (p.bye == farewell::close_sent) enter(from, farewell::fin_due, now);
    else if (p.bye == farewell::fin_sent) moved_ = true;  // now it lingers
  }
  if (p.in.fault() && !closing_) {
    const bool illegal = p.in.fault() == errc::bad_frame;
    begin_end(end_cause::limit, p.in.fault(), from);
    closing_ = true;
    say_goodbye(from, illegal ? 1002 : 1009, "", now);
    say_goodbye(opposite(from), illegal ? 1002 : 1001, "", now);
  }
}

void tunnel_machine::enter(side s, farewell next, time_point now) noexcept {
  auto& p = at(s);
  p.bye = next;
  p.since = now;
  moved_ = true;
  if (next >= farewell::fin_sent) p.stalled = time_point::max();
}

// The first cause is the one that is told.
void tunnel_machine::begin_end(end_cause cause, std::error_code error, side who) noexcept {
  if (end_.cause == end_cause::none) end_ = {error, cause, who};
}

void tunnel_machine::finish(end_cause cause, std::error_code error, side who) noexcept {
  if (finished()) return;
  begin_end(cause, error, who);
  closing_ = true;
  for (auto& p : peers_) {
    p.bye = farewell::over;
    p.ended = true;
  }
}

bool tunnel_machine::pinged_side(side s) const noexcept {
  const auto& beat = policy_->heartbeat;
  const auto& p = at(s);
  return beat.interval > duration::zero() && (s == side::upstream ? beat.upstream : beat.downstream) &&
         p.bye == farewell::none && !p.ended && other(s).in.may_inject();
}

// The timers of one side, each as visit(armed since, length, the error that it is).
template <class Visit> void tunnel_machine::each_side_timer(side s, Visit visit) const {
  const auto& t = policy_->timeouts;
  const auto& p = at(s);
  if (p.stalled != time_point::max()) visit(p.stalled, t.send_stall, errc::send_stall_timeout);
  switch (p.bye) {
    case farewell::none:
      if (!pinged_side(s)) break;
      if (p.awaiting_pong) visit(p.pinged, policy_->heartbeat.timeout, errc::heartbeat_timeout);
      else if (!p.ping_due) visit(std::max(p.heard, p.pinged), policy_->heartbeat.interval, errc{});
      break;
    case farewell::close_due: visit(p.since, t.boundary_wait, errc{}); break;
    case farewell::close_sent: visit(p.since, t.close_wait, errc{}); break;
    case farewell::fin_sent:
      if (closing_ || p.mute || (p.in.close_seen() && other(s).in.close_seen())) visit(p.since, t.linger, errc{});
      break;
    case farewell::fin_due:
    case farewell::over: break;
  }
}

time_point tunnel_machine::deadline() const noexcept {
  time_point first = time_point::max();
  auto visit = [&](time_point since, duration length, errc) {
    if (length > duration::zero()) first = std::min(first, since + length);
  };
  for (const side s : both) each_side_timer(s, visit);
  if (!closing_) {
    first = std::min(first, drain_at_);
    const auto heard = std::max(peers_[0].heard, peers_[1].heard);
    if (half_closed()) visit(std::max(heard, half_since_), policy_->timeouts.half_close, errc::half_close_timeout);
    else visit(heard, policy_->timeouts.idle, errc::idle_timeout);
  }
  return first;
}

void tunnel_machine::on_tick(time_point now) {
  if (finished()) return;
  moved_ = true;
  auto due = [&](time_point since, duration length) { return length > duration::zero() && now >= since + length; };
  if (!closing_) {
    const auto heard = std::max(peers_[0].heard, peers_[1].heard);
    if (half_closed() && due(std::max(heard, half_since_), policy_->timeouts.half_close))
      return finish(end_cause::timeout, errc::half_close_timeout, side::local);
    if (!half_closed() && due(heard, policy_->timeouts.idle))
      return finish(end_cause::timeout, errc::idle_timeout, side::local);
    if (now >= drain_at_) {
      drain(1001, "", now);
      if (end_.cause == end_cause::drained) end_.error = errc::lifetime_reached;
    }
  }
  for (const side s : both) {
    bool fired = false;
    errc error{};
    each_side_timer(s, [&](time_point since, duration length, errc what) {
      if (!due(since, length)) return;
      fired = true;
      if (what != errc{}) error = what;
    });
    if (fired) timer_fired(s, error, now);
  }
}

void tunnel_machine::timer_fired(side s, errc error, time_point now) {
  auto& p = at(s);
  if (error == errc::send_stall_timeout) return finish(end_cause::timeout, error, s);
  switch (p.bye) {
    case farewell::none:
      if (error == errc::heartbeat_timeout) {
        begin_end(end_cause::timeout, error, s);
        return lost(s, 1001, now);
      }
      p.ping_due = true;
      p.in.expect_pong(random_);
      other(s).in.want_ping(random_, static_cast<std::uint32_t>(random()));
      break;
    case farewell::close_due:
      other(s).in.stop();
      enter(s, farewell::fin_due, now);
      break;
    case farewell::close_sent: enter(s, farewell::fin_due, now); break;
    case farewell::fin_sent: lost(s, 1001, now); break;
    case farewell::fin_due:
    case farewell::over: break;
  }
}

// That side is gone; the other one is told, if nobody has.
void tunnel_machine::lost(side which, std::uint16_t code, time_point now) {
  at(which).ended = true;
  enter(which, farewell::over, now);
  say_goodbye(opposite(which), code, "", now);
  closing_ = true;
}

}  // namespace wsproxy::detail
