#include <wsproxy/websocket/detail/tunnel_machine.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace wsproxy::detail {

namespace {
constexpr std::array both{side::downstream, side::upstream};

frames mode_of(const tunnel_policy& policy, bool is_websocket) noexcept {
  if (!is_websocket) return frames::off;
  // A heartbeat must know where frames end, and so must a limit, even where they are not looked at otherwise.
  const bool needed =
      policy.heartbeat.interval > duration::zero() || policy.limits.frame != 0 || policy.limits.message != 0;
  return policy.frames == frames::off && needed ? frames::observe : policy.frames;
}
}  // namespace

tunnel_machine::tunnel_machine(const tunnel_policy& policy, bool is_websocket, std::uint8_t rsv,
                               std::uint64_t seed, time_point now)
    : policy_(&policy),
      peers_{{.in = pump(frame_sender::client, mode_of(policy, is_websocket), rsv), .heard = now},
             {.in = pump(frame_sender::server, mode_of(policy, is_websocket), rsv), .heard = now}},
      random_(seed) {
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

// ---- Events

void tunnel_machine::on_eof(side from, slices& out, time_point now) {
  auto& p = at(from);
  if (p.ended) return;
  // A write failed before, and now it has nothing more to say: it is gone.
  if (p.mute) return lost(from, from == side::upstream ? 1014 : 1001, now);
  auto& sink = other(from);
  p.ended = true;
  half_since_ = now;
  moved_ = true;
  // A backend that goes without a Close would leave the client with 1006.
  const bool deserted =
      from == side::upstream && !sink.ended && sink.bye == farewell::none && p.in.may_inject();
  begin_end(end_cause::closed, {}, from);
  if (deserted) p.in.want_close(1014, "", static_cast<std::uint32_t>(random()));
  if (p.in.wants_close() && p.in.sink_at_boundary()) p.in.inject(out);
  p.in.release_held(out);
  if (sink.bye == farewell::none) enter(opposite(from), farewell::fin_due, now);
  if (p.bye == farewell::fin_sent) enter(from, farewell::over, now);
  for (const side s : both) advance(s, now);
}

void tunnel_machine::on_broken(side which, std::error_code error, time_point now) {
  if (at(which).bye == farewell::over) return;
  begin_end(end_cause::reset, error, which);
  lost(which, which == side::upstream ? 1014 : 1001, now);
}

void tunnel_machine::on_write_error(side to, std::error_code error, time_point now) {
  auto& p = at(to);
  if (p.bye == farewell::over) return;
  if (p.ended) return on_broken(to, error, now);
  begin_end(end_cause::reset, error, to);
  p.mute = true;
  enter(to, farewell::fin_sent, now);
}

void tunnel_machine::on_fin_sent(side to, time_point now) noexcept {
  if (at(to).bye != farewell::fin_due) return;
  enter(to, farewell::fin_sent, now);
  advance(to, now);
}

void tunnel_machine::close(end_cause cause, std::uint16_t code, std::string_view reason, time_point now) {
  if (closing_) return;
  begin_end(cause, {}, side::local);
  for (const side s : both) say_goodbye(s, code, reason, now);
  break_off(now);
}

void tunnel_machine::plan_drain(std::uint16_t code, std::string_view reason, time_point earliest,
                                time_point latest, time_point deadline, time_point now) {
  end_at_ = std::min(end_at_, deadline);
  moved_ = true;
  if (closing_) return;
  const auto chance = static_cast<double>(random() >> 11) * 0x1p-53;
  const auto width = std::chrono::duration<double, time_point::period>(latest - earliest) * chance;
  const auto at = earliest + std::chrono::duration_cast<time_point::duration>(width);
  if (at < drain_at_) {
    drain_at_ = at;
    plan_ = std::make_unique<drain_plan>(drain_plan{code, std::string(reason)});
  }
  if (drain_at_ <= now) carry_out_plan(now);
}

void tunnel_machine::carry_out_plan(time_point now) {
  drain_at_ = time_point::max();
  if (const auto plan = std::move(plan_)) return drain(plan->code, plan->reason, now);
  begin_end(end_cause::drained, errc::lifetime_reached, side::local);
  drain(1001, "", now);
}

void tunnel_machine::take_output(side to, slices& out, time_point now) {
  if (!has_output(to)) return;
  other(to).in.inject(out);
  after_injection(to, now);
}

// A ping that has not gone yet is not needed any more.
void tunnel_machine::silence_broken(side from) noexcept {
  at(from).beat = pulse::none;
  other(from).in.cancel_ping();
  moved_ = true;
}

// What the frames of a read changed: an echo of ours, an injection at a boundary, a Close, a fault.
void tunnel_machine::after_frames(side from, time_point now) {
  auto& p = at(from);
  if (p.in.take_pong()) p.round_trip = std::chrono::duration_cast<duration>(now - p.pinged);
  after_injection(opposite(from), now);
  if (p.in.close_seen() && !std::exchange(p.closed, true)) {
    begin_end(end_cause::closed, {}, from);
    moved_ = true;
    for (auto& lingering : peers_)
      if (lingering.bye == farewell::fin_sent) lingering.since = now;
  }
  if (p.in.fault()) {
    const bool illegal = p.in.fault() == errc::bad_frame;
    begin_end(end_cause::limit, p.in.fault(), from);
    say_goodbye(from, illegal ? 1002 : 1009, "", now);
    say_goodbye(opposite(from), illegal ? 1002 : 1001, "", now);
    break_off(now);
  }
  // Close frames of their own were exchanged: who accepted a connection ends it.
  if (awaits_end(side::downstream) && at(side::downstream).bye == farewell::none) {
    enter(side::downstream, farewell::fin_due, now);
    if (at(side::upstream).bye == farewell::none) enter(side::upstream, farewell::close_sent, now);
  }
  for (const side s : both) advance(s, now);
}

// Frames of ours may have been put in on the way to that side.
void tunnel_machine::after_injection(side to, time_point now) {
  auto& feed = other(to).in;
  if (feed.take_ping_sent()) {
    auto& p = at(to);
    p.in.expect_pong(feed.ping_payload());
    p.beat = pulse::sent;
    p.pinged = now;
    moved_ = true;
  }
  advance(to, now);
}

// ---- The end

// A Close frame if one can still be sent, or if the other side's has gone; else FIN.
void tunnel_machine::say_goodbye(side to, std::uint16_t code, std::string_view reason, time_point now) {
  auto& p = at(to);
  auto& feed = other(to).in;
  moved_ = true;
  if (p.bye == farewell::fin_sent && !lingers(to)) p.since = now;  // until now it was half-closed
  if (p.bye != farewell::none) return advance(to, now);
  if (code == 0) return enter(to, farewell::fin_due, now);
  if (feed.may_inject()) feed.want_close(code, reason, static_cast<std::uint32_t>(random()));
  enter(to, farewell::close_due, now);
  advance(to, now);
}

// It is we who end it, whatever the peers were about to do.
void tunnel_machine::break_off(time_point now) noexcept {
  closing_ = true;
  for (const side s : both) advance(s, now);
}

// What has been sent and seen may end a wait before its timer does.
void tunnel_machine::advance(side s, time_point now) noexcept {
  auto& p = at(s);
  const auto& source = other(s);
  const auto& feed = source.in;
  if (p.bye == farewell::close_due) {
    const bool no_boundary_comes = source.ended && !feed.sink_at_boundary();
    if (feed.close_injected() || feed.close_seen()) enter(s, farewell::close_sent, now);
    else if (!feed.may_inject() || no_boundary_comes) enter(s, farewell::fin_due, now);
  }
  // An answer cannot be seen where frames are not followed. Who opened a connection waits for more than the
  // answer, for the end of it; but not where it is we who break it off.
  const bool is_answered = p.in.close_seen() && (s == side::downstream || closing_);
  if (p.bye == farewell::close_sent && (p.ended || is_answered || !p.in.tracked()))
    enter(s, farewell::fin_due, now);
  if (p.bye == farewell::fin_sent && (p.ended || awaits_end(s))) {
    p.ended = true;  // what it could still say is not listened to
    enter(s, farewell::over, now);
    if (source.ended && source.bye == farewell::none) enter(opposite(s), farewell::fin_due, now);
  }
}

void tunnel_machine::enter(side s, farewell next, time_point now) noexcept {
  auto& p = at(s);
  p.bye = next;
  p.since = now;
  moved_ = true;
  if (next >= farewell::fin_due) other(s).in.stop();
  if (next >= farewell::fin_sent) p.stalled = time_point::max();
}

// The first cause is the one that is told; a close that a timer or a limit then cut short says so too.
void tunnel_machine::begin_end(end_cause cause, std::error_code error, side who) noexcept {
  if (end_.cause == end_cause::none) end_ = {error, cause, who};
  else if (end_.cause == end_cause::closed && (cause == end_cause::timeout || cause == end_cause::limit) &&
           !end_.error)
    end_.error = error;
}

// That side is gone; the other one is told, if nobody has.
void tunnel_machine::lost(side which, std::uint16_t code, time_point now) {
  at(which).ended = true;
  enter(which, farewell::over, now);
  say_goodbye(opposite(which), code, "", now);
  break_off(now);
}

void tunnel_machine::finish(end_cause cause, std::error_code error, side who) noexcept {
  begin_end(cause, error, who);
  closing_ = true;
  for (const side s : both) {
    at(s).ended = true;
    enter(s, farewell::over, at(s).since);
  }
}

// ---- Timers

bool tunnel_machine::is_pinged(side s) const noexcept {
  const auto& beat = policy_->heartbeat;
  const auto& p = at(s);
  return beat.interval > duration::zero() && (s == side::upstream ? beat.upstream : beat.downstream) &&
         !p.ended && other(s).in.may_inject();
}

// Who opened a connection and has exchanged Close frames waits for the end of it (RFC 6455 section 7.1.1), and
// sends nothing more but the pongs it owes. Toward the backend it is we who opened it.
bool tunnel_machine::awaits_end(side s) const noexcept {
  const auto& p = at(s);
  const bool owes_pong = p.in.owes_echo() || p.in.pongs() != other(s).in.pings();
  return s == side::downstream && closes_exchanged(s) && !owes_pong && !p.mute;
}

// Its Close was seen, and one was sent to it.
bool tunnel_machine::closes_exchanged(side s) const noexcept {
  return at(s).closed && (other(s).closed || other(s).in.close_injected());
}

// After FIN, whether that side has nothing more to say: else it is half-closed, which has a timer of its own.
bool tunnel_machine::lingers(side s) const noexcept { return closing_ || at(s).mute || closes_exchanged(s); }

// One that is closed altogether has no half; the other one's own timers bound what is left.
bool tunnel_machine::is_half_closed(const peer& p) noexcept { return p.ended && p.bye != farewell::over; }

// The timer of the tunnel as a whole, as visit(armed since, length, the error that it is).
template <class Visit> void tunnel_machine::tunnel_timer(Visit visit) const {
  if (closing_) return;
  const auto& t = policy_->timeouts;
  const time_point heard = std::max<time_point>(peers_[0].heard, peers_[1].heard);
  const bool half_closed = is_half_closed(peers_[0]) || is_half_closed(peers_[1]);
  if (half_closed && t.half_close > duration::zero())
    visit(std::max(heard, half_since_), t.half_close, errc::half_close_timeout);
  else if (t.idle > duration::zero()) visit(heard, t.idle, errc::idle_timeout);
}

// The timers of one side, likewise; errc{} where it is no error.
template <class Visit> void tunnel_machine::each_side_timer(side s, Visit visit) const {
  const auto& t = policy_->timeouts;
  const auto& beat = policy_->heartbeat;
  const auto& p = at(s);
  const bool stalled = p.stalled != time_point::max();
  const auto slow = policy_->slow_consumer.after;
  if (slow > duration::zero() && p.parked != 0) {
    if (p.slow == verdict::none && !closing_) visit(p.parked_since, slow, errc::consumer_too_slow);
    if (p.bye == farewell::fin_due && closing_)
      visit(p.since, slow, errc{});  // what waits is not awaited for ever
  }
  const auto patience = s == side::upstream ? t.upstream_send_stall : t.send_stall;
  if (stalled && patience > duration::zero()) visit(p.stalled, patience, errc::send_stall_timeout);
  switch (p.bye) {
  case farewell::none:
    if (!is_pinged(s)) break;
    if (p.beat == pulse::due) {
      // It waits for a boundary. Is that for want of the other side's bytes, or because this one takes none?
      if (stalled && beat.timeout > duration::zero())
        visit(std::max(p.pinged, p.stalled), beat.timeout, errc::heartbeat_timeout);
    } else if (p.beat == pulse::sent && beat.timeout > duration::zero()) {
      visit(p.pinged, beat.timeout, errc::heartbeat_timeout);
    } else {
      visit(std::max<time_point>(p.heard, p.pinged), beat.interval, errc{});
    }
    break;
  // These three bound a wait of ours; zero is no wait at all.
  case farewell::close_due: visit(p.since, t.boundary_wait, errc{}); break;
  case farewell::close_sent: visit(p.since, t.close_wait, errc{}); break;
  case farewell::fin_sent:
    if (lingers(s)) visit(p.since, t.linger, errc{});
    break;
  case farewell::fin_due:
  case farewell::over: break;
  }
}

time_point tunnel_machine::deadline() const noexcept {
  if (finished()) return time_point::max();
  time_point first = closing_ ? end_at_ : std::min(drain_at_, end_at_);
  auto visit = [&](time_point since, duration length, errc) { first = std::min(first, since + length); };
  tunnel_timer(visit);
  for (const side s : both) each_side_timer(s, visit);
  return first;
}

void tunnel_machine::on_tick(time_point now) {
  if (finished()) return;
  errc error{};
  tunnel_timer([&](time_point since, duration length, errc what) {
    if (now >= since + length) error = what;
  });
  if (error != errc{}) return finish(end_cause::timeout, error, side::local);
  if (now >= end_at_) return abort(errc::cancelled);
  if (!closing_ && now >= drain_at_) carry_out_plan(now);
  for (bool again = true; again;) {
    again = false;
    for (const side s : both) again |= fire(s, now);
  }
}

// Acts on a timer of that side that is due; false if none is.
bool tunnel_machine::fire(side s, time_point now) {
  bool due = false;
  errc error{};
  each_side_timer(s, [&](time_point since, duration length, errc what) {
    if (now < since + length) return;
    due = true;
    error = what;
  });
  if (!due) return false;
  moved_ = true;
  if (error == errc::consumer_too_slow) {
    too_slow(s, now);
  } else if (error == errc::send_stall_timeout) {
    finish(end_cause::timeout, error, s);
  } else if (error == errc::heartbeat_timeout) {
    begin_end(end_cause::timeout, error, s);
    lost(s, 1001, now);
  } else if (at(s).bye == farewell::none) {
    at(s).beat = pulse::due;
    at(s).pinged = now;
    other(s).in.want_ping(random(), static_cast<std::uint32_t>(random()));
  } else if (at(s).bye >= farewell::fin_due && closes_exchanged(s) && other(s).bye == farewell::fin_due) {
    at(s).ended = true;  // nobody is to be told; what waits for the other side keeps its timers
    enter(s, farewell::over, now);
  } else if (at(s).bye >= farewell::fin_due) {
    lost(s, 1001, now);
  } else {
    enter(s, farewell::fin_due, now);
  }
  return true;
}

void tunnel_machine::too_slow(side which, time_point now) {
  at(which).slow = verdict::found;
  if (!policy_->slow_consumer.close) return;
  begin_end(end_cause::limit, errc::consumer_too_slow, which);
  say_goodbye(which, 1013, "", now);
  say_goodbye(opposite(which), 1001, "", now);
  break_off(now);
}

}  // namespace wsproxy::detail
