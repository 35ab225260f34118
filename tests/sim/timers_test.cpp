#include "bench.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace sim;
using namespace wsproxy;

// Every timer of policy.hpp, at the very millisecond. Each link takes one.

namespace {

const std::vector<std::string> none;
constexpr auto every_tier = {tiers::readiness, tiers::async, tiers::async_downstream};
constexpr auto from_client = frame_sender::client;
constexpr auto from_server = frame_sender::server;
const std::string get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";

duration since(time_point from, time_point to) { return std::chrono::duration_cast<duration>(to - from); }

// A tunnel that is up, 10 ms after the request.
struct tunnel_bench : bench {
  explicit tunnel_bench(tiers on, const std::function<void(route&)>& change = {}) {
    streams = on;
    b1().on_accept = websocket_backend();
    if (change) change(how);
  }
  void establish() {
    start();
    w.run_for(10ms);
    head = client->received.size();
  }
  std::string client_got() const { return client->received.substr(head); }
  std::size_t head = 0;
};

}  // namespace

TEST_CASE("client_head and keep_alive end the reading of a head") {
  struct sample_wait {
    const char* buffered;
    const char* sent;  // after 3 s
    duration first_byte;
    duration ends_after;
    errc error;
  };
  static const sample_wait samples[] = {
      {"", "", 0s, 7s, errc::client_head_timeout},    {"", "GET", 0s, 7s, errc::client_head_timeout},
      {"", "", 5s, 5s, errc::keep_alive_timeout},     {"", "GET", 5s, 10s + 1ms, errc::client_head_timeout},
      {"GET", "", 5s, 7s, errc::client_head_timeout}, {"GET", " /", 5s, 7s, errc::client_head_timeout},
  };
  for (const auto& each : samples) {
    world w;
    auto [down, who] = w.connect();
    watch<read_head_result> end(w);
    const auto begun = w.now();
    read_head(down, each.buffered, {.head = 7s, .first_byte = each.first_byte}, end);
    w.run_for(3s);
    who->send(each.sent);
    w.run();
    REQUIRE(end.calls == 1);
    CHECK(end.result->error == each.error);
    CHECK(since(begun, end.at) == each.ends_after);
    CHECK(end.faults == none);
    CHECK(w.timers() == 0);
  }
}

TEST_CASE("client_body ends a request whose body stops, and each byte restarts it") {
  for (const auto streams : every_tier) {
    for (const auto& [bytes, answered] : {std::pair(0, false), {3, false}, {0, true}, {3, true}}) {
      CAPTURE(static_cast<int>(streams), bytes, answered);
      bench b;
      b.streams = streams;
      b.how.tunnel.timeouts.client_body = 5s;
      b.request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n";
      b.b1().on_accept = answering([begins = answered](peer& p, const request_head&) {
        if (begins) p.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel");
      });
      b.start();
      for (int i = 0; i != bytes; ++i) {
        b.w.run_for(4s);
        b.client->send("x");
      }
      b.w.run();
      // From the connection, 1 ms after the start; from the last byte, 1 ms on its way.
      CHECK(b.lasted() == bytes * 4s + 5s + 1ms);
      CHECK(b.result().error == errc::client_body_timeout);
      CHECK(b.result().who == side::downstream);
      CHECK(b.result().cause == end_cause::timeout);
      CHECK(b.result().status == (answered ? 200 : 408));
      CHECK(b.result().committed == answered);
      CHECK_FALSE(b.result().keep_alive);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("connect ends an attempt") {
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.how.tunnel.timeouts.connect = 4s;
    b.b1().does = listener::kind::hangs;
    b.run();
    CHECK(b.lasted() == 4s);
    CHECK(b.result().error == errc::connect_timeout);
    CHECK(b.result().status == 504);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("response ends a silent backend, and each of its bytes restarts it, the client's do not") {
  const auto* const begins = GENERATE("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  for (const auto streams : every_tier) {
    for (const bool websocket : {false, true}) {
      bench b;
      b.streams = streams;
      b.how.tunnel.timeouts.response = 5s;
      b.request = websocket ? websocket_request() : get;
      b.b1().on_accept = [](peer&) {};
      b.start();
      for (const auto& piece : {begins + std::string("HTTP/1.1 "), std::string("200 OK\r\n")}) {
        b.w.run_for(2s);
        b.client->send("GET ");
        b.w.run_for(2s);
        b.backend().send(piece);
      }
      b.w.run_for(2s);
      b.client->send("GET ");
      b.w.run();
      CHECK(b.lasted() == 2 * 4s + 5s + 1ms);
      CHECK(b.result().error == errc::response_timeout);
      CHECK(b.result().status == 504);
      CHECK_FALSE(b.result().committed);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("response does not begin before the request's body is whole") {
  bench b;
  b.how.tunnel.timeouts.response = 5s;
  b.request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
  b.b1().on_accept = [](peer&) {};
  b.start();
  b.w.run_for(20s);
  b.client->send("x");
  b.w.run();
  CHECK(b.lasted() == 20s + 5s + 1ms);
  CHECK(b.result().error == errc::response_timeout);
  CHECK(b.faults() == none);
}

TEST_CASE("response inside a body ends both sides") {
  const auto* const framing = GENERATE("Content-Length: 10\r\n\r\n01234",
                                       "Transfer-Encoding: chunked\r\n\r\n8\r\n01234", "\r\n01234");
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.how.tunnel.timeouts.response = 5s;
    b.request = get;
    b.b1().on_accept = answering_with(std::string("HTTP/1.1 200 OK\r\n") + framing);
    b.start();
    b.w.run_for(4s);
    b.backend().send("5");
    b.w.run();
    CHECK_FALSE(read_response(b.client->received).whole);
    CHECK(b.lasted() == 4s + 5s + 1ms);
    CHECK(b.result().error == errc::response_timeout);
    CHECK(b.result().who == side::upstream);
    CHECK(b.result().status == 200);
    CHECK(b.result().committed);
    CHECK_FALSE(b.result().keep_alive);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("send_stall ends a client that takes nothing of its response, and progress restarts it") {
  const bool whole = GENERATE(false, true);  // is the response all here, or is more to come?
  for (const auto streams : every_tier) {
    for (const bool progress : {false, true}) {
      CAPTURE(static_cast<int>(streams), whole, progress);
      bench b;
      b.streams = streams;
      b.how.tunnel.timeouts.send_stall = 5s;
      b.how.tunnel.timeouts.upstream_send_stall = 1s;
      b.how.tunnel.timeouts.response = 2s;
      b.request = get;
      b.client_link.capacity = 1000;
      const std::string body(2'000, 'x');
      b.b1().on_accept = answering([&](peer& p, const request_head&) {
        const auto all = make_response(200, body);
        p.send(std::string_view(all).substr(0, all.size() - (whole ? 0 : 10)));
      });
      b.start();
      b.client->stall();
      b.w.run_for(3s);
      if (progress) b.client->resume(), b.w.step(), b.client->stall();
      b.w.run();
      if (!progress) {
        CHECK(b.lasted() == 5s + 3ms);  // the response came 3 ms after the start
        CHECK(b.result().error == errc::send_stall_timeout);
        CHECK(b.result().who == side::downstream);
        CHECK(b.result().cause == end_cause::timeout);
        CHECK_FALSE(b.result().keep_alive);
      } else {
        CHECK(b.lasted() > 5s + 3ms);
      }
      CHECK(b.result().status == 200);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("upstream_send_stall ends a backend that takes nothing of its request") {
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.how.tunnel.timeouts.upstream_send_stall = 5s;
    b.how.tunnel.timeouts.send_stall = 1s;
    b.how.tunnel.timeouts.client_body = b.how.tunnel.timeouts.response = 2s;
    b.request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + std::string(9000, 'x');
    b.b1().link.capacity = 1000;
    b.b1().on_accept = [](peer& p) { p.stall(); };
    b.run();
    CHECK(b.lasted() == 5s + 1ms);
    CHECK(b.result().error == errc::send_stall_timeout);
    CHECK(b.result().who == side::upstream);
    CHECK(b.result().status == 504);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("idle ends a tunnel on which nobody speaks, and both sides' bytes restart it") {
  for (const auto streams : every_tier) {
    tunnel_bench b(streams, [](route& how) { how.tunnel.timeouts.idle = 5s; });
    b.establish();
    for (int i = 0; i != 3; ++i) {  // of one side alone, then of the other
      b.w.run_for(4s);
      b.client->send(frame(opcode::text, "a", from_client));
    }
    for (int i = 0; i != 3; ++i) {
      b.w.run_for(4s);
      b.backend().send(frame(opcode::text, "b", from_server));
    }
    const auto last = b.w.now() + 1ms;
    b.w.run();
    CHECK(since(last, b.end.at) == 5s);
    CHECK(b.result().error == errc::idle_timeout);
    CHECK(b.result().cause == end_cause::timeout);
    CHECK(b.result().who == side::local);
    CHECK(b.client->over());
    CHECK(b.backend().over());
    CHECK(b.faults() == none);
  }
}

TEST_CASE("half_close takes over from idle when one side has sent FIN, and the other's bytes restart it") {
  for (const auto streams : every_tier) {
    for (const bool by_client : {false, true}) {
      CAPTURE(static_cast<int>(streams), by_client);
      tunnel_bench b(streams, [](route& how) {
        how.tunnel.timeouts.half_close = 7s;
        how.tunnel.timeouts.idle = 5s;
        how.tunnel.frames = frames::off;
      });
      b.establish();
      (by_client ? *b.client : b.backend()).fin();
      b.w.run_for(4s);
      CHECK((by_client ? b.backend() : *b.client).eof);
      for (int i = 0; i != 3; ++i) {
        if (i != 0) b.w.run_for(6s);
        (by_client ? b.backend() : *b.client).send("late");
      }
      const auto last = b.w.now() + 1ms;
      b.w.run_for(1s);
      CHECK((by_client ? b.client_got() : b.backend().received) == "latelatelate");
      b.w.run();
      CHECK(since(last, b.end.at) == 7s);
      CHECK(b.result().error == errc::half_close_timeout);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("send_stall and upstream_send_stall end a tunnel whose one side takes nothing") {
  for (const auto streams : every_tier) {
    for (const bool client_stalls : {false, true}) {
      CAPTURE(static_cast<int>(streams), client_stalls);
      tunnel_bench b(streams, [&](route& how) {
        auto& t = how.tunnel.timeouts;
        (client_stalls ? t.send_stall : t.upstream_send_stall) = 5s;
        (client_stalls ? t.upstream_send_stall : t.send_stall) = 1s;
      });
      b.client_link.capacity = b.b1().link.capacity = 1000;
      b.establish();
      auto& slow = client_stalls ? *b.client : b.backend();
      auto& fast = client_stalls ? b.backend() : *b.client;
      slow.stall();
      const auto big = frame(opcode::binary, sample(100'000), client_stalls ? from_server : from_client);
      fast.send(big);
      const auto first = b.w.now();
      b.w.run();
      CHECK(b.result().error == errc::send_stall_timeout);
      CHECK(b.result().who == (client_stalls ? side::downstream : side::upstream));
      CHECK(b.end.at > first + 5s);  // some of it was taken, which restarted the timer
      CHECK(b.end.at < first + 5s + 10ms);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("heartbeat pings a silent side, and ends the tunnel if nothing comes back") {
  for (const auto streams : every_tier) {
    for (const bool answers : {false, true}) {
      tunnel_bench b(streams, [](route& how) {
        how.tunnel.heartbeat = {.interval = 20s, .timeout = 6s, .upstream = false};
        how.tunnel.timeouts.idle = 50s;
      });
      b.establish();
      const auto established = b.w.now() - 10ms + 3ms;  // when the 101 came
      if (answers)
        b.client->on_receive = [&](peer& self) {
          const auto seen = read_frames(std::string_view(self.received).substr(b.head));
          if (!seen.frames.empty()) self.send(frame(opcode::pong, seen.frames.back().payload, from_client));
        };
      b.w.run_until(established + 20s + 2ms);
      const auto seen = read_frames(b.client_got());
      REQUIRE(seen.frames.size() == 1);
      CHECK(seen.frames[0].code == opcode::ping);
      CHECK_FALSE(seen.frames[0].masked);
      if (answers) {
        b.w.run_until(established + 110s);  // well beyond idle: our pongs are bytes received
        CHECK_FALSE(b.end.ended());
        CHECK(b.backend().received.empty());
        b.client->on_receive = nullptr;
        b.w.run();
        CHECK(b.result().round_trip == 2ms);
      } else {
        b.w.run_until(established + 26s);
        CHECK(b.backend().received.empty());
        CHECK_FALSE(b.client->over());
        b.w.run_until(established + 26s + 1ms);
        CHECK(b.client->over());
        CHECK_FALSE(b.backend().received.empty());
        b.w.run();
      }
      CHECK(b.result().error == errc::heartbeat_timeout);
      CHECK(b.result().who == side::downstream);
      const auto told = read_frames(b.backend().received);
      REQUIRE(told.frames.size() == 1);  // the living one is told
      CHECK(told.frames[0].close_code() == 1001);
      CHECK(told.frames[0].masked);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("a ping goes between two fragments, at the end of the one that was under way when it was due") {
  for (const auto streams : every_tier) {
    tunnel_bench b(streams, [](route& how) {
      how.tunnel.heartbeat = {.interval = 20s, .upstream = false};
      how.tunnel.timeouts.idle = 0s;
    });
    b.establish();
    const auto first = frame(opcode::text, "one two", from_server, false);
    const auto last = frame(opcode::continuation, " three", from_server);
    b.backend().send(first.substr(0, 5));
    b.w.run_for(60s);
    CHECK(b.client_got() == first.substr(0, 5));
    b.backend().send(first.substr(5));
    b.w.run_for(2ms);
    const auto seen = read_frames(b.client_got());
    REQUIRE(seen.frames.size() == 2);
    CHECK(seen.frames[0].bytes == first);
    CHECK(seen.frames[1].code == opcode::ping);
    CHECK(seen.frames[1].payload.size() == 8);
    b.backend().send(last);
    b.w.run_for(2ms);
    CHECK(b.client_got() == first + seen.frames[1].bytes + last);
    b.w.run();
    CHECK(b.result().error == errc::heartbeat_timeout);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("max_lifetime drains a tunnel, somewhere in its jitter") {
  for (const auto streams : every_tier) {
    tunnel_bench b(streams, [](route& how) {
      how.tunnel.timeouts.max_lifetime = 30s;
      how.tunnel.timeouts.close_wait = 3s;
    });
    b.establish();
    const auto established = b.w.now() - 10ms + 3ms;
    b.w.run_until(established + 30s + 1ms);
    for (const auto& got : {b.client_got(), b.backend().received}) {
      const auto seen = read_frames(got);
      REQUIRE(seen.frames.size() == 1);
      CHECK(seen.frames[0].close_code() == 1001);
    }
    CHECK_FALSE(b.client->eof);
    b.w.run_until(established + 33s + 1ms);  // close_wait: neither answered
    CHECK(b.client->eof);
    CHECK(b.backend().eof);
    CHECK(b.client->ended_at == established + 33s + 1ms);
    const auto fin = established + 33s;
    b.w.run();
    CHECK(since(fin, b.end.at) == 5s);  // linger: neither closed
    CHECK(b.result().error == errc::lifetime_reached);
    CHECK(b.result().cause == end_cause::drained);
    CHECK(b.faults() == none);
  }
  duration first{}, last{};
  for (std::uint64_t seed = 1; seed != 40; ++seed) {
    bench b(seed);
    b.b1().on_accept = websocket_backend();
    b.how.tunnel.timeouts.max_lifetime = 30s;
    b.how.tunnel.timeouts.max_lifetime_jitter = 0.5;
    b.how.tunnel.timeouts.close_wait = b.how.tunnel.timeouts.linger = 1ms;
    b.run();
    CHECK(b.lasted() > 15s);
    CHECK(b.lasted() < 45s + 20ms);
    if (seed == 1) first = last = b.lasted();
    first = std::min(first, b.lasted());
    last = std::max(last, b.lasted());
  }
  CHECK(last - first > 15s);
}

TEST_CASE("boundary_wait bounds the wait for the end of a frame before a drain") {
  for (const auto streams : every_tier) {
    for (const bool completes : {false, true}) {
      CAPTURE(static_cast<int>(streams), completes);
      tunnel_bench b(streams, [](route& how) { how.tunnel.timeouts.boundary_wait = 4s; });
      b.establish();
      const auto whole = frame(opcode::binary, sample(100), from_server);
      b.backend().send(whole.substr(0, 50));
      b.w.run_for(1s);
      const auto drained = b.w.now();
      b.sessions.at(0).drain({.reason = "bye"});
      b.w.run_for(3s);
      CHECK(b.client_got() == whole.substr(0, 50));
      if (completes) {
        b.backend().send(whole.substr(50));
        b.w.run_for(2ms);
        const auto seen = read_frames(b.client_got());
        REQUIRE(seen.frames.size() == 2);
        CHECK(seen.frames[0].bytes == whole);
        CHECK(seen.frames[1].close_code() == 1001);
        CHECK(seen.frames[1].payload.substr(2) == "bye");
        b.w.run();
      } else {
        b.w.run();
        CHECK(b.client_got() == whole.substr(0, 50));
        CHECK(since(drained, b.client->ended_at) == 4s + 1ms);
        CHECK(b.client->eof);
      }
      CHECK(b.result().cause == end_cause::drained);
      CHECK_FALSE(b.result().error);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("close_wait ends early when the peer answers the Close") {
  for (const auto streams : every_tier) {
    tunnel_bench b(streams);
    b.establish();
    const auto drained = b.w.now();
    b.sessions.at(0).drain({.code = 4001});
    b.w.run_for(1s);
    b.client->send(close_frame(4001, from_client));
    b.backend().send(close_frame(4001, from_server));
    b.w.run_for(1s);
    CHECK(since(drained, b.client->ended_at) == 1s + 2ms);
    b.client->fin();
    b.backend().fin();
    b.w.run();
    CHECK(since(drained, b.end.at) == 2s + 1ms);
    CHECK(b.client_got().size() == 4);  // the backend's Close came after ours: nothing follows a Close
    CHECK(b.faults() == none);
  }
}

TEST_CASE("linger bounds the wait for a client's FIN behind an answer") {
  const bool answers = GENERATE(false, true);
  for (const bool is_async : {false, true}) {
    world w;
    auto c = w.make_connection({});
    auto who = std::make_shared<peer>(w, c);
    who->start();
    stream ready(w.executor(), is_async ? nullptr : c);
    completion_stream slow(w.executor(), is_async ? c : nullptr);
    watch<std::error_code> end(w);
    const auto begun = w.now();
    const send_options options{.close = true, .linger = 5s};
    if (is_async) send(slow, "HTTP/1.1 400 Bad\r\n\r\n", options, end);
    else send(ready, "HTTP/1.1 400 Bad\r\n\r\n", options, end);
    w.run_for(3s);
    CHECK(who->eof);
    who->send("more of a body that nobody reads");
    w.run_for(1s);
    if (answers) who->close();
    w.run();
    REQUIRE(end.calls == 1);
    CHECK_FALSE(*end.result);
    CHECK(since(begun, end.at) == (answers ? 4s + 1ms : 5s));
    CHECK(who->received == "HTTP/1.1 400 Bad\r\n\r\n");
    CHECK_FALSE(who->broken);
    CHECK(w.open_streams() == 0);
    CHECK(w.timers() == 0);
    CHECK(end.faults == none);
  }
}

TEST_CASE("Timers that are off never fire") {
  bench b;
  b.how.tunnel.timeouts = {.client_head = 0s,
                           .keep_alive = 0s,
                           .client_body = 0s,
                           .connect = 0s,
                           .response = 0s,
                           .send_stall = 0s,
                           .upstream_send_stall = 0s,
                           .idle = 0s,
                           .half_close = 0s};
  b.b1().delay = 1h;
  b.b1().on_accept = answering(
      [&](peer& p, const request_head& head) { b.w.after(1h, [&p, head] { p.send(accepting(head)); }); });
  b.start();
  b.w.run_for(20h);
  CHECK_FALSE(b.end.ended());
  CHECK(b.sessions.size() == 1);
  CHECK(b.w.timers() == 0);
  b.sessions.at(0).abort();
  b.w.run();
  CHECK(b.result().error == errc::cancelled);
  CHECK(b.faults() == none);
}
