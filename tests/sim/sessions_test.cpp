// Many tunnels at once, seen from outside: the registry, drains over a window, numbers.
#include <wsproxy/proxy/session_registry.hpp>

#include <algorithm>
#include <array>

#include <catch2/catch_test_macros.hpp>

#include <wsproxy/proxy/forward.hpp>

#include "bench.hpp"
#include "clients.hpp"

using namespace sim;
using namespace wsproxy;

namespace {

constexpr auto client = frame_sender::client;
constexpr auto server = frame_sender::server;

struct crowd : clients {
  crowd() : clients({"b1:1000", "b2:1000"}, nullptr) { how = route::make(); }
};

}  // namespace

TEST_CASE("A registry counts, lists and finds tunnels from their 101 to their end") {
  crowd c;
  CHECK(c.live.count() == 0);
  c.open(100);
  CHECK(c.live.count() == 100);
  const auto sessions = c.live.sessions();
  REQUIRE(sessions.size() == 100);
  CHECK(std::ranges::is_sorted(sessions, {}, [](const auto& each) { return each.id(); }));
  for (const auto& each : sessions) {
    CHECK(c.live.find(each.id()) == each);
    CHECK(each.client().starts_with("192.0.2."));
    CHECK(each.route() == route::make());
    CHECK(each.established() > time_point());
  }
  CHECK(c.live.find(sessions.back().id() + 1).id() == 0);
  CHECK(session_registry().find(sessions.front().id()).id() == 0);

  sessions[7].abort();
  c.all[20].who->reset();
  c.w.run_for(20s);
  CHECK(c.live.count() == 98);
  CHECK(c.live.find(sessions[7].id()).id() == 0);
  CHECK_FALSE(sessions[7].alive());
  CHECK(sessions[7].client() != "");  // what it was is still known
}

TEST_CASE("A tunnel that goes with its context leaves the registry, and a drain that waits for it") {
  crowd c;
  c.open(3);
  bool done = false;
  const auto watch = c.live.drain({.spread = 10s}, [&] { done = true; });
  CHECK(watch.progress().left() == 3);
  c.w.destroy_context();
  CHECK(c.live.count() == 0);
  CHECK(watch.progress().ended == 3);
  CHECK_FALSE(done);
}

TEST_CASE("The tunnels of one backend are drained evenly over the window, and it is seen how far that is") {
  crowd c;
  c.open(200);
  const auto old = c.group.backends().front();
  const auto of_old = [&](const session_handle& each) { return each.backend() == old; };
  const auto begun = c.w.now();
  int done = 0;
  const auto watch =
      c.live.drain_if(of_old, {.spread = 5s, .code = 1012, .reason = "moved"}, [&] { ++done; });
  CHECK(watch.progress().matched == 100);
  CHECK(watch.progress().left() == 100);
  c.w.run_until(begun + 2500ms);
  CHECK(watch.progress().drained >= 48);
  CHECK(watch.progress().drained <= 51);
  CHECK(done == 0);
  c.w.run_until(begun + 6s);
  CHECK(watch.progress().drained == 100);
  CHECK(watch.progress().left() == 0);
  CHECK(done == 1);
  CHECK(c.live.count() == 100);

  std::array<int, 10> tenths{};
  std::size_t in_step = 0;
  for (const auto& each : c.all) {
    if (!each.result) continue;
    CHECK(each.result->cause == end_cause::drained);
    CHECK(each.result->who == side::local);
    CHECK_FALSE(each.result->error);
    CHECK(each.result->backend == old);
    CHECK(each.close_code == 1012);
    const auto after = each.closed_at - begun;
    ++tenths.at(static_cast<std::size_t>(after / 500ms));
    in_step += after % 50ms == 1ms;  // where it would be without jitter
  }
  for (const int each : tenths) {
    CHECK(each >= 9);
    CHECK(each <= 11);
  }
  CHECK(in_step < 20);
}

TEST_CASE("A deadline cuts what a drain has not ended") {
  crowd c;
  c.answer = false;
  c.open(10);
  int done = 0;
  const auto begun = c.w.now();
  const auto watch = c.live.drain({.deadline = 3s, .spread = 6s}, [&] { ++done; });
  c.w.run_until(begun + 3s);
  CHECK(c.ended() == 10);
  CHECK(done == 1);
  CHECK(watch.progress().drained == 0);
  CHECK(watch.progress().ended == 10);
  // Those that had no Close yet were aborted; the others were drained and cut.
  for (const auto& each : c.all) {
    const bool told = each.close_code.has_value();
    CHECK(each.result->cause == (told ? end_cause::drained : end_cause::aborted));
  }
}

TEST_CASE("Of two drains the earlier Close is sent, both see the end, and a drain of none is done at once") {
  crowd c;
  c.open(1);
  int done = 0;
  const auto begun = c.w.now();
  const auto late = c.live.drain({.spread = 100min, .code = 1012}, [&] { done += 1; });
  const auto soon = c.live.drain({.code = 4000}, [&] { done += 10; });
  c.w.run_until(begun + 1s);
  CHECK(c.all[0].close_code == 4000);
  CHECK(late.progress().drained == 1);
  CHECK(soon.progress().drained == 1);
  CHECK(done == 11);
  c.live.drain({}, [&] { done += 100; });
  CHECK(done == 111);
}

TEST_CASE("Chosen sessions are closed with a code of the host's, and the result says that it was so") {
  crowd c;
  c.open(4);
  CHECK(c.live.close_if([](const session_handle& each) { return each.client() == "192.0.2.2"; }, 1008,
                        "expired") == 1);
  c.w.run_for(1s);
  CHECK(c.live.count() == 3);
  const auto& closed = c.all[1];
  REQUIRE(closed.result);
  CHECK(closed.close_code == 1008);
  CHECK(closed.result->cause == end_cause::closed);
  CHECK(closed.result->who == side::local);
}

namespace {

// What an observer is told, in order.
struct witness final : observer {
  std::vector<std::string> said{};
  void established(const session_handle& session) override {
    said.push_back("established " + session.client());
    CHECK(session.alive());
  }
  void refused(const forward_result& result) override {
    said.push_back("refused " + std::to_string(result.status) + " " + std::string(to_string(result.cause)));
  }
  void closed(const session_handle& session, const forward_result& result) override {
    said.push_back("closed " + session.client() + " " + std::string(to_string(result.cause)) + " by " +
                   std::string(to_string(result.who)));
    CHECK_FALSE(session.alive());
  }
  void stalled(const session_handle& session, side which, std::size_t parked) override {
    said.push_back("stalled " + session.client() + " " + std::string(to_string(which)));
    CHECK(parked > 0);
    CHECK(session.stats().from_upstream.parked == parked);
  }
};

using strings = std::vector<std::string>;

}  // namespace

TEST_CASE("An observer is told of a tunnel's beginning and end, and of handshakes that come to nothing") {
  const auto watch = std::make_shared<witness>();
  {
    bench b;
    b.how.watch = watch;
    b.watch_session = false;
    b.b1().on_accept = websocket_backend();
    b.start();
    b.w.run_for(1s);
    CHECK(watch->said == strings{"established 192.0.2.1"});
    b.client->send(close_frame(1000, client));
    b.client->fin();
    b.w.run_for(1s);
    b.backend().send(close_frame(1000, server));
    b.backend().fin();
    b.w.run();
    CHECK(watch->said == strings{"established 192.0.2.1", "closed 192.0.2.1 closed by downstream"});
    CHECK(b.faults() == strings{});
  }
  watch->said.clear();
  struct {
    std::string request;
    std::function<void(peer&)> backend;
    strings told;
  } const cases[] = {
      {websocket_request(), answering_with(make_response(403, "no")), {"refused 403 complete"}},
      {websocket_request(), {}, {"refused 502 failed"}},
      {"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: "
       "13\r\n\r\n",
       {},
       {"refused 400 refused"}},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", answering_with(make_response(200, "page")), {}},
  };
  for (const auto& each : cases) {
    bench b;
    b.how.watch = watch;
    b.request = each.request;
    if (each.backend) b.b1().on_accept = each.backend;
    else b.b1().does = listener::kind::refuses;
    b.run();
    CHECK(std::exchange(watch->said, {}) == each.told);
  }
}

TEST_CASE(
    "A side that does not take its bytes is slow: told, and closed with 1013 where the policy says so") {
  for (const auto streams : {tiers::readiness, tiers::async}) {
    for (const bool close : {false, true}) {
      const auto watch = std::make_shared<witness>();
      bench b;
      b.streams = streams;
      b.how.watch = watch;
      b.how.tunnel.slow_consumer = {.after = 10s, .close = close};
      b.how.tunnel.timeouts.send_stall = 0s;
      b.how.tunnel.timeouts.idle = 0s;
      b.client_link.capacity = 1000;
      b.b1().on_accept = websocket_backend();
      b.start();
      b.w.run_for(1s);
      const auto head = b.client->received.size();
      b.client->stall();
      const auto begun = b.w.now();
      const auto bytes = frame(opcode::binary, sample(3000), server);
      b.backend().send(bytes);
      b.w.run_until(begun + 5s);
      const auto now = b.sessions.at(0).stats();
      CHECK(now.from_upstream.parked > 0);
      CHECK(now.from_upstream.parked_since >= begun);
      CHECK(now.from_upstream.parked_since <= begun + 1s);
      CHECK(now.from_upstream.bytes == bytes.size());
      CHECK(now.from_upstream.frames == 1);
      CHECK(now.from_upstream.messages == 1);
      CHECK(now.from_client.parked == 0);
      CHECK(now.from_client.parked_since == time_point());
      CHECK(watch->said == strings{"established 192.0.2.1"});
      b.w.run_until(begun + 12s);
      CHECK(watch->said == strings{"established 192.0.2.1", "stalled 192.0.2.1 downstream"});
      if (!close) {
        b.client->resume();
        b.w.run_until(begun + 60s);
        CHECK(watch->said.size() == 2);
        CHECK(b.sessions.at(0).stats().from_upstream.parked == 0);
        b.sessions.at(0).abort();
        b.w.run();
        continue;
      }
      b.client->resume();
      b.w.run();
      const auto seen = read_frames(std::string_view(b.client->received).substr(head));
      REQUIRE(seen.frames.size() == 2);
      CHECK(seen.frames[0].bytes == bytes);
      CHECK(seen.frames[1].close_code() == 1013);
      const auto told = read_frames(b.backend().received);
      REQUIRE(told.frames.size() == 1);
      CHECK(told.frames[0].close_code() == 1001);
      CHECK(b.result().cause == end_cause::limit);
      CHECK(b.result().error == errc::consumer_too_slow);
      CHECK(b.result().who == side::downstream);
      CHECK(watch->said.back() == "closed 192.0.2.1 limit by downstream");
      CHECK(b.faults() == strings{});
    }
  }
}

TEST_CASE("A slow side that takes nothing at all is not waited for for ever") {
  bench b;
  b.how.tunnel.slow_consumer.after = 10s;
  b.how.tunnel.timeouts.send_stall = 0s;
  b.client_link.capacity = 1000;
  b.b1().on_accept = websocket_backend();
  b.start();
  b.w.run_for(1s);
  b.client->stall();
  b.backend().send(frame(opcode::binary, sample(3000), server));
  b.w.run();
  CHECK(b.result().error == errc::consumer_too_slow);
  CHECK(b.lasted() < 60s);
  CHECK(b.faults() == strings{});
}

TEST_CASE("A tunnel that a host makes of its parts is listed and watched too") {
  world w;
  const session_registry live;
  const auto told = std::make_shared<witness>();
  upstream group({{.name = "b1:1000"}});
  w.at("b1:1000").on_accept = websocket_backend();
  exchange what;
  what.head = read_request(websocket_request());
  what.client = "192.0.2.9";
  what.sessions = live;
  what.how = route::make({.watch = told});
  what.world = &w;
  int established = 0;
  what.on_established = [&](const session_handle&) { ++established; };
  watch<handshake_result<stream>> verdict(w);
  handshake(group, std::move(what), verdict);
  w.run_for(1s);
  REQUIRE(verdict.result);
  REQUIRE(verdict.result->accepted);
  CHECK(live.count() == 0);
  CHECK(established == 0);

  auto [down, who] = w.connect<stream>();
  watch<forward_result> end(w);
  tunnel(down, std::move(*verdict.result->accepted), "", end);
  w.run_for(1s);
  REQUIRE(live.count() == 1);
  CHECK(established == 1);
  CHECK(live.sessions().front().client() == "192.0.2.9");
  live.sessions().front().abort();
  w.run();
  CHECK(live.count() == 0);
  CHECK(told->said == strings{"established 192.0.2.9", "closed 192.0.2.9 aborted by local"});
}
