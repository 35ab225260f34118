#include <wsproxy/proxy/tunnel.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <atomic>

#include "tests/support/gateway.hpp"

using namespace test;
using wsproxy::end_cause;
using wsproxy::errc;
using wsproxy::side;
using wsproxy::stage;

namespace {

// Times so short that the end of a tunnel is not waited for.
wsproxy::timeouts brief() { return {.boundary_wait = 100ms, .close_wait = 100ms, .linger = 100ms}; }

wsproxy::timeouts brief(auto change) {
  auto times = brief();
  change(times);
  return times;
}

void check_counts(proxy& p, int expected) {
  CHECK(p.established == expected);
  CHECK(p.closed == expected);
  CHECK(eventually([&] { return p.server().stats().tunnels == 0; }));
  CHECK(p.to.backends().front()->active() == 0);
}

std::string numbers(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i != size; ++i) out[i] = static_cast<char>(i * 2654435761u >> 13);
  return out;
}

}  // namespace

// ---- Frames pass.

TEST_CASE("frames of every size pass unchanged in both directions") {
  const auto size = GENERATE(as<std::size_t>{}, 0, 1, 125, 126, 127, 65535, 65536, 1'000'000);
  proxy p;
  auto t = p.open();
  const auto payload = numbers(size);
  for (const bool fin : {false, true}) {
    const auto up = client_frame(fin ? continuation : binary, payload, fin);
    const auto down = server_frame(fin ? continuation : binary, payload, fin);
    std::thread sender([&] {
      t.client.send(up);
      t.backend.send(down);
    });
    const bool up_same = t.backend.read(up.size()) == up;
    const bool down_same = t.client.read(down.size()) == down;
    sender.join();
    CHECK(up_same);
    CHECK(down_same);
  }
}

TEST_CASE("a Close handshake ends the tunnel without a timer, and the result has its codes") {
  proxy p({.how = with_timeouts({.idle = 1h, .half_close = 1h, .close_wait = 1h, .linger = 1h})});
  auto t = p.open();
  t.client.send(client_frame(text, "bye") + client_frame(close_frame, close_payload(1000, "done")));
  CHECK(read_frame(t.backend).payload == "bye");
  CHECK(close_code(read_frame(t.backend)) == 1000);
  t.backend.send(server_frame(close_frame, close_payload(1000)));
  t.backend.shutdown_send();  // RFC 6455 section 7.1.1: the server closes first
  CHECK(close_code(read_frame(t.client)) == 1000);
  CHECK(t.client.read_some().empty());
  t.client.close();
  CHECK(t.backend.end() == ending::fin);
  const auto result = p.result();
  CHECK_FALSE(result.error);
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == side::downstream);
  CHECK(result.at == stage::tunnel);
  CHECK(result.status == 101);
  CHECK(result.from_client.close_code == 1000);
  CHECK(result.from_upstream.close_code == 1000);
  CHECK(result.from_client.frames == 2);
  CHECK(result.from_client.messages == 1);
  CHECK(result.from_client.bytes == client_frame(text, "bye").size() + 12);
  check_counts(p, 1);
}

// ---- Half-close.

TEST_CASE("behind a client's FIN the backend's data still arrive") {
  proxy p;
  auto t = p.open();
  t.client.send(client_frame(text, "all I have"));
  t.client.shutdown_send();
  CHECK(read_frame(t.backend).payload == "all I have");
  CHECK(t.backend.read_some().empty());
  const auto payload = numbers(3'000'000);
  std::thread sender([&] {
    t.backend.send(server_frame(binary, payload));
    t.backend.send(server_frame(close_frame, close_payload(1000)));
    t.backend.shutdown_send();
  });
  const bool same = read_frame(t.client).payload == payload;
  CHECK(same);
  CHECK(close_code(read_frame(t.client)) == 1000);
  CHECK(t.client.read_some().empty());
  sender.join();
  const auto result = p.result();
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == side::downstream);
  CHECK_FALSE(result.error);
  check_counts(p, 1);
}

TEST_CASE("behind a backend's FIN the client's data still arrive") {
  proxy p;
  auto t = p.open();
  t.backend.send(server_frame(close_frame, close_payload(1001)));
  t.backend.shutdown_send();
  CHECK(close_code(read_frame(t.client)) == 1001);
  CHECK(t.client.read_some().empty());
  t.client.send(client_frame(text, "late") + client_frame(close_frame, close_payload(1001)));
  CHECK(read_frame(t.backend).payload == "late");
  CHECK(close_code(read_frame(t.backend)) == 1001);
  t.client.close();
  CHECK(t.backend.end() == ending::fin);
  const auto result = p.result();
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == side::upstream);
  CHECK(result.from_upstream.close_code == 1001);
  check_counts(p, 1);
}

TEST_CASE("a backend that goes without a Close leaves the client with 1014") {
  proxy p;
  auto t = p.open();
  t.backend.send(server_frame(text, "x"));
  t.backend.close();
  CHECK(read_frame(t.client).payload == "x");
  CHECK(close_code(read_frame(t.client)) == 1014);
  CHECK(t.client.read_some().empty());
  t.client.close();
  CHECK(p.result().who == side::upstream);
}

TEST_CASE("a backend that goes inside a frame gets no Close put into it") {
  proxy p;
  auto t = p.open();
  const auto half = server_frame(text, "0123456789").substr(0, 7);
  t.backend.send(half);
  t.backend.close();
  CHECK(t.client.read_all() == half);
  t.client.close();
  CHECK(p.result().who == side::upstream);
}

TEST_CASE("after one side's FIN a silent other side is waited for as long as half_close") {
  proxy p({.how = with_timeouts(brief([](auto& t) { t.half_close = 150ms; }))});
  auto t = p.open();
  const bool client_first = GENERATE(true, false);
  auto& first = client_first ? t.client : t.backend;
  auto& silent = client_first ? t.backend : t.client;
  const auto begin = clock::now();
  first.shutdown_send();
  if (!client_first) read_frame(silent);  // 1014
  CHECK(silent.read_some().empty());
  const auto result = p.result();
  CHECK(clock::now() - begin >= 150ms);
  CHECK(result.error == errc::half_close_timeout);
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == (client_first ? side::downstream : side::upstream));
  check_counts(p, 1);
}

// ---- Resets.

TEST_CASE("a reset of either side ends the other with a Close") {
  proxy p({.how = with_timeouts(brief())});
  auto t = p.open();
  const bool client_resets = GENERATE(true, false);
  auto& resets = client_resets ? t.client : t.backend;
  auto& left = client_resets ? t.backend : t.client;
  resets.reset();
  CHECK(close_code(read_frame(left)) == (client_resets ? 1001 : 1014));
  left.close();
  const auto result = p.result();
  CHECK(result.cause == end_cause::reset);
  CHECK(result.who == (client_resets ? side::downstream : side::upstream));
  CHECK(result.error == std::errc::connection_reset);
  CHECK(result.at == stage::tunnel);
  check_counts(p, 1);
}

TEST_CASE("a reset inside a frame ends the other side without a Close in its payload") {
  proxy p({.how = with_timeouts(brief())});
  auto t = p.open();
  const bool client_resets = GENERATE(true, false);
  auto& resets = client_resets ? t.client : t.backend;
  auto& left = client_resets ? t.backend : t.client;
  const auto half =
      (client_resets ? client_frame(text, "0123456789") : server_frame(text, "0123456789")).substr(0, 8);
  resets.send(half);
  CHECK(left.read(half.size()) == half);
  resets.reset();
  CHECK(left.read_all().empty());
  left.close();
  CHECK(p.result().cause == end_cause::reset);
}

TEST_CASE("a reset behind the other side's FIN ends the tunnel") {
  proxy p({.how = with_timeouts(brief())});
  auto t = p.open();
  const bool client_first = GENERATE(true, false);
  auto& first = client_first ? t.client : t.backend;
  auto& second = client_first ? t.backend : t.client;
  first.shutdown_send();
  if (!client_first) read_frame(second);
  CHECK(second.read_some().empty());
  second.reset();
  first.end();
  p.result();
  check_counts(p, 1);
}

TEST_CASE("a reset while the other side's data are stuck ends the tunnel") {
  proxy p({.how = with_timeouts(brief())});
  auto t = p.open();
  const bool client_resets = GENERATE(true, false);
  auto& resets = client_resets ? t.client : t.backend;
  auto& sends = client_resets ? t.backend : t.client;
  sends.send(frame_header(binary, 1ull << 40, !client_resets) + (client_resets ? "" : "mask"));
  get_stuck(sends, client_resets ? side::upstream : side::downstream, p.sessions.take());
  resets.reset();
  sends.end();
  const auto result = p.result();
  CHECK(result.cause == end_cause::reset);
  CHECK(result.who == (client_resets ? side::downstream : side::upstream));
  check_counts(p, 1);
}

// ---- Timers.

TEST_CASE("a tunnel on which nobody sends ends after idle") {
  proxy p({.how = with_timeouts(brief([](auto& t) { t.idle = 150ms; }))});
  auto t = p.open();
  const auto result = p.result();
  CHECK(result.ended - result.established >= 150ms);
  CHECK(result.error == errc::idle_timeout);
  CHECK(result.cause == end_cause::timeout);
  CHECK(result.who == side::local);
  CHECK(t.client.end() == ending::fin);
  CHECK(t.backend.end() == ending::fin);
  check_counts(p, 1);
}

TEST_CASE("a peer that takes nothing ends the tunnel after send_stall") {
  const bool client_stalls = GENERATE(true, false);
  proxy p({.how = with_timeouts(
               brief([](auto& t) { t.send_stall = t.upstream_send_stall = 300ms, t.idle = 0ms; }))});
  auto t = p.open();
  auto& sends = client_stalls ? t.backend : t.client;
  sends.send(frame_header(binary, 1ull << 40, !client_stalls) + (client_stalls ? "" : "mask"));
  sends.flood();
  const auto result = p.result();
  CHECK(result.error == errc::send_stall_timeout);
  CHECK(result.who == (client_stalls ? side::downstream : side::upstream));
  CHECK(result.ended - result.established >= 300ms);
  check_counts(p, 1);
}

TEST_CASE("max_lifetime drains with 1001") {
  proxy p({.how = with_timeouts(brief([](auto& t) { t.max_lifetime = 150ms; }))});
  auto t = p.open();
  CHECK(close_code(read_frame(t.client)) == 1001);
  CHECK(close_code(read_frame(t.backend)) == 1001);
  t.client.send(client_frame(close_frame, close_payload(1001)));
  t.backend.send(server_frame(close_frame, close_payload(1001)));
  t.client.end();
  t.backend.end();
  t.client.close();
  t.backend.close();
  const auto result = p.result();
  CHECK(result.ended - result.established >= 150ms);
  CHECK(result.cause == end_cause::drained);
  CHECK(result.error == errc::lifetime_reached);
  check_counts(p, 1);
}

// ---- Heartbeat.

TEST_CASE("of equal pongs only the first, which answers our ping, is swallowed") {
  const bool to_client = GENERATE(true, false);
  proxy p({.how = {.tunnel = {.timeouts = brief(),
                              .heartbeat = {.interval = 100ms,
                                            .timeout = 20s,
                                            .downstream = to_client,
                                            .upstream = !to_client}}}});
  auto t = p.open();
  auto& pinged = to_client ? t.client : t.backend;
  auto& other = to_client ? t.backend : t.client;
  const auto make = [&](unsigned code, const std::string& payload) {
    return to_client ? client_frame(code, payload) : server_frame(code, payload);
  };
  const auto ours = read_frame(pinged);
  CHECK(ours.code == ping);
  CHECK(ours.masked == !to_client);
  // Its own ping with the very same payload passes, and so does the second pong.
  pinged.send(make(ping, ours.payload) + make(pong, ours.payload) + make(text, "between") +
              make(pong, ours.payload));
  CHECK(read_frame(other).bytes == make(ping, ours.payload));
  CHECK(read_frame(other).bytes == make(text, "between"));
  CHECK(read_frame(other).bytes == make(pong, ours.payload));
  // And the other side's pong of that payload passes too: it was never asked.
  const auto answer = to_client ? server_frame(pong, ours.payload) : client_frame(pong, ours.payload);
  other.send(answer);
  for (auto frame = read_frame(pinged);; frame = read_frame(pinged)) {
    if (frame.code == ping) continue;  // the next of ours
    CHECK(frame.bytes == answer);
    break;
  }
}

TEST_CASE("pongs in single bytes are swallowed too") {
  proxy p({.how = {.tunnel = {.timeouts = brief(),
                              .heartbeat = {.interval = 100ms, .timeout = 20s, .upstream = false}}}});
  auto t = p.open();
  const auto ours = read_frame(t.client);
  for (const char c : client_frame(pong, ours.payload)) {
    t.client.send({&c, 1});
    p.settle(3);
  }
  t.client.send(client_frame(text, "x"));
  CHECK(read_frame(t.backend).bytes == client_frame(text, "x"));
}

TEST_CASE("a side that answers no ping is dead, and the other one is told") {
  const bool client_dead = GENERATE(true, false);
  proxy p({.how = {.tunnel = {.timeouts = brief(),
                              .heartbeat = {.interval = 100ms,
                                            .timeout = 150ms,
                                            .downstream = client_dead,
                                            .upstream = !client_dead}}}});
  auto t = p.open();
  auto& dead = client_dead ? t.client : t.backend;
  auto& left = client_dead ? t.backend : t.client;
  CHECK(read_frame(dead).code == ping);
  CHECK(close_code(read_frame(left)) == 1001);
  left.close();
  const auto result = p.result();
  CHECK(result.ended - result.established >= 250ms);
  CHECK(result.error == errc::heartbeat_timeout);
  CHECK(result.cause == end_cause::timeout);
  CHECK(result.who == (client_dead ? side::downstream : side::upstream));
  check_counts(p, 1);
}

// ---- Drain.

TEST_CASE("draining sends a Close to both sides and waits for theirs") {
  proxy p({.how = with_timeouts({})});
  auto t = p.open();
  const auto session = p.sessions.take();
  CHECK(session.alive());
  session.drain({.code = 1012, .reason = "restart"});
  for (auto* end : {&t.client, &t.backend}) {
    const auto frame = read_frame(*end);
    CHECK(close_code(frame) == 1012);
    CHECK(frame.payload.substr(2) == "restart");
    CHECK(frame.masked == (end == &t.backend));
  }
  t.client.send(client_frame(close_frame, close_payload(1012)));
  t.backend.send(server_frame(close_frame, close_payload(1012)));
  CHECK(t.client.read_all().empty());  // the answers are not passed on: both have had their Close
  CHECK(t.backend.read_all().empty());
  t.client.close();
  t.backend.close();
  const auto result = p.result();
  CHECK(result.cause == end_cause::drained);
  CHECK_FALSE(result.error);
  CHECK(result.who == side::local);
  CHECK(eventually([&] { return !session.alive(); }));
  session.drain();
  session.abort();
  check_counts(p, 1);
}

TEST_CASE("a drain while a frame of a mebibyte is on its way waits for that frame's end") {
  const bool from_client = GENERATE(true, false);
  proxy p({.how = with_timeouts({.boundary_wait = 20s})});
  auto t = p.open();
  auto& sends = from_client ? t.client : t.backend;
  auto& reads = from_client ? t.backend : t.client;
  const auto payload = numbers(1 << 20);
  const auto frame = from_client ? client_frame(binary, payload) : server_frame(binary, payload);
  const auto half = frame.size() / 2;
  std::thread first([&] { sends.send(std::string_view(frame).substr(0, half)); });
  const auto begun = reads.read(half);
  first.join();
  p.sessions.take().drain();
  CHECK(close_code(read_frame(sends)) == 1001);  // that direction stands at a boundary
  p.settle();
  CHECK_FALSE(reads.readable(0ms));
  std::thread second([&] { sends.send(std::string_view(frame).substr(half)); });
  const bool same = begun + reads.read(frame.size() - half) == frame;
  second.join();
  CHECK(same);
  CHECK(close_code(read_frame(reads)) == 1001);
  t.client.send(client_frame(close_frame, close_payload(1001)));
  t.backend.send(server_frame(close_frame, close_payload(1001)));
  t.client.end();
  t.backend.end();
  t.client.close();
  t.backend.close();
  CHECK(p.result().cause == end_cause::drained);
}

TEST_CASE("a drain inside a frame that never ends is a bare FIN after boundary_wait") {
  proxy p({.how = with_timeouts({.boundary_wait = 150ms, .close_wait = 100ms, .linger = 100ms})});
  auto t = p.open();
  const auto half = server_frame(text, "0123456789").substr(0, 6);
  t.backend.send(half);
  CHECK(t.client.read(half.size()) == half);
  const auto begin = clock::now();
  p.sessions.take().drain();
  CHECK(t.client.read_all().empty());
  CHECK(clock::now() - begin >= 150ms);
  t.client.close();
  CHECK(p.result().cause == end_cause::drained);
}

TEST_CASE("drained sides that do not answer are closed after close_wait and linger") {
  proxy p({.how = with_timeouts({.boundary_wait = 100ms, .close_wait = 100ms, .linger = 150ms})});
  auto t = p.open();
  const auto begin = clock::now();
  p.sessions.take().drain();
  CHECK(close_code(read_frame(t.client)) == 1001);
  CHECK(t.client.read_some().empty());
  CHECK(clock::now() - begin >= 100ms);
  CHECK(p.result().cause == end_cause::drained);
  CHECK(clock::now() - begin >= 250ms);
  check_counts(p, 1);
}

TEST_CASE("an abort closes both sides at once") {
  proxy p;
  auto t = p.open();
  p.sessions.take().abort();
  CHECK(t.client.read_all().empty());
  CHECK(t.backend.read_all().empty());
  const auto result = p.result();
  CHECK(result.cause == end_cause::aborted);
  CHECK(result.error == errc::cancelled);
  CHECK(result.who == side::local);
  check_counts(p, 1);
}

// ---- Rules for frames.

TEST_CASE("an illegal frame passes when observing and ends both sides with 1002 when enforcing") {
  const auto mode = GENERATE(wsproxy::frames::observe, wsproxy::frames::enforce);
  proxy p({.how = {.tunnel = {.timeouts = brief(), .frames = mode}}});
  auto t = p.open();
  const auto unmasked = server_frame(text, "no mask");
  t.client.send(client_frame(text, "fine") + unmasked);
  CHECK(read_frame(t.backend).payload == "fine");
  if (mode == wsproxy::frames::observe) {
    CHECK(t.backend.read(unmasked.size()) == unmasked);
    t.client.close();
    CHECK(t.backend.read_all().empty());
    t.backend.close();
    CHECK(p.result().cause == end_cause::closed);
  } else {
    CHECK(close_code(read_frame(t.backend)) == 1002);
    CHECK(close_code(read_frame(t.client)) == 1002);
    t.client.close();
    t.backend.close();
    const auto result = p.result();
    CHECK(result.cause == end_cause::limit);
    CHECK(result.error == errc::bad_frame);
    CHECK(result.who == side::downstream);
  }
}

TEST_CASE("a message over the limit is answered 1009, and the other side gets 1001") {
  proxy p({.how = {.tunnel = {.timeouts = brief(), .limits = {.message = 10}}}});
  auto t = p.open();
  t.backend.send(server_frame(text, "012345", false) + server_frame(continuation, "678901"));
  CHECK(read_frame(t.client).payload == "012345");
  CHECK(close_code(read_frame(t.client)) == 1001);
  CHECK(close_code(read_frame(t.backend)) == 1009);
  t.client.close();
  t.backend.close();
  const auto result = p.result();
  CHECK(result.error == errc::message_too_large);
  CHECK(result.who == side::upstream);
}

// ---- Accounts.

TEST_CASE("every established tunnel is closed once, however it ends") {
  const int count = static_cast<int>(200 / scale()) + 8;
  proxy p({.how = with_timeouts(brief([](auto& t) { t.half_close = 100ms; }))});
  std::vector<proxy::tunnel> tunnels;
  for (int i = 0; i != count; ++i) tunnels.push_back(p.open());
  for (int i = 0; i != count; ++i) {
    auto& t = tunnels[static_cast<std::size_t>(i)];
    const auto session = p.sessions.take();
    switch (i % 8) {
    case 0: t.client.reset(); break;
    case 1: t.backend.reset(); break;
    case 2: t.client.close(); break;
    case 3: t.backend.close(); break;
    case 4: session.drain(); break;
    case 5: session.abort(); break;
    case 6: t.client.shutdown_send(); break;
    case 7:
      t.client.send("\x81");
      t.client.reset();
      t.backend.reset();
      break;
    }
  }
  for (int i = 0; i != count; ++i) p.result();
  check_counts(p, count);
  CHECK(p.results.size() == 0);
}

TEST_CASE("handles tell what their tunnel does") {
  proxy p;
  auto t = p.open();
  const auto session = p.sessions.take();
  CHECK(session.id() != 0);
  CHECK(session.client() == "127.0.0.1");
  CHECK(session.backend()->name() == p.backend.name());
  t.client.send(client_frame(text, "12345"));
  read_frame(t.backend);
  t.backend.send(server_frame(text, "1234567"));
  read_frame(t.client);
  CHECK(eventually(
      [&] { return session.stats().from_client.bytes == 11 && session.stats().from_upstream.bytes == 9; }));
  CHECK(session.stats().from_client.last_heard >= session.established());
  CHECK(p.server().stats().tunnels == 1);
}
