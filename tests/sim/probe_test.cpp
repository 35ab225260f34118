#include <wsproxy/proxy/probe.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>

#include "bench.hpp"

using namespace sim;
using namespace wsproxy;
using kind = probe_options::kind;

namespace {

const std::vector<std::string> none;

/// One probe of "b1:1000", and all around it.
struct asked {
  explicit asked(probe_options options = {}, std::uint64_t seed = 1)
      : w(seed), end(w), how(std::move(options)) {}

  listener& b1() { return w.at("b1:1000"); }
  peer& backend() { return *b1().accepted.at(0); }
  template <class Stream = stream> void start() {
    begun = w.now();
    end.initiating = true;
    async_probe(w.executor(), address::parse("b1:1000"), how, basic_dialer<Stream>(w), &w,
                probe<probe_result>(end));
    end.initiating = false;
  }
  template <class Stream = stream> const probe_result& run() {
    start<Stream>();
    w.run();
    return result();
  }
  const probe_result& result() const { return end.result.value(); }
  duration lasted() const { return std::chrono::duration_cast<duration>(end.at - begun); }
  std::vector<std::string> faults() {
    auto all = end.faults;
    if (end.calls != 1) all.push_back("called " + std::to_string(end.calls) + " times");
    if (w.timers() != 0 || w.dials() != 0) all.push_back("a timer or a dial is left");
    if (w.open_streams() != 0) all.push_back("a connection is left open");
    return all;
  }

  world w;
  watch<probe_result> end;
  probe_options how;
  time_point begun{};
};

/// Accepts a WebSocket, answers pings unless told otherwise, and answers a Close with FIN behind its own.
std::function<void(peer&)> good_websocket(bool pongs = true, std::string first = {}) {
  return answering([pongs, first](peer& p, const request_head& head) {
    p.send(accepting(head) + first);
    p.on_receive = [pongs](peer& on) {
      const auto seen = read_frames(on.received);
      on.received = seen.rest;
      for (const auto& each : seen.frames) {
        if (each.code == opcode::ping && pongs)
          on.send(frame(opcode::pong, each.payload, frame_sender::server));
        if (each.code == opcode::close) {
          on.send(close_frame(each.close_code(), frame_sender::server));
          on.fin();
        }
      }
    };
    p.notify();
  });
}

std::function<void(peer&)> silent() {
  return [](peer&) {};
}

constexpr auto every_kind = {kind::tcp, kind::http, kind::websocket};

}  // namespace

TEST_CASE("A probe of each kind passes with a good backend, and closes its connection") {
  for (const auto how : every_kind) {
    for (const bool ping : {false, true}) {
      CAPTURE(static_cast<int>(how), ping);
      asked a({.how = how, .ping = ping});
      a.b1().on_accept = how == kind::websocket ? good_websocket() : answering_with(make_response(204, ""));
      CHECK(a.run().error == std::error_code());
      CHECK(a.result().status == (how == kind::tcp ? 0 : how == kind::http ? 204 : 101));
      CHECK(a.faults() == none);
      CHECK(a.b1().accepted.size() == 1);
      CHECK(a.backend().over());
      CHECK(a.result().took > duration::zero());
      CHECK(a.result().took <= a.lasted());
    }
  }
}

TEST_CASE("A probe passes over a stream that completes reads itself") {
  asked a({.ping = true});
  a.b1().on_accept = good_websocket();
  CHECK(a.run<completion_stream>().error == std::error_code());
  CHECK(a.faults() == none);
}

TEST_CASE("A WebSocket probe says who it is for, and brings a fresh key") {
  std::string keys[2];
  for (int i = 0; i != 2; ++i) {
    asked a({.target = "/health?x=1", .host = "chat.example", .extra = {{"Origin", "https://a.example"}}},
            static_cast<std::uint64_t>(i + 1));
    request_head seen;
    a.b1().on_accept = answering([&](peer& p, const request_head& head) {
      seen = head;
      p.send(accepting(head));
    });
    CHECK(a.run().error == std::error_code());
    CHECK(seen.method == "GET");
    CHECK(seen.target == "/health?x=1");
    CHECK(seen.fields.joined("Host") == "chat.example");
    CHECK(seen.fields.joined("Origin") == "https://a.example");
    CHECK(seen.fields.joined("Sec-WebSocket-Version") == "13");
    keys[i] = seen.fields.joined("Sec-WebSocket-Key");
  }
  CHECK(keys[0].size() == 24);
  CHECK(keys[0] != keys[1]);
}

TEST_CASE("The Host field is the backend's address unless one is given") {
  asked a({.how = kind::http});
  std::string host;
  a.b1().on_accept = answering([&](peer& p, const request_head& head) {
    host = head.fields.joined("Host");
    p.send(make_response(200, ""));
  });
  a.run();
  CHECK(host == "b1:1000");
}

TEST_CASE("A probe names what is wrong with a backend") {
  struct sample {
    const char* name;
    probe_options how;
    std::function<void(listener&)> arrange;
    errc error;
    int status;
  };
  const auto lies = [](std::string field, std::string value) {
    return [=](listener& l) {
      l.on_accept = answering([=](peer& p, const request_head& head) {
        response_head r{101,
                        "",
                        http_version::http_1_1,
                        {{"Upgrade", "websocket"},
                         {"Connection", "upgrade"},
                         {"Sec-WebSocket-Accept", accept_key(head.fields.joined("Sec-WebSocket-Key"))}}};
        r.fields.set(field, value);
        std::string bytes;
        serialize(r, bytes);
        p.send(bytes);
      });
    };
  };
  const auto behaves = [](std::function<void(peer&)> what) {
    return [what](listener& l) { l.on_accept = what; };
  };
  const auto refuses = [](listener& l) { l.does = listener::kind::refuses; };
  const auto hangs = [](listener& l) { l.does = listener::kind::hangs; };
  const auto ends = behaves([](peer& p) { p.fin(); });
  const auto resets = behaves(answering([](peer& p, const request_head&) { p.reset(); }));
  const auto garbage = behaves(answering_with("220 smtp\r\n"));
  const sample samples[] = {
      {"tcp refused", {.how = kind::tcp}, refuses, errc::connect_failed, 0},
      {"tcp hangs", {.how = kind::tcp}, hangs, errc::connect_timeout, 0},
      {"http refused", {.how = kind::http}, refuses, errc::connect_failed, 0},
      {"http hangs", {.how = kind::http}, hangs, errc::connect_timeout, 0},
      {"http silent", {.how = kind::http}, behaves(silent()), errc::response_timeout, 0},
      {"http ends", {.how = kind::http}, ends, errc::upstream_closed, 0},
      {"http resets", {.how = kind::http}, resets, errc::upstream_closed, 0},
      {"http garbage", {.how = kind::http}, garbage, errc::bad_response, 0},
      {"http 503",
       {.how = kind::http},
       behaves(answering_with(make_response(503, "no"))),
       errc::unexpected_status,
       503},
      {"http 404",
       {.how = kind::http},
       behaves(answering_with(make_response(404, "no"))),
       errc::unexpected_status,
       404},
      {"http 199",
       {.how = kind::http, .status_from = 200, .status_to = 200},
       behaves(answering_with(make_response(201, ""))),
       errc::unexpected_status,
       201},
      {"http unasked 101", {.how = kind::http}, lies("X", "y"), errc::unasked_switch, 101},
      {"websocket refused", {}, refuses, errc::connect_failed, 0},
      {"websocket hangs", {}, hangs, errc::connect_timeout, 0},
      {"websocket silent", {}, behaves(silent()), errc::response_timeout, 0},
      {"websocket ends", {}, ends, errc::upstream_closed, 0},
      {"websocket resets", {}, resets, errc::upstream_closed, 0},
      {"websocket garbage", {}, garbage, errc::bad_response, 0},
      {"websocket 200",
       {},
       behaves(answering_with(make_response(200, "a page"))),
       errc::unexpected_status,
       200},
      {"wrong accept",
       {},
       lies("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
       errc::bad_accept,
       101},
      {"wrong upgrade", {}, lies("Upgrade", "h2c"), errc::bad_switch_upgrade, 101},
      {"wrong connection", {}, lies("Connection", "close"), errc::bad_switch_connection, 101},
      {"no pong", {.ping = true}, behaves(good_websocket(false)), errc::response_timeout, 101},
      {"another's pong",
       {.ping = true},
       behaves(good_websocket(false, frame(opcode::pong, "mine", frame_sender::server))),
       errc::response_timeout,
       101},
      {"a frame that is none",
       {.ping = true},
       behaves(good_websocket(false, "\xff\xff")),
       errc::bad_frame,
       101},
      {"Close instead of a pong",
       {.ping = true},
       behaves(good_websocket(false, close_frame(1013, frame_sender::server))),
       errc::upstream_closed,
       101},
  };
  for (const auto& each : samples) {
    CAPTURE(each.name);
    asked a(each.how);
    each.arrange(a.b1());
    CHECK(a.run().error == each.error);
    CHECK(a.result().status == each.status);
    CHECK(a.faults() == none);
    if (each.error == errc::connect_timeout || each.error == errc::response_timeout) CHECK(a.lasted() == 5s);
  }
}

TEST_CASE("A slow backend passes just within the timeout, and not beyond") {
  for (const auto delay : {4900ms, 5100ms}) {
    asked a({.how = kind::http});
    a.b1().on_accept = [&, delay](peer& p) { a.w.after(delay, [&p] { p.send(make_response(200, "")); }); };
    CHECK(a.run().error == (delay < 5s ? std::error_code() : make_error_code(errc::response_timeout)));
    CHECK(a.faults() == none);
  }
}

TEST_CASE("Interim answers, data frames and pieces of one byte do not confuse a probe") {
  asked a({.ping = true});
  a.b1().link.read_most = 1;
  a.b1().on_accept = answering([](peer& p, const request_head& head) {
    p.send("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + accepting(head) +
           frame(opcode::text, "welcome", frame_sender::server) +
           frame(opcode::ping, "", frame_sender::server));
    p.on_receive = [](peer& on) {
      const auto seen = read_frames(on.received);
      on.received = seen.rest;
      for (const auto& each : seen.frames)
        if (each.code == opcode::ping) on.send(frame(opcode::pong, each.payload, frame_sender::server));
    };
    p.notify();
  });
  CHECK(a.run().error == std::error_code());
  CHECK(a.faults() == none);
}

TEST_CASE("A passed WebSocket probe says Close 1000, and waits a second at most for the answer") {
  asked a;
  a.b1().on_accept = answering([](peer& p, const request_head& head) { p.send(accepting(head)); });
  CHECK(a.run().error == std::error_code());
  const auto seen = read_frames(a.backend().received).frames;
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].masked);
  CHECK(seen[0].close_code() == 1000);
  CHECK(a.lasted() > 1s);
  CHECK(a.lasted() < 1100ms);
  CHECK(a.result().took < 100ms);
  CHECK(a.faults() == none);
}

TEST_CASE("A probe can be cancelled at every step, and is gone at once") {
  for (const auto how : every_kind) {
    for (int steps = 0;; ++steps) {
      CAPTURE(static_cast<int>(how), steps);
      asked a({.how = how, .ping = true});
      a.b1().link.read_most = 7;
      a.b1().on_accept = how == kind::websocket ? good_websocket() : answering_with(make_response(200, ""));
      a.start();
      for (int i = 0; i != steps; ++i) a.w.step();
      const auto at = a.w.now();
      const bool over = a.end.ended();
      a.end.stop.emit(asio::cancellation_type::terminal);
      a.w.run();
      CHECK(a.faults() == none);
      if (over) break;
      CHECK(a.end.at == at);
      CHECK((a.result().error == errc::cancelled || !a.result().error));
      CHECK(a.result().took <= a.lasted());
    }
  }
}

TEST_CASE("A probe that is destroyed with its context leaves nothing") {
  for (const auto how : every_kind) {
    for (int steps = 0; steps != 40; ++steps) {
      asked a({.how = how, .ping = true});
      a.b1().on_accept = good_websocket();
      a.start();
      for (int i = 0; i != steps; ++i) a.w.step();
      a.w.destroy_context();
      CHECK(a.w.timers() == 0);
      CHECK(a.w.open_streams() == 0);
      CHECK_FALSE(a.end.handler_lives());
    }
  }
}

TEST_CASE("What cannot be asked is refused by name") {
  const auto refusal = [](const probe_options& options) {
    try {
      validate(options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal({}).empty());
  CHECK(refusal({.timeout = 0ms}).find("timeout") != std::string::npos);
  CHECK(refusal({.target = "x"}).find("target \"x\"") != std::string::npos);
  CHECK(refusal({.target = "/a b"}).find("target") != std::string::npos);
  CHECK(refusal({.host = "a b"}).find("host") != std::string::npos);
  CHECK(refusal({.extra = {{"Origin", "a\r\nX: y"}}}).find("extra") != std::string::npos);
  CHECK(refusal({.extra = {{"connection", "close"}}}).find("connection") != std::string::npos);
  CHECK(refusal({.how = kind::http, .status_from = 300, .status_to = 200}).find("status_from") !=
        std::string::npos);
}
