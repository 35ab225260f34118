#include <wsproxy/websocket/detail/tunnel_machine.hpp>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch_test_macros.hpp>

#include "frame_samples.hpp"

namespace wsproxy::detail {
namespace {

using namespace std::chrono_literals;
using samples::bytes;
using samples::close_payload;
using samples::sample;
constexpr auto down = side::downstream;
constexpr auto up = side::upstream;
constexpr side both[] = {down, up};
constexpr std::size_t index(side s) { return s == up; }
constexpr frame_sender sender_of(side s) { return s == down ? frame_sender::client : frame_sender::server; }

std::string raw(side from, opcode code, std::string payload = {}, bool fin = true) {
  const auto mask = from == down ? std::optional<std::uint32_t>(0x1a2b3c4d) : std::nullopt;
  return sample{.code = code, .payload = std::move(payload), .fin = fin, .mask = mask}.raw();
}
std::string text(side from, std::string payload) { return raw(from, opcode::text, std::move(payload)); }
std::string close(side from, std::uint16_t code) { return raw(from, opcode::close, close_payload(code)); }
const std::error_code reset = std::make_error_code(std::errc::connection_reset);

// Performs the machine's wishes with a clock of its own. A side takes bytes at once unless told otherwise.
// Every rule that holds at all times is checked at every step.
class rig {
 public:
  struct peer {
    std::string got{};      // what reached it
    std::string waiting{};  // listed for it, not taken yet
    bool takes = true;
    bool cut = false;     // something listed for it never reached it
    bool fin = false;     // it got our FIN
    bool closed = false;  // its connection was closed
    time_point fin_at{}, closed_at{};
  };

  tunnel_policy policy;
  time_point now{1000h};
  tunnel_machine m;
  peer peers[2];

  explicit rig(const tunnel_policy& chosen, bool is_websocket = true, std::uint64_t seed = 1,
               std::uint8_t rsv = 0)
      : policy(chosen), m(policy, is_websocket, rsv, seed, now) {
    settle();
  }
  rig(const rig&) = delete;

  peer& at(side s) { return peers[index(s)]; }
  const std::string& got(side s) { return at(s).got; }
  duration since(time_point then) const { return std::chrono::duration_cast<duration>(now - then); }

  void read(side from, std::string_view in) {
    while (!in.empty() && m.wants_read(from)) {
      slices out;
      in.remove_prefix(m.on_read(from, in, out, now));
      list(opposite(from), out);
      settle();
    }
  }
  void eof(side from) {
    slices out;
    m.on_eof(from, out, now);
    list(opposite(from), out);
    settle();
  }
  void broken(side which) {
    m.on_broken(which, reset, now);
    settle();
  }
  void write_error(side to) {
    m.on_write_error(to, reset, now);
    drop(at(to));
    settle();
  }
  void drain(std::uint16_t code, std::string_view reason = {}) {
    m.drain(code, reason, now);
    settle();
  }
  void abort() {
    m.abort(errc::cancelled);
    settle();
  }
  /// That side takes nothing from now on, or takes again.
  void stall(side s) { at(s).takes = false; }
  void take(side s, std::size_t size) {
    auto& p = at(s);
    if (p.waiting.empty() || p.closed) return;
    size = std::min(size, p.waiting.size());
    p.got += p.waiting.substr(0, size);
    p.waiting.erase(0, size);
    m.on_backlog(s, !p.waiting.empty(), now);
    settle();
  }
  void take_all(side s) {
    at(s).takes = true;
    take(s, at(s).waiting.size());
  }

  /// Lets time pass; the timer is set as its user does it.
  void pass(duration time) {
    const auto until = now + time;
    int ticks = 0;
    while (timer_ <= until && !m.finished()) {
      now = std::max(now, timer_);
      m.on_tick(now);
      const bool progress = m.deadline() > now || m.finished();
      REQUIRE(progress);
      REQUIRE(++ticks < 100000);
      settle();
      timer_ = m.deadline();
    }
    now = until;
  }
  time_point timer() const { return timer_; }

  /// The causes of the end, checked for never changing.
  const tunnel_end& end() const { return m.end(); }

 private:
  void list(side to, const slices& out) {
    auto& p = at(to);
    if (out.empty()) return;
    CHECK_FALSE(p.fin);
    if (p.closed) return;
    const bool was_empty = p.waiting.empty();
    for (const auto& one : out.view()) p.waiting.append(one.data, one.size);
    if (p.takes) {
      p.got += p.waiting;
      p.waiting.clear();
    } else if (was_empty) {
      m.on_backlog(to, true, now);
    }
  }

  static void drop(peer& p) {
    p.cut |= !p.waiting.empty();
    p.waiting.clear();
  }

  // Everything that is due at once.
  void settle() {
    for (const side s : both) {
      auto& p = at(s);
      if (m.has_output(s)) {
        REQUIRE_FALSE(p.closed);
        slices out;
        m.take_output(s, out, now);
        REQUIRE_FALSE(out.empty());
        REQUIRE_FALSE(m.has_output(s));
        list(s, out);
      }
      if (m.wants_fin(s) && p.waiting.empty()) {
        REQUIRE_FALSE(p.fin);
        p.fin = true;
        p.fin_at = now;
        m.on_fin_sent(s, now);
        REQUIRE_FALSE(m.wants_fin(s));
      }
      if (m.wants_close(s) && !p.closed) {
        p.closed = true;
        p.closed_at = now;
        drop(p);
      }
      if (p.closed) REQUIRE((m.wants_close(s) && !m.wants_read(s)));
    }
    if (m.has_output(down) || m.has_output(up) || m.wants_fin(down) > !at(down).waiting.empty()) settle();
    if (m.finished()) {
      REQUIRE(m.deadline() == time_point::max());
      REQUIRE(m.end().cause != end_cause::none);
    }
    if (told_.cause != end_cause::none) {
      REQUIRE(m.end().cause == told_.cause);
      const auto error = m.end().error;
      const bool by_limit = error == errc::bad_frame || error == errc::message_too_large ||
                            error == errc::frame_too_large || error == errc::consumer_too_slow;
      const bool cut_off = told_.cause == end_cause::closed && (by_limit || error == condition::timed_out);
      REQUIRE((cut_off || error == told_.error));
      REQUIRE(m.end().who == told_.who);
    }
    told_ = m.end();
    // Whatever makes the deadline earlier says so: else the timer would be late.
    if (m.take_deadline_moved()) timer_ = m.deadline();
    REQUIRE(m.deadline() >= timer_);
  }

  time_point timer_{};
  tunnel_end told_{};
};

// No timer but those that a test sets.
tunnel_policy quiet() {
  tunnel_policy p;
  p.timeouts.idle = p.timeouts.half_close = p.timeouts.send_stall = p.timeouts.upstream_send_stall = 0s;
  return p;
}
tunnel_policy beating(duration interval, duration timeout) {
  auto p = quiet();
  p.heartbeat = {.interval = interval, .timeout = timeout};
  return p;
}

void check_end(const rig& r, end_cause cause, std::error_code error, side who) {
  CHECK(r.end().cause == cause);
  CHECK(r.end().error == error);
  CHECK(r.end().who == who);
}
/// That side got exactly this Close, and nothing before it, in the form that is right toward it.
void check_closed_with(rig& r, side s, std::uint16_t code, std::string_view reason = {}) {
  const auto frames = samples::read_frames(r.got(s));
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].code == opcode::close);
  CHECK(frames[0].payload == close_payload(code, reason));
  CHECK(frames[0].mask.has_value() == (s == up));
}
/// The ping that is the only thing that side got since `from`.
sample ping_in(rig& r, side s, std::size_t from = 0) {
  const auto frames = samples::read_frames(std::string_view(r.got(s)).substr(from));
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].code == opcode::ping);
  CHECK(frames[0].payload.size() == 8);
  CHECK(frames[0].mask.has_value() == (s == up));
  return frames[0];
}

// ---- Bytes

TEST_CASE("a tunnel passes bytes both ways") {
  rig r(tunnel_policy{});
  r.read(down, text(down, "question"));
  r.read(up, text(up, "answer"));
  CHECK(r.got(up) == text(down, "question"));
  CHECK(r.got(down) == text(up, "answer"));
  CHECK(r.end().cause == end_cause::none);
  CHECK_FALSE(r.m.finished());
  CHECK(r.m.from(down).messages() == 1);
}

TEST_CASE("what is no WebSocket is opaque: nothing is ever put in, half-close works") {
  for (const auto mode : {frames::off, frames::observe, frames::enforce}) {
    tunnel_policy p;
    p.frames = mode;
    p.heartbeat.interval = 1s;
    p.limits.frame = p.limits.message = 1;
    rig r(p, false);
    r.read(down, "anything \xff at all");
    r.pass(20s);
    CHECK(r.got(up) == "anything \xff at all");
    CHECK(r.got(down).empty());
    r.eof(down);
    CHECK(r.at(up).fin);
    r.read(up, "late data");
    CHECK(r.got(down) == "late data");
    CHECK_FALSE(r.m.finished());
    r.eof(up);
    CHECK(r.at(down).fin);
    CHECK(r.m.finished());
    CHECK(r.got(down) == "late data");
    check_end(r, end_cause::closed, {}, down);
  }
}

TEST_CASE("what is no WebSocket is drained with FIN alone") {
  rig r(tunnel_policy{}, false);
  r.read(down, "half a ");
  r.drain(1001);
  CHECK(r.got(up) == "half a ");
  CHECK(r.got(down).empty());
  CHECK((r.at(up).fin && r.at(down).fin));
  r.eof(up);
  r.eof(down);
  CHECK(r.m.finished());
}

// ---- idle and half_close

TEST_CASE("idle closes both sides, and bytes of either side renew it") {
  for (const auto speaker : both) {
    tunnel_policy p;
    p.timeouts.idle = 60s;
    rig r(p);
    for (int i = 0; i != 5; ++i) {
      r.pass(59s);
      r.read(speaker, text(speaker, "x").substr(0, 1));  // a part of a frame does too
      r.pass(1s);
      r.read(speaker, text(speaker, "x").substr(1));
    }
    const auto last = r.now;
    r.pass(59999ms);
    CHECK_FALSE(r.m.finished());
    r.pass(1ms);
    CHECK(r.m.finished());
    CHECK(r.at(down).closed_at - last == 60s);
    CHECK(r.at(up).closed_at - last == 60s);
    CHECK_FALSE((r.at(down).fin || r.at(up).fin));
    check_end(r, end_cause::timeout, errc::idle_timeout, side::local);
  }
}

TEST_CASE("bytes that we write do not renew idle") {
  tunnel_policy p = beating(7s, 0s);
  p.timeouts.idle = 60s;
  rig r(p);
  r.pass(60s);
  CHECK(samples::read_frames(r.got(down)).size() == 8);  // pings went out all the while
  CHECK(r.m.finished());
  check_end(r, end_cause::timeout, errc::idle_timeout, side::local);
}

TEST_CASE("a swallowed pong renews idle") {
  tunnel_policy p = beating(40s, 10s);
  p.heartbeat.upstream = false;
  p.timeouts.idle = 60s;
  rig r(p);
  for (int i = 0; i != 10; ++i) {
    const auto before = r.got(down).size();
    r.pass(40s);
    r.read(down, raw(down, opcode::pong, ping_in(r, down, before).payload));
  }
  CHECK_FALSE(r.m.finished());
  CHECK(r.got(up).empty());
}

TEST_CASE("half_close takes over from idle, and bytes of the other side renew it") {
  for (const auto first : both) {
    tunnel_policy p;
    p.timeouts.idle = 60s;
    p.timeouts.half_close = 30s;
    rig r(p);
    r.pass(50s);
    r.eof(first);
    const auto late = text(opposite(first), "late");
    for (int i = 0; i != 4; ++i) {
      r.pass(29s);
      r.read(opposite(first), late);
    }
    CHECK(r.got(first).ends_with(late + late + late + late));
    r.pass(29999ms);
    CHECK_FALSE(r.m.finished());
    r.pass(1ms);
    CHECK(r.m.finished());
    CHECK((r.at(down).closed && r.at(up).closed));
    check_end(r, end_cause::closed, errc::half_close_timeout, first);  // the first cause, and what cut it off
  }
}

TEST_CASE("without half_close, idle bounds a half-closed tunnel") {
  tunnel_policy p;
  p.timeouts.half_close = 0s;
  rig r(p);
  r.eof(down);
  r.pass(60s);
  CHECK(r.m.finished());
}

TEST_CASE("FIN told twice does not prolong half_close") {
  auto p = quiet();
  p.timeouts.half_close = 30s;
  rig r(p);
  r.eof(down);
  r.pass(20s);
  r.eof(down);
  r.pass(10s);
  CHECK(r.m.finished());
}

TEST_CASE("an earlier half_close deadline is announced") {
  tunnel_policy p;
  p.timeouts.idle = 3600s;
  p.timeouts.half_close = 30s;
  rig r(p);
  r.eof(down);
  CHECK(r.timer() == r.now + 30s);
}

// ---- send_stall

TEST_CASE("send_stall and upstream_send_stall close both sides and name the one that takes nothing") {
  for (const auto slow : both) {
    auto p = quiet();
    (slow == down ? p.timeouts.send_stall : p.timeouts.upstream_send_stall) = 60s;
    rig r(p);
    r.stall(slow);
    r.read(opposite(slow), text(opposite(slow), std::string(1000, 'x')));
    for (int i = 0; i != 3; ++i) {
      r.pass(59s);
      r.take(slow, 100);  // progress restarts it
    }
    r.pass(59s);
    CHECK_FALSE(r.m.finished());
    r.pass(1s);
    CHECK(r.m.finished());
    CHECK((r.at(down).closed && r.at(up).closed));
    check_end(r, end_cause::timeout, errc::send_stall_timeout, slow);
  }
}

TEST_CASE("send_stall ends when all was taken") {
  auto p = quiet();
  p.timeouts.send_stall = 60s;
  rig r(p);
  r.stall(down);
  r.read(up, text(up, "x"));
  r.pass(59s);
  r.take_all(down);
  r.pass(3600s);
  CHECK_FALSE(r.m.finished());
}

TEST_CASE("send_stall is nothing to a side that gets nothing any more") {
  auto p = quiet();
  p.timeouts.send_stall = 1s;
  rig r(p);
  r.write_error(down);
  r.m.on_backlog(down, true, r.now);
  CHECK(r.m.deadline() == r.now + p.timeouts.linger);
}

TEST_CASE("send_stall holds for a FIN that waits behind a backlog") {
  auto p = quiet();
  p.timeouts.send_stall = 60s;
  rig r(p);
  r.stall(down);
  r.read(up, text(up, "x"));
  r.drain(1001);
  CHECK_FALSE(r.at(down).fin);
  r.pass(60s);
  CHECK(r.m.finished());
  check_end(r, end_cause::drained, {}, side::local);
}

// ---- heartbeat

TEST_CASE("each silent side is pinged, and its echo is swallowed and timed") {
  for (const auto silent : both) {
    auto p = beating(20s, 10s);
    (silent == down ? p.heartbeat.upstream : p.heartbeat.downstream) = false;
    rig r(p);
    r.pass(19999ms);
    CHECK(r.got(silent).empty());
    r.pass(1ms);
    const auto first = ping_in(r, silent);
    CHECK(r.got(opposite(silent)).empty());
    CHECK(r.m.round_trip(silent) == 0ms);
    r.pass(300ms);
    const auto echo = raw(silent, opcode::pong, first.payload);
    r.read(silent, echo);
    CHECK(r.got(opposite(silent)).empty());
    CHECK(r.m.round_trip(silent) == 300ms);
    CHECK(r.m.heard(silent) == r.now);
    r.read(silent, echo);  // a repeat is the peer's own
    CHECK(r.got(opposite(silent)) == echo);

    const auto before = r.got(silent).size();
    r.pass(19999ms);
    CHECK(r.got(silent).size() == before);
    r.pass(1ms);
    CHECK(ping_in(r, silent, before).payload != first.payload);
  }
}

TEST_CASE("the next ping comes an interval after the pong, also where the timeout is longer") {
  rig r(beating(1s, 10s));
  std::size_t before = 0;
  for (int i = 0; i != 5; ++i) {
    r.pass(1s);
    for (const auto s : both)
      r.read(s, raw(s, opcode::pong, ping_in(r, s, before == 0 ? 0 : r.got(s).size() - before).payload));
    before = 10;
    if (i == 0) break;
  }
  const auto sizes = std::pair(r.got(down).size(), r.got(up).size());
  r.pass(999ms);
  CHECK(std::pair(r.got(down).size(), r.got(up).size()) == sizes);
  r.pass(1ms);
  CHECK(r.got(down).size() == sizes.first + 10);
  CHECK(r.got(up).size() == sizes.second + 14);
}

TEST_CASE("a side is silent by itself: the other's traffic does not speak for it") {
  rig r(beating(20s, 10s));
  for (int i = 0; i != 20; ++i) {
    r.pass(1s);
    if (!r.m.finished()) r.read(up, text(up, "x"));
  }
  std::string all = r.got(down);
  const auto frames = samples::read_frames(all);
  CHECK(std::count_if(frames.begin(), frames.end(), [](const sample& f) { return f.code == opcode::ping; }) ==
        1);
  CHECK(r.got(up).empty());
}

TEST_CASE("any byte of a side breaks its silence, a part of a frame too") {
  rig r(beating(20s, 10s));
  const auto frame = text(down, "Hello");
  for (int i = 0; i != 3; ++i) {
    r.pass(19s);
    r.read(down, std::string_view(frame).substr(static_cast<std::size_t>(i), 1));
    r.read(up, text(up, ""));
  }
  CHECK(samples::read_frames(r.got(down)).size() == 3);  // no ping
}

TEST_CASE("a side that does not answer is dead after interval and timeout; the other gets Close 1001") {
  for (const auto dead : both) {
    rig r(beating(20s, 10s));
    const auto alive = opposite(dead);
    const auto start = r.now;
    r.pass(15s);
    r.read(alive, text(alive, "I am here"));
    const auto before = r.got(alive).size();
    r.pass(14999ms);
    CHECK_FALSE(r.at(dead).closed);
    r.pass(1ms);
    CHECK(r.at(dead).closed);
    CHECK(r.at(dead).closed_at - start == 30s);
    check_end(r, end_cause::timeout, errc::heartbeat_timeout, dead);
    const auto frames = samples::read_frames(std::string_view(r.got(alive)).substr(before));
    REQUIRE(frames.size() == 1);
    CHECK(frames[0].payload == close_payload(1001));
    CHECK(frames[0].mask.has_value() == (alive == up));
    CHECK_FALSE(r.at(alive).fin);
    r.read(alive, close(alive, 1001));
    CHECK(r.at(alive).fin);
    r.eof(alive);
    CHECK(r.m.finished());
  }
}

TEST_CASE("bytes that are no pong are an answer too") {
  auto p = beating(20s, 10s);
  p.heartbeat.upstream = false;
  rig r(p);
  r.pass(25s);
  const auto ping = ping_in(r, down);
  r.read(down, text(down, "busy").substr(0, 3));
  r.pass(19s);
  CHECK_FALSE(r.at(down).closed);
  r.read(down, text(down, "busy").substr(3) + raw(down, opcode::pong, ping.payload));  // late, still ours
  CHECK(r.got(up) == text(down, "busy"));
}

TEST_CASE("without a heartbeat timeout a silent side is pinged again and again") {
  rig r(beating(20s, 0s));
  r.pass(200s);
  CHECK(samples::read_frames(r.got(down)).size() == 10);
  CHECK_FALSE(r.m.finished());
}

TEST_CASE("a side that takes no bytes is dead after interval and timeout") {
  rig r(beating(20s, 10s));
  r.stall(down);
  const auto start = r.now;
  r.read(up, text(up, std::string(50, 'x')).substr(0, 30));  // the ping cannot even go before it
  r.pass(15s);
  r.read(up, "x");
  r.pass(14s);
  CHECK_FALSE(r.at(down).closed);
  r.pass(1s);
  CHECK(r.at(down).closed);
  CHECK(r.at(down).closed_at - start == 30s);
  check_end(r, end_cause::timeout, errc::heartbeat_timeout, down);
}

TEST_CASE("a side that takes bytes slowly is not dead for the ping it cannot have had") {
  rig r(beating(20s, 10s));
  r.stall(down);
  r.read(up, text(up, std::string(100, 'x')).substr(0, 90));
  for (int i = 0; i != 12; ++i) {
    r.pass(5s);
    r.take(down, 1);
    r.read(up, "x");
  }
  CHECK_FALSE(r.at(down).closed);
}

TEST_CASE("a source that stalls inside a frame is left to idle") {
  auto p = beating(20s, 10s);
  p.timeouts.idle = 100s;
  p.heartbeat.upstream = false;
  rig r(p);
  r.read(up, text(up, "Hello").substr(0, 4));
  r.pass(99s);
  CHECK(r.got(down) == text(up, "Hello").substr(0, 4));
  CHECK_FALSE(r.m.finished());
  r.pass(1s);
  check_end(r, end_cause::timeout, errc::idle_timeout, side::local);
}

TEST_CASE("a ping that waits goes at the end of the frame, and its timeout starts then") {
  auto p = beating(20s, 10s);
  p.heartbeat.upstream = false;
  rig r(p);
  r.read(up, text(up, "Hello").substr(0, 4));
  r.pass(50s);
  r.read(up, text(up, "Hello").substr(4) + text(up, "more"));
  const auto frames = samples::read_frames(r.got(down));
  REQUIRE(frames.size() == 3);
  CHECK(frames[1].code == opcode::ping);
  r.pass(9999ms);
  CHECK_FALSE(r.at(down).closed);
  r.pass(1ms);
  CHECK(r.at(down).closed);
}

TEST_CASE("a ping that waits is withdrawn when its side speaks") {
  auto p = beating(20s, 10s);
  p.heartbeat.upstream = false;
  rig r(p);
  r.read(up, text(up, "Hello").substr(0, 4));
  r.pass(25s);
  r.read(down, text(down, "x"));
  r.read(up, text(up, "Hello").substr(4));
  CHECK(r.got(down) == text(up, "Hello"));
  r.pass(20s);
  CHECK(r.got(down).size() == text(up, "Hello").size() + 10);
}

TEST_CASE("a client's own ping and its answer pass, also beside ours") {
  rig r(beating(20s, 10s));
  r.pass(20s);
  const auto ours = ping_in(r, up).payload;
  const auto down_ping = ping_in(r, down).payload;
  const auto before = r.got(up).size();
  r.read(down, raw(down, opcode::pong, down_ping));
  const auto clients = raw(down, opcode::ping, ours);  // the very payload of ours
  r.read(down, clients);
  CHECK(r.got(up).substr(before) == clients);
  const auto answer = raw(up, opcode::pong, ours);
  const auto down_before = r.got(down).size();
  r.read(up, answer + answer);  // one for each
  CHECK(r.got(down).substr(down_before) == answer);
}

TEST_CASE("no ping follows a Close") {
  rig r(beating(20s, 10s));
  r.read(down, close(down, 1000));
  r.pass(25s);
  CHECK(r.got(up) == close(down, 1000));
  CHECK(ping_in(r, down).code == opcode::ping);  // toward the client there was none yet
}

TEST_CASE("a side that has sent FIN is not pinged") {
  rig r(beating(20s, 10s));
  r.eof(down);
  for (int i = 0; i != 10; ++i) {
    r.pass(10s);
    r.read(up, text(up, ""));
  }
  CHECK(samples::read_frames(r.got(down)).size() == 10);
  CHECK_FALSE(r.at(down).closed);
}

TEST_CASE("a heartbeat follows frames even where they are off, and so does a limit") {
  auto p = beating(20s, 10s);
  p.frames = frames::off;
  rig r(p);
  r.pass(20s);
  ping_in(r, down);
  ping_in(r, up);

  auto limited = quiet();
  limited.frames = frames::off;
  limited.limits.frame = 10;
  rig s(limited);
  s.read(down, text(down, std::string(11, 'x')));
  CHECK(s.got(up) != text(down, std::string(11, 'x')));
  check_end(s, end_cause::limit, errc::frame_too_large, down);

  auto off = quiet();
  off.frames = frames::off;
  rig t(off);
  CHECK_FALSE(t.m.from(down).tracked());
}

TEST_CASE("toward an opaque direction no ping goes") {
  auto p = beating(20s, 10s);
  p.heartbeat.upstream = false;
  rig r(p);
  r.read(up, bytes({0x83, 0x00}));
  r.pass(100s);
  CHECK(r.got(down) == bytes({0x83, 0x00}));
  CHECK_FALSE(r.at(down).closed);
}

// ---- drain

TEST_CASE("a drain sends a Close both ways, waits for the answers, then FIN") {
  rig r(quiet());
  r.drain(1012, "restart");
  check_closed_with(r, down, 1012, "restart");
  check_closed_with(r, up, 1012, "restart");
  check_end(r, end_cause::drained, {}, side::local);
  CHECK_FALSE((r.at(down).fin || r.at(up).fin));
  r.read(down, text(down, "on its way") + close(down, 1012));
  CHECK((r.at(down).fin && r.at(down).closed));
  CHECK_FALSE(r.at(up).fin);
  r.read(up, close(up, 1012));
  CHECK(r.at(up).fin);
  check_closed_with(r, down, 1012, "restart");  // nothing follows it
  check_closed_with(r, up, 1012, "restart");
  CHECK_FALSE(r.at(up).closed);  // the server closes first
  r.eof(up);
  CHECK(r.m.finished());
  CHECK(r.m.from(down).close_code() == 1012);
}

TEST_CASE("close_wait bounds the wait for a peer's Close, and linger the wait for its FIN") {
  auto p = quiet();
  p.timeouts.close_wait = 5s;
  p.timeouts.linger = 3s;
  rig r(p);
  r.drain(1001);
  r.pass(4999ms);
  CHECK_FALSE((r.at(down).fin || r.at(up).fin));
  r.pass(1ms);
  CHECK((r.at(down).fin && r.at(up).fin));
  CHECK(r.m.wants_read(down));
  r.pass(2999ms);
  CHECK_FALSE(r.m.finished());
  r.pass(1ms);
  CHECK(r.m.finished());
  CHECK((r.at(down).closed && r.at(up).closed));
}

TEST_CASE("waits of zero are no waits") {
  auto p = quiet();
  p.timeouts.boundary_wait = p.timeouts.close_wait = p.timeouts.linger = 0s;
  rig r(p);
  r.read(down, text(down, "Hello").substr(0, 8));
  r.drain(1001);
  r.pass(0s);
  CHECK(r.m.finished());
  check_closed_with(r, down, 1001);
  CHECK(r.got(up) == text(down, "Hello").substr(0, 8));
}

TEST_CASE("a drain during a half-sent frame waits for its end, and for no more") {
  for (const auto source : both) {
    const auto sink = opposite(source);
    const auto frame = text(source, std::string(100, 'x'));
    rig r(quiet());
    r.read(source, frame.substr(0, 50));
    r.drain(1001);
    CHECK(r.got(sink) == frame.substr(0, 50));
    check_closed_with(r, source, 1001);
    r.pass(4s);
    r.read(source, frame.substr(50) + text(source, "more"));
    const auto frames = samples::read_frames(r.got(sink));
    REQUIRE(frames.size() == 2);
    CHECK(r.got(sink).starts_with(frame));
    CHECK(frames[1].payload == close_payload(1001));
    CHECK_FALSE(r.at(sink).fin);
    r.pass(4999ms);
    CHECK_FALSE(r.at(sink).fin);  // close_wait began with the Close
    r.pass(1ms);
    CHECK(r.at(sink).fin);
  }
}

TEST_CASE("inside a frame there is no output, asked for or not") {
  rig r(quiet());
  r.read(up, text(up, "Hello").substr(0, 4));
  r.drain(1001);
  slices out;
  r.m.take_output(down, out, r.now);
  CHECK(out.empty());
}

TEST_CASE("boundary_wait ends in a bare FIN inside the frame") {
  for (const auto source : both) {
    const auto sink = opposite(source);
    const auto frame = text(source, std::string(100, 'x'));
    auto p = quiet();
    p.timeouts.boundary_wait = 2s;
    rig r(p);
    r.read(source, frame.substr(0, 50));
    r.drain(1001);
    r.pass(1999ms);
    CHECK_FALSE(r.at(sink).fin);
    r.pass(1ms);
    CHECK(r.at(sink).fin);
    r.read(source, frame.substr(50));  // too late
    CHECK(r.got(sink) == frame.substr(0, 50));
  }
}

TEST_CASE("a drain does not wait for a header of which nothing was sent") {
  rig r(quiet());
  r.read(down, text(down, "Hello").substr(0, 3));
  r.drain(1001);
  check_closed_with(r, up, 1001);
}

TEST_CASE("a drain with code 0 is a bare FIN, at once") {
  rig r(quiet());
  r.read(down, text(down, "Hello").substr(0, 8));
  r.drain(0);
  CHECK((r.at(down).fin && r.at(up).fin));
  CHECK(r.got(down).empty());
  CHECK(r.got(up) == text(down, "Hello").substr(0, 8));
  check_end(r, end_cause::drained, {}, side::local);
  r.pass(5s);
  CHECK(r.m.finished());
}

TEST_CASE("a drain where frames are off is a bare FIN") {
  auto p = quiet();
  p.frames = frames::off;
  rig r(p);
  r.drain(1001);
  CHECK((r.at(down).fin && r.at(up).fin));
  CHECK((r.got(down).empty() && r.got(up).empty()));
}

TEST_CASE("a drain closes an opaque direction with FIN and the other with a Close") {
  rig r(quiet());
  const auto illegal = bytes({0x83, 0x80, 1, 2, 3, 4});
  r.read(down, illegal);
  r.drain(1001);
  CHECK(r.got(up) == illegal);
  CHECK(r.at(up).fin);
  check_closed_with(r, down, 1001);
  CHECK(r.at(down).fin);  // the client's answer could not be seen
}

TEST_CASE("a drain ends at once when the direction becomes opaque while the Close waits") {
  rig r(quiet());
  const auto frame = text(up, "Hello");
  r.read(up, frame.substr(0, 4));
  r.stall(down);
  r.drain(1001);
  r.take_all(down);
  r.read(up, frame.substr(4) + bytes({0x83, 0x00}));
  const auto frames = samples::read_frames(r.got(down));
  REQUIRE(frames.size() == 2);  // the boundary before it was used
  CHECK(frames[1].code == opcode::close);
}

TEST_CASE("a drain during the peers' own closing handshake does not cut it") {
  rig r(quiet());
  r.read(down, close(down, 1000));
  r.drain(1001);
  CHECK(r.got(up) == close(down, 1000));  // it has had a Close
  CHECK_FALSE(r.at(up).fin);              // and is waited for
  check_closed_with(r, down, 1001);
  CHECK(r.at(down).fin);  // it has said its own
  r.read(up, close(up, 1000));
  CHECK(r.at(up).fin);
  check_end(r, end_cause::closed, {}, down);
}

TEST_CASE("a Close of the source that comes while ours waits is enough") {
  rig r(quiet());
  const auto frame = text(up, "Hello");
  r.read(up, frame.substr(0, 4));
  r.drain(1001);
  r.read(down, close(down, 1001));
  r.read(up, frame.substr(4) + close(up, 1000));
  const auto frames = samples::read_frames(r.got(down));
  REQUIRE(frames.size() == 2);
  CHECK(frames[1].payload == close_payload(1001));
  CHECK(r.at(down).fin);
  CHECK(r.at(up).fin);
}

TEST_CASE("a drain of a half-closed tunnel lets its linger begin then") {
  rig r(quiet());
  r.eof(down);
  CHECK(r.at(up).fin);
  r.pass(60s);
  r.drain(1001);
  check_closed_with(r, down, 1001);
  CHECK(r.at(down).closed);  // it had sent FIN already
  r.pass(4999ms);
  CHECK_FALSE(r.at(up).closed);
  r.pass(1ms);
  CHECK(r.m.finished());
  check_end(r, end_cause::closed, {}, down);
}

TEST_CASE("an EOF while our Close waits inside the other's frame does not cut that frame") {
  rig r(quiet());
  const auto frame = text(up, "Hello");
  r.read(up, frame.substr(0, 4));
  r.drain(1001);
  r.eof(down);
  r.read(up, frame.substr(4));
  const auto frames = samples::read_frames(r.got(down));
  REQUIRE(frames.size() == 2);
  CHECK(r.at(down).fin);
  CHECK(r.at(down).closed);
}

TEST_CASE("a second drain changes nothing") {
  rig r(quiet());
  r.drain(1012);
  r.drain(1001);
  check_closed_with(r, down, 1012);
  check_closed_with(r, up, 1012);
}

TEST_CASE("max_lifetime drains with 1001") {
  auto p = quiet();
  p.timeouts.max_lifetime = 3600s;
  rig r(p);
  r.pass(3599s);
  CHECK(r.got(down).empty());
  r.pass(1s);
  check_closed_with(r, down, 1001);
  check_closed_with(r, up, 1001);
  check_end(r, end_cause::drained, errc::lifetime_reached, side::local);
  r.pass(10s);
  CHECK(r.m.finished());
}

TEST_CASE("max_lifetime is spread both ways, and no further than its jitter") {
  auto p = quiet();
  p.timeouts.max_lifetime = 1000s;
  p.timeouts.max_lifetime_jitter = 0.1;
  duration least = 1h;
  duration most = 0s;
  for (std::uint64_t seed = 0; seed != 1000; ++seed) {
    rig r(p, true, seed);
    const auto life = r.since(r.now - (r.m.deadline() - r.now));
    least = std::min(least, life);
    most = std::max(most, life);
  }
  CHECK(least >= 900s);
  CHECK(least < 910s);
  CHECK(most <= 1100s);
  CHECK(most > 1090s);
}

// ---- Ends that the peers make

TEST_CASE("a closing handshake passes, the client is closed behind it, and the backend's end is waited for") {
  for (const side first : {down, up}) {
    rig r(tunnel_policy{});
    r.read(first, close(first, 1000));
    CHECK_FALSE((r.at(down).fin || r.at(up).fin));
    r.read(opposite(first), close(opposite(first), 1000));
    CHECK(r.got(up) == close(down, 1000));
    CHECK(r.got(down) == close(up, 1000));
    CHECK((r.at(down).fin && r.at(down).closed));
    CHECK_FALSE(r.at(up).fin);  // the server closes first
    r.eof(up);
    CHECK((r.at(up).fin && r.m.finished()));
    check_end(r, end_cause::closed, {}, first);
  }
}

TEST_CASE("a backend that does not end its connection after a closing handshake is not waited for for long") {
  rig r(quiet());
  r.read(down, close(down, 1000));
  r.pass(20s);
  r.read(up, close(up, 1000));
  r.pass(4999ms);
  CHECK_FALSE(r.at(up).fin);
  r.pass(1ms);
  CHECK(r.at(up).fin);
  r.pass(4999ms);
  CHECK_FALSE(r.m.finished());
  r.pass(1ms);
  CHECK(r.m.finished());
  check_end(r, end_cause::closed, {}, down);
}

TEST_CASE("a backend that is still waited for after a closing handshake is not, once we break off") {
  for (const bool owes_pong : {false, true}) {
    rig r(quiet());
    if (owes_pong) r.read(up, raw(up, opcode::ping, "hi"));
    r.read(down, close(down, 1000));
    r.read(up, close(up, 1000));
    CHECK_FALSE(r.at(up).fin);
    r.drain(1001);
    CHECK((r.at(down).fin && r.at(up).fin));
    check_end(r, end_cause::closed, {}, down);
  }
  rig r(quiet());
  r.read(up, raw(up, opcode::ping, "hi"));
  r.read(down, close(down, 1000));
  r.read(up, close(up, 1000));
  r.broken(down);
  CHECK(r.at(up).fin);
}

TEST_CASE("a half-close is a peer's: the wait after a closing handshake is none") {
  auto policy = quiet();
  policy.timeouts.half_close = 1s;
  rig r(policy);
  r.read(down, close(down, 1000));
  r.read(up, close(up, 1000));
  r.pass(4999ms);
  CHECK_FALSE(r.at(up).fin);
  r.eof(up);
  CHECK(r.m.finished());
  check_end(r, end_cause::closed, {}, down);
}

TEST_CASE("a client that does not take the closing handshake keeps the tunnel no longer than `idle`") {
  auto policy = quiet();
  policy.timeouts.idle = 60s;
  rig r(policy);
  r.stall(down);
  r.read(up, text(up, "much"));
  r.read(down, close(down, 1000));
  r.read(up, close(up, 1000));
  r.pass(10s);
  CHECK(r.at(up).closed);
  CHECK_FALSE(r.at(down).closed);
  r.pass(50s);
  CHECK(r.m.finished());
}

TEST_CASE("what a backend sends behind its Close is the client's only if it comes with it") {
  rig r(quiet());
  r.read(down, close(down, 1000));
  r.read(up, close(up, 1000) + text(up, "with it"));
  CHECK(r.got(down) == close(up, 1000) + text(up, "with it"));
  r.read(up, text(up, "too late"));
  CHECK(r.got(down) == close(up, 1000) + text(up, "with it"));
  r.eof(up);
  CHECK(r.m.finished());
}

TEST_CASE("a client that is slow is closed behind the closing handshake once it has taken it") {
  rig r(quiet());
  r.stall(down);
  r.read(up, text(up, "much") + close(up, 1000));
  r.read(down, close(down, 1000));
  CHECK_FALSE((r.at(down).fin || r.at(down).closed));
  r.take_all(down);
  CHECK(r.got(down) == text(up, "much") + close(up, 1000));
  CHECK(r.at(down).closed);
  r.eof(up);
  CHECK(r.m.finished());
}

TEST_CASE("a closing handshake is nothing special where frames are not looked at") {
  auto policy = quiet();
  policy.frames = frames::off;
  rig r(policy);
  r.read(down, close(down, 1000));
  r.read(up, close(up, 1000));
  CHECK_FALSE((r.at(down).fin || r.at(up).fin));
  r.eof(up);
  CHECK(r.at(down).fin);
}

TEST_CASE("the upstream's EOF before the client has answered its Close leaves the client time to answer") {
  rig r(tunnel_policy{});
  r.read(up, close(up, 1001));
  r.eof(up);
  CHECK(r.at(down).fin);
  CHECK_FALSE(r.at(down).closed);
  const auto answer = text(down, "on its way") + close(down, 1001);
  r.read(down, answer);
  CHECK(r.got(up) == answer);
  CHECK(r.m.finished());
}

TEST_CASE("a client that owes a pong is lingered on until it comes") {
  for (const auto& [ours, backend_ends] :
       {std::pair{false, true}, {true, true}, {false, false}, {true, false}}) {
    rig r(ours ? beating(20s, 10s) : tunnel_policy{});
    std::string payload = "hi";
    if (ours) {
      r.pass(20s);
      payload = ping_in(r, down).payload;
    } else {
      r.read(up, raw(up, opcode::ping, payload));
    }
    r.read(down, close(down, 1000));
    r.read(up, close(up, 1000));
    if (backend_ends) r.eof(up);
    CHECK(r.at(down).fin == backend_ends);
    for (const char byte :
         raw(down, opcode::pong, payload)) {  // one that is cut would be answered with a reset
      CHECK_FALSE(r.at(down).closed);
      r.read(down, {&byte, 1});
    }
    CHECK((r.at(down).fin && r.at(down).closed));
    CHECK(r.m.finished() == backend_ends);
  }
}

TEST_CASE("a client that takes nothing any more has not got the Close that answers its own") {
  for (const bool error_first : {false, true}) {
    rig r(quiet());
    if (!error_first) r.read(down, close(down, 1000));
    r.read(up, text(up, "more"));
    r.write_error(down);
    if (error_first) r.read(down, close(down, 1000));
    r.read(up, close(up, 1000));
    CHECK_FALSE(r.at(down).closed);
    r.eof(up);
    r.pass(5s);
    CHECK(r.m.finished());
    CHECK(r.at(up).fin);
  }
}

TEST_CASE("an answered Close is not yet the end of a side that takes nothing") {
  rig r(tunnel_policy{});
  r.read(down, close(down, 1000));
  r.stall(down);
  r.read(up, close(up, 1000));
  r.eof(up);
  CHECK_FALSE((r.at(down).fin || r.at(down).closed));
  r.take_all(down);
  CHECK(r.got(down) == close(up, 1000));
  CHECK(r.m.finished());
}

TEST_CASE("a late answer to a Close lets the linger begin") {
  rig r(quiet());
  r.read(down, close(down, 1000));
  r.eof(down);
  CHECK(r.at(up).fin);
  r.pass(20s);
  r.read(up, text(up, "late") + close(up, 1000));
  r.pass(4999ms);
  CHECK_FALSE(r.at(up).closed);
  r.pass(1ms);
  CHECK(r.m.finished());
}

TEST_CASE("a client's EOF in place of the answer to a Close is passed on") {
  rig r(tunnel_policy{});
  r.read(up, close(up, 1001));
  r.eof(down);
  CHECK(r.at(up).fin);
  r.eof(up);
  CHECK(r.m.finished());
  check_end(r, end_cause::closed, {}, up);
}

TEST_CASE("after EOF of one side late data of the other is delivered") {
  rig r(tunnel_policy{});
  r.read(down, text(down, "last words"));
  r.eof(down);
  CHECK(r.at(up).fin);
  CHECK(r.got(up) == text(down, "last words"));
  CHECK_FALSE(r.m.wants_read(down));
  const auto late = text(up, "late") + close(up, 1000);
  r.read(up, late);
  CHECK(r.got(down) == late);
  r.eof(up);
  CHECK(r.got(down) == late);
  CHECK(r.m.finished());
  check_end(r, end_cause::closed, {}, down);
}

TEST_CASE("an upstream that goes without a Close: the client gets 1014, then FIN; its late data passes") {
  rig r(tunnel_policy{});
  r.read(up, text(up, "last words"));
  r.eof(up);
  const auto frames = samples::read_frames(r.got(down));
  REQUIRE(frames.size() == 2);
  CHECK(frames[1].payload == close_payload(1014));
  CHECK(r.at(down).fin);
  CHECK_FALSE(r.at(up).fin);
  check_end(r, end_cause::closed, {}, up);
  r.read(down, text(down, "late") + close(down, 1014));
  CHECK(r.got(up) == text(down, "late") + close(down, 1014));
  r.pass(5s);  // the handshake with the client is complete: it only lingers
  CHECK(r.at(down).closed);
  CHECK(r.at(up).fin);
  CHECK(r.m.finished());
}

TEST_CASE("1014 goes where only a part of a header, or of a Close, had come") {
  for (const auto& part : {text(up, "Hello").substr(0, 1), close(up, 1000).substr(0, 3)}) {
    rig r(tunnel_policy{});
    r.read(up, part);
    r.eof(up);
    check_closed_with(r, down, 1014);
    CHECK(r.at(down).fin);
  }
}

TEST_CASE("an upstream that goes inside a frame leaves the client a bare FIN") {
  rig r(tunnel_policy{});
  r.read(up, text(up, "Hello").substr(0, 4));
  r.eof(up);
  CHECK(r.got(down) == text(up, "Hello").substr(0, 4));
  CHECK(r.at(down).fin);
}

TEST_CASE("an upstream that goes after the client did is no desertion") {
  rig r(tunnel_policy{});
  r.eof(down);
  r.eof(up);
  CHECK(r.got(down).empty());
  CHECK(r.m.finished());
}

TEST_CASE("an upstream that goes where frames are off, or opaque, leaves a bare FIN") {
  auto p = tunnel_policy{};
  p.frames = frames::off;
  rig r(p);
  r.eof(up);
  CHECK(r.got(down).empty());
  CHECK(r.at(down).fin);
  rig s(tunnel_policy{});
  s.read(up, bytes({0x83, 0x00}));
  s.eof(up);
  CHECK(s.got(down) == bytes({0x83, 0x00}));
  CHECK(s.at(down).fin);
}

TEST_CASE("a client that goes without a Close leaves the upstream a bare FIN, whatever was held back") {
  for (std::size_t size = 0; size != 8; ++size) {
    rig r(tunnel_policy{});
    r.read(down, text(down, "Hello").substr(0, size));
    r.eof(down);
    CHECK(r.got(up) == text(down, "Hello").substr(0, size));
    CHECK(r.at(up).fin);
  }
}

TEST_CASE("FIN waits until everything was taken") {
  rig r(tunnel_policy{});
  r.stall(down);
  r.read(up, text(up, "last words") + close(up, 1000));
  r.eof(up);
  CHECK(r.m.wants_fin(down));
  CHECK_FALSE(r.at(down).fin);
  r.take(down, 3);
  CHECK_FALSE(r.at(down).fin);
  r.take_all(down);
  CHECK(r.at(down).fin);
  CHECK(r.got(down) == text(up, "last words") + close(up, 1000));
}

TEST_CASE("a reset tells the other side: 1014 of an upstream, 1001 of a client") {
  for (const auto which : both) {
    const auto other = opposite(which);
    rig r(tunnel_policy{});
    r.broken(which);
    CHECK(r.at(which).closed);
    check_closed_with(r, other, which == up ? 1014 : 1001);
    check_end(r, end_cause::reset, reset, which);
    r.read(other, close(other, 1001));
    CHECK(r.at(other).fin);
    r.eof(other);
    CHECK(r.m.finished());
    r.broken(which);  // again, which changes nothing
    CHECK(r.got(which).empty());
  }
}

TEST_CASE("a reset inside a frame is a bare FIN at once: its end will not come") {
  rig r(tunnel_policy{});
  r.read(up, text(up, "Hello").substr(0, 4));
  r.broken(up);
  CHECK(r.at(down).fin);
  CHECK(r.got(down) == text(up, "Hello").substr(0, 4));
  rig s(tunnel_policy{});
  s.read(up, text(up, "Hello").substr(0, 4));
  s.drain(1001);
  s.broken(up);
  CHECK(s.at(down).fin);
}

TEST_CASE("nothing is listed for a side that is closed") {
  rig r(beating(20s, 10s));
  r.broken(up);
  slices out;
  const auto late = text(down, "late");
  CHECK(r.m.on_read(down, late, out, r.now) == late.size());
  CHECK(out.empty());
  r.pass(3s);
  CHECK_FALSE(r.m.has_output(up));
}

TEST_CASE("a write error: what the other side still sends is dropped, what that side still sends is read") {
  for (const auto to : both) {
    const auto other = opposite(to);
    rig r(tunnel_policy{});
    r.write_error(to);
    check_end(r, end_cause::reset, reset, to);
    r.read(other, text(other, "in vain"));
    CHECK(r.got(to).empty());
    r.read(to, text(to, "last words"));
    CHECK(r.got(other) == text(to, "last words"));
    CHECK_FALSE(r.m.has_output(to));
    r.pass(4999ms);
    CHECK_FALSE(r.at(to).closed);
    r.pass(1ms);
    CHECK(r.at(to).closed);
    const auto frames = samples::read_frames(r.got(other));
    REQUIRE(frames.size() == 2);
    CHECK(frames[1].payload == close_payload(1001));
    r.pass(10s);
    CHECK(r.m.finished());
  }
}

TEST_CASE("a write error to a side that had ended closes it") {
  rig r(tunnel_policy{});
  r.eof(down);
  r.stall(down);
  r.read(up, text(up, "late"));
  r.write_error(down);
  CHECK(r.at(down).closed);
  r.pass(10s);
  CHECK(r.m.finished());
}

TEST_CASE("a write error and then EOF of a side: it is gone, and the other is told") {
  for (const auto gone : both) {
    const auto other = opposite(gone);
    rig r(tunnel_policy{});
    r.write_error(gone);
    r.read(gone, text(gone, "Hello").substr(0, 1));
    r.eof(gone);
    CHECK(r.at(gone).closed);
    check_closed_with(r, other, gone == up ? 1014 : 1001);
    r.read(other, close(other, 1000));
    CHECK(r.at(other).fin);
    r.eof(other);
    CHECK(r.m.finished());
    check_end(r, end_cause::reset, reset, gone);
  }
}

TEST_CASE("a Close that came before the EOF of a side that takes nothing is answered before FIN") {
  rig r(tunnel_policy{});
  r.write_error(down);
  r.read(down, close(down, 1000));
  r.eof(down);
  CHECK(r.got(up) == close(down, 1000));
  CHECK_FALSE(r.at(up).fin);
  r.read(up, close(up, 1000));
  CHECK(r.at(up).fin);
  r.eof(up);
  CHECK(r.m.finished());
}

TEST_CASE("abort closes both at once, and the first cause stays") {
  rig r(tunnel_policy{});
  r.read(down, text(down, "Hello").substr(0, 8));
  r.abort();
  CHECK(r.m.finished());
  CHECK_FALSE((r.at(down).fin || r.at(up).fin));
  check_end(r, end_cause::aborted, errc::cancelled, side::local);
  rig s(tunnel_policy{});
  s.drain(1001);
  s.abort();
  CHECK(s.m.finished());
  check_end(s, end_cause::drained, {}, side::local);
}

// ---- Faults

TEST_CASE("enforced frames: a violation is Close 1002 both ways") {
  for (const auto bad : both) {
    auto p = quiet();
    p.frames = frames::enforce;
    rig r(p);
    r.read(bad, bytes({0x83, 0x80, 1, 2, 3, 4}));
    check_closed_with(r, down, 1002);
    check_closed_with(r, up, 1002);
    check_end(r, end_cause::limit, errc::bad_frame, bad);
    CHECK(r.at(bad).fin);  // no answer of it can be read
    CHECK_FALSE(r.at(opposite(bad)).fin);
    r.read(opposite(bad), close(opposite(bad), 1002));
    CHECK(r.at(opposite(bad)).fin);
    r.pass(5s);
    CHECK(r.m.finished());
  }
}

TEST_CASE("a limit: 1009 to the side that exceeded it, 1001 to the other, in both directions") {
  for (const auto bad : both) {
    for (const bool message : {false, true}) {
      auto p = quiet();
      (message ? p.limits.message : p.limits.frame) = 100;
      rig r(p);
      const auto half = raw(bad, opcode::text, std::string(51, 'x'), false);
      if (message) r.read(bad, half + raw(bad, opcode::continuation, std::string(50, 'x')));
      else r.read(bad, text(bad, std::string(101, 'x')));
      check_closed_with(r, bad, 1009);
      const auto frames = samples::read_frames(r.got(opposite(bad)));
      CHECK(frames.back().payload == close_payload(1001));
      CHECK(frames.size() == (message ? 2 : 1));
      check_end(r, end_cause::limit, message ? errc::message_too_large : errc::frame_too_large, bad);
      r.pass(10s);
      CHECK(r.m.finished());
    }
  }
}

TEST_CASE("a fault while the other direction is inside a frame waits for its end") {
  auto p = quiet();
  p.frames = frames::enforce;
  rig r(p);
  const auto frame = text(up, "Hello");
  r.read(up, frame.substr(0, 4));
  r.read(down, bytes({0x83, 0x80}));
  check_closed_with(r, up, 1002);
  CHECK(r.got(down) == frame.substr(0, 4));
  r.read(up, frame.substr(4));
  CHECK(samples::read_frames(r.got(down))[1].payload == close_payload(1002));
}

// ---- Anything, in any order

// A peer with a mind of its own: sends frames, answers pings and Closes, or does not.
struct model_peer {
  std::vector<std::string> frames{};  // what it sends, in order; the tail may be no frame
  std::string tail{};                 // what follows them: an illegal frame, or a part of one
  std::string to_send{};
  std::size_t seen = 0;  // of what it got
  bool answers = true;
  bool said_close = false;
  bool ended = false;

  void say(const std::string& frame) {
    frames.push_back(frame);
    to_send += frame;
  }
};

struct script {
  const bool patient;
  samples::dice random;
  tunnel_policy policy{};
  bool is_websocket;
  bool calm;  // nobody but the peers ends it, and nobody answers late
  model_peer peers[2];
  bool in_message[2]{};

  /// `patiently`: no timer ends a tunnel that nobody closes, but its peers close it and break more often.
  explicit script(std::uint64_t seed, bool patiently = false) : patient(patiently), random(seed) {
    is_websocket = one_in(8) ? false : true;
    calm = one_in(3);
    auto time = [&](int most) {
      return one_in(5) ? duration(0) : duration(1 + samples::roll(random, static_cast<std::size_t>(most)));
    };
    auto& t = policy.timeouts;
    policy.frames = one_in(8) ? frames::off : one_in(2) ? frames::enforce : frames::observe;
    t.boundary_wait = time(3000);
    t.close_wait = time(3000);
    t.linger = time(3000);
    if (one_in(2)) policy.heartbeat.interval = 300ms + time(5000);
    policy.heartbeat.timeout = time(8000);
    if (one_in(8)) policy.heartbeat.downstream = false;
    t.idle = t.half_close = t.send_stall = t.upstream_send_stall = 0s;
    if (calm) {
      policy.heartbeat.timeout = 0s;
      return;
    }
    t.idle = time(60000);
    t.half_close = time(20000);
    t.send_stall = time(20000);
    t.upstream_send_stall = time(20000);
    if (patient) {
      t.idle = t.half_close = t.send_stall = t.upstream_send_stall = policy.heartbeat.timeout = 0s;
      return;
    }
    if (one_in(4)) t.max_lifetime = time(100000);
    t.max_lifetime_jitter = one_in(2) ? 0.5 : 0;
    if (one_in(4)) policy.limits.frame = 90;
    if (one_in(4)) policy.limits.message = 150;
  }

  bool one_in(std::size_t n) { return samples::roll(random, n) == 0; }
  side any_side() { return one_in(2) ? down : up; }
  model_peer& at(side s) { return peers[index(s)]; }

  void think(rig& r, side s);
  void listen(rig& r, side s);
  void speak(rig& r, side s);
  void disturb(rig& r);
  void run();
  void settle_all(rig& r);
  void check(rig& r, side to);
};

// It invents something to send.
void script::think(rig&, side s) {
  auto& p = at(s);
  if (p.said_close || !p.tail.empty() || p.ended) return;
  if (one_in(60)) {
    p.tail = raw(s, opcode::text, std::string(20, 't')).substr(0, 1 + samples::roll(random, 20));
    if (one_in(2)) p.tail[0] = static_cast<char>(0xb5);
    p.to_send += p.tail;
  } else if (one_in(patient ? 8 : 40)) {
    p.say(one_in(4) ? raw(s, opcode::close) : close(s, 1000));
    p.said_close = true;
  } else {
    auto frame = samples::random_frame(random, sender_of(s), in_message[index(s)]);
    if (frame.payload.size() > 300) frame.payload.resize(300);
    p.say(frame.raw());
  }
}

// It reads the whole frames that reached it.
void script::listen(rig& r, side s) {
  auto& p = at(s);
  while (p.answers) {
    const auto one = samples::read_frame(std::string_view(r.got(s)).substr(p.seen));
    if (!one) return;
    p.seen += one->size;
    if (p.said_close || !p.tail.empty() || p.ended) continue;
    const auto mask = s == down ? std::optional(static_cast<std::uint32_t>(random())) : std::nullopt;
    if (one->frame.code == opcode::ping)
      p.say(sample{.code = opcode::pong, .payload = one->frame.payload, .mask = mask}.raw());
    if (one->frame.code == opcode::close) {
      p.say(sample{.code = opcode::close, .payload = one->frame.payload.substr(0, 2), .mask = mask}.raw());
      p.said_close = true;
    }
  }
}

// Some of what it has to send is read, if anybody reads.
void script::speak(rig& r, side s) {
  auto& p = at(s);
  if (p.ended || !r.m.wants_read(s) || !r.at(opposite(s)).waiting.empty()) return;
  if (p.to_send.empty()) {
    if (p.said_close || !p.tail.empty() || r.at(s).fin || one_in(10)) {
      p.ended = true;
      r.eof(s);
    }
    return;
  }
  const auto size = one_in(3) ? p.to_send.size() : std::min(p.to_send.size(), 1 + samples::roll(random, 12));
  r.read(s, std::string_view(p.to_send).substr(0, size));
  p.to_send.erase(0, size);
}

void script::disturb(rig& r) {
  const auto s = any_side();
  if (patient && one_in(2) && !r.at(s).closed) return r.write_error(s);
  switch (samples::roll(random, 12)) {
  case 0: r.drain(one_in(4) ? 0 : 1012, "moved"); break;
  case 1:
    if (one_in(4)) r.abort();
    break;
  case 2:
    if (!r.at(s).closed && !at(s).ended) r.broken(s);
    break;
  case 3:
    if (!r.at(s).closed) r.write_error(s);
    break;
  case 4: at(s).answers = false; break;
  default: break;
  }
}

void script::run() {
  rig r(policy, is_websocket, random());
  for (std::size_t step = 0; step != 120 && !r.m.finished(); ++step) {
    const auto s = any_side();
    switch (samples::roll(random, 8)) {
    case 0:
    case 1: think(r, s); break;
    case 2:
    case 3: speak(r, s); break;
    case 4: listen(r, s); break;
    case 5: r.pass(duration(samples::roll(random, one_in(4) ? 10000 : 500))); break;
    case 6:
      if (r.at(s).takes) r.stall(s);
      else r.take(s, one_in(2) ? 7 : 100000);
      break;
    case 7:
      if (!calm && one_in(6)) disturb(r);
      break;
    }
  }
  settle_all(r);
  for (const auto s : both) check(r, s);
}

// Everybody does all they can until the tunnel is over.
void script::settle_all(rig& r) {
  for (int round = 0; round != 2000 && !r.m.finished(); ++round) {
    for (const auto s : both) {
      r.take_all(s);
      listen(r, s);
      if (round > 100 && !at(s).ended && at(s).to_send.empty() && r.m.wants_read(s)) {
        at(s).ended = true;
        r.eof(s);
      }
      speak(r, s);
    }
    r.pass(100ms);
  }
  REQUIRE(r.m.finished());
}

// What a side got is what the other sent, up to some point, with frames of ours only between frames, and
// nothing after a Close of ours; only echoes of our pings are missing.
struct explanation {
  const model_peer& source;
  std::set<std::string> our_pings;  // to the source: their payloads
  side to;
  bool cut;        // the last frame, ours too, may be cut off
  bool all_of_it;  // everything must have come

  std::set<std::pair<std::size_t, std::size_t>> refuted{};  // bytes left and frames gone that lead nowhere

  bool explains(std::string_view out, std::size_t next) {
    if (refuted.contains({out.size(), next})) return false;
    const bool found = try_all(out, next);
    if (!found) refuted.insert({out.size(), next});
    return found;
  }
  bool try_all(std::string_view out, std::size_t next) {
    const bool more = next != source.frames.size();
    const std::string_view expected = more ? source.frames[next] : source.tail;
    if (more && out.starts_with(expected) && explains(out.substr(expected.size()), next + 1)) return true;
    if (more && is_our_echo(expected) && explains(out, next + 1)) return true;
    if (all_of_it ? !more && out == expected : expected.starts_with(out)) return true;
    const auto ours = samples::read_frame(out);
    if (!ours && cut) return out.starts_with('\x88') || out.starts_with('\x89');
    if (!ours || !ours->frame.fin || ours->frame.rsv != 0 || ours->frame.mask.has_value() != (to == up))
      return false;
    const auto rest = out.substr(ours->size);
    // With a Close in its place, a tail that is less than a header is given up.
    if (ours->frame.code == opcode::close) return rest.empty() && (!all_of_it || (!more && to == down));
    return ours->frame.code == opcode::ping && ours->frame.payload.size() == 8 && explains(rest, next);
  }
  bool is_our_echo(std::string_view frame) const {
    const auto pong = samples::read_frame(frame)->frame;
    return pong.code == opcode::pong && our_pings.contains(pong.payload);
  }
};

std::string hex(std::string_view text) {
  std::string digits;
  for (const char c : text)
    for (const int shift : {4, 0}) digits += "0123456789abcdef"[static_cast<unsigned char>(c) >> shift & 15];
  return digits;
}

void script::check(rig& r, side to) {
  const auto& source = at(opposite(to));
  explanation e{.source = source, .our_pings = {}, .to = to, .cut = r.at(to).cut, .all_of_it = false};
  for (std::string_view text = r.got(opposite(to)); const auto one = samples::read_frame(text);) {
    const std::string frame(text.substr(0, one->size));
    const bool theirs = std::find(at(to).frames.begin(), at(to).frames.end(), frame) != at(to).frames.end();
    if (one->frame.code == opcode::ping && !theirs) e.our_pings.insert(one->frame.payload);
    text.remove_prefix(one->size);
  }
  const bool opaque = !is_websocket || (policy.frames == frames::off && policy.heartbeat.interval == 0s &&
                                        policy.limits.frame == 0 && policy.limits.message == 0);
  if (opaque) {
    std::string sent;
    for (const auto& frame : source.frames) sent += frame;
    REQUIRE((sent + source.tail).starts_with(r.got(to)));
  }
  std::string said;
  for (const auto& frame : source.frames) said += hex(frame) + " | ";
  INFO("said: " << said << hex(source.tail) << "\ngot: " << hex(r.got(to)));
  REQUIRE(e.explains(r.got(to), 0));
  e.refuted.clear();
  e.all_of_it = calm && policy.frames != frames::enforce && source.ended && source.to_send.empty() && !e.cut;
  if (e.all_of_it) REQUIRE(e.explains(r.got(to), 0));
}

TEST_CASE("whatever happens, frames stay whole, the end comes, and no timer spins") {
  samples::for_seeds(8000, [](std::uint64_t seed) { script(seed).run(); });
  samples::for_seeds(8000, [](std::uint64_t seed) { script(seed, true).run(); });
}

}  // namespace
}  // namespace wsproxy::detail
