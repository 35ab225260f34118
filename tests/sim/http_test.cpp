#include "bench.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace sim;
using namespace wsproxy;

namespace {

const std::vector<std::string> none;
constexpr auto every_tier = {tiers::readiness, tiers::async, tiers::async_downstream};

std::string get(std::string_view extra = {}, std::string_view version = "1.1") {
  return "GET /x HTTP/" + std::string(version) + "\r\nHost: example.test\r\n" + std::string(extra) + "\r\n";
}
std::string post(std::size_t length, std::string_view extra = {}) {
  return "POST /x HTTP/1.1\r\nHost: example.test\r\nContent-Length: " + std::to_string(length) + "\r\n" +
         std::string(extra) + "\r\n";
}
const std::string chunked_post =
    "POST /x HTTP/1.1\r\nHost: example.test\r\nTransfer-Encoding: chunked\r\n\r\n";
std::string ok(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

// A backend that answers when all of the request's body has come; `bodies` gets what it was on the wire.
std::function<void(peer&)> collecting(std::string& bodies, std::size_t size, std::string answer) {
  return answering([&bodies, size, answer](peer& self, const request_head&) {
    self.on_receive = [&bodies, size, answer](peer& again) {
      bodies = again.received;
      if (again.received.size() < size) return;
      again.send(answer);
      again.on_receive = [&bodies](peer& later) { bodies = later.received; };
    };
    self.notify();
  });
}

}  // namespace

TEST_CASE("A response keeps its framing, and the connection goes on where both sides can tell its end") {
  struct sample_response {
    const char* wire;
    const char* body;
    bool until_close;
    int status;
  };
  static const sample_response samples[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false, 200},
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "", false, 403},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nX-Sum: "
       "1\r\n\r\n",
       "hello", false, 200},
      {"HTTP/1.1 200 OK\r\n\r\nhello", "hello", true, 200},
      {"HTTP/1.0 200 OK\r\n\r\nhello", "hello", true, 200},
      {"HTTP/1.1 204 No Content\r\n\r\n", "", false, 204},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", "", false, 304},
  };
  for (const auto& sample : samples)
    for (const auto streams : every_tier)
      for (const std::string version : {"1.0", "1.1"})
        for (const bool websocket : {false, true})
          for (const std::size_t pieces : {std::size_t{1}, link_options::all}) {
            if (websocket && version == "1.0") continue;
            CAPTURE(sample.wire, static_cast<int>(streams), version, websocket, pieces);
            bench b;
            b.streams = streams;
            b.client_link.write_most = b.b1().link.read_most = pieces;
            b.request = websocket ? websocket_request()
                                  : get(version == "1.0" ? "Connection: keep-alive\r\n" : "", version);
            b.b1().on_accept = answering_with(sample.wire, sample.until_close);
            b.run();
            const auto& result = b.result();
            const bool chunks =
                std::string_view(sample.wire).find("chunked") != std::string_view::npos || sample.until_close;
            const bool goes_on = version == "1.1" || !chunks;
            CHECK(result.keep_alive == goes_on);
            CHECK_FALSE(result.error);
            CHECK(result.cause == end_cause::complete);
            CHECK(result.at == stage::response);
            CHECK(result.status == sample.status);
            CHECK(result.committed);
            CHECK(result.leftover.empty());
            CHECK(result.from_upstream.bytes == std::string_view(sample.body).size());
            CHECK(b.faults() == none);
            if (!goes_on) b.close_client();
            b.w.run();
            const auto seen = read_response(b.client->received, "GET", b.client->eof);
            CHECK(seen.head.status == sample.status);
            CHECK(seen.body == sample.body);
            CHECK(seen.whole);
            CHECK(seen.size == b.client->received.size());
            CHECK(seen.head.fields.has_token("Connection", "close") == !goes_on);
            CHECK(seen.head.fields.has_token("Connection", "keep-alive") == (goes_on && version == "1.0"));
            CHECK(b.backend().over());
          }
}

TEST_CASE("A response to HEAD has no body, whatever its length says") {
  bench b;
  b.request = "HEAD /x HTTP/1.1\r\nHost: example.test\r\n\r\n";
  b.b1().on_accept = answering_with("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n");
  b.run();
  CHECK(b.result().keep_alive);
  CHECK(read_response(b.client->received, "HEAD").head.fields.value_or_empty("Content-Length") == "500");
  CHECK(b.faults() == none);
}

TEST_CASE("A response that ends too early is no whole response downstream either") {
  for (const auto streams : every_tier) {
    for (const std::string wire : {"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
                                   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello"}) {
      bench b;
      b.streams = streams;
      b.request = get();
      b.b1().on_accept = answering_with(wire, true);
      b.run();
      CHECK(b.result().error == errc::body_truncated);
      CHECK(b.result().who == side::upstream);
      CHECK(b.result().cause == end_cause::failed);
      CHECK(b.result().committed);
      CHECK(b.result().status == 200);
      CHECK_FALSE(b.result().keep_alive);
      CHECK_FALSE(read_response(b.client->received, "GET", true).whole);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A request's body goes up as it came, in what was read with the head and behind it") {
  const auto body = sample(20'000);
  const bool chunks = GENERATE(false, true);
  for (const auto streams : every_tier) {
    for (const std::size_t early : {0u, 1u, 9'000u, 20'000u}) {
      CAPTURE(static_cast<int>(streams), early, chunks);
      bench b;
      b.streams = streams;
      const auto wire = chunks ? chunked(body, 777, "X-Sum: 5\r\n") : body;
      b.request = (chunks ? chunked_post : post(body.size())) + wire.substr(0, early);
      b.b1().link.read_most = 333;
      b.b1().link.write_most = 1000;
      b.b1().link.capacity = 3000;
      std::string seen;
      b.b1().on_accept = answering([&](peer& self, const request_head& head) {
        CHECK(head.fields.value_or_empty("Transfer-Encoding") == (chunks ? "chunked" : ""));
        self.on_receive = [&](peer& again) {
          seen = again.received;
          const bool whole = chunks ? seen.ends_with("X-Sum: 5\r\n\r\n") : seen.size() == body.size();
          if (whole) again.send(ok("thanks"));
        };
        self.notify();
      });
      b.start();
      b.client->send(wire.substr(early));
      b.w.run();
      CHECK(b.result().keep_alive);
      CHECK(b.result().from_client.bytes == body.size());
      const auto head = std::string("HTTP/1.1 200 OK\r\n");
      const auto got = chunks ? read_response(head + "Transfer-Encoding: chunked\r\n\r\n" + seen)
                              : read_response(head + "Content-Length: 20000\r\n\r\n" + seen);
      CHECK(got.whole);
      CHECK(got.body == body);
      CHECK(got.trailers.value_or_empty("X-Sum") == (chunks ? "5" : ""));
      CHECK(read_response(b.client->received).body == "thanks");
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A request's trailers say nothing again that its head says") {
  bench b;
  const auto wire = chunked("data", 4,
                            "X-Sum: 5\r\nX-Client: forged\r\nX_Client: forged\r\nX.Client: forged\r\nx-own: "
                            "twice\r\nX-User: root\r\n");
  b.request =
      "POST /x HTTP/1.1\r\nHost: example.test\r\nX-Own: once\r\nTransfer-Encoding: chunked\r\n\r\n" + wire;
  b.how.rewrite_request = [](const exchange&, const backend&, request_rewrite& out) {
    out.set = {{"X-Client", "seen"}, {"X-User", ""}};
  };
  std::string seen;
  b.b1().on_accept = answering([&](peer& self, const request_head& head) {
    CHECK(head.fields.value_or_empty("X-Client") == "seen");
    CHECK(head.fields.value_or_empty("X-Own") == "once");
    self.on_receive = [&](peer& again) {
      seen = again.received;
      if (seen.ends_with("\r\n\r\n")) again.send(ok("thanks"));
    };
    self.notify();
  });
  b.start();
  b.w.run();
  CHECK(seen == "4\r\ndata\r\n0\r\nX-Sum: 5\r\n\r\n");
  CHECK(read_response(b.client->received).body == "thanks");
  CHECK(b.faults() == none);
}

TEST_CASE("What follows a request is left over, wherever it was read") {
  const std::string second = "GET /second HTTP/1.1\r\nHost: example.test\r\n\r\n";
  for (const auto streams : every_tier) {
    for (const std::string& first : {get(), post(4) + "body"}) {
      for (const std::size_t early : {std::size_t{0}, std::size_t{10}, second.size()}) {
        for (const auto dial : {0ms, 50ms}) {  // the rest comes before or after the connection is made
          CAPTURE(static_cast<int>(streams), first, early, dial.count());
          bench b;
          b.streams = streams;
          b.request = first + second.substr(0, early);
          b.b1().delay = dial;
          b.b1().on_accept = answering([&b](peer& self, const request_head&) {
            b.w.after(20ms, [&self] { self.send(ok("first")); });
          });
          b.start();
          b.client->send(second.substr(early));
          b.w.run();
          CHECK(b.result().keep_alive);
          CHECK(read_response(b.client->received).body == "first");
          CHECK(b.faults() == none);
          auto rest = b.result().leftover;
          CHECK(rest == second.substr(0, rest.size()));
          CHECK(rest.size() >= early);
          // What was not taken is still there for the next reader.
          CHECK(rest.size() + (b.client->sent.size() - b.client->wire().read_by(0)) ==
                early + b.client->sent.size());
        }
      }
    }
  }
}

TEST_CASE("What follows a request is left over when no backend answers, and when the second does") {
  const std::string second = "GET /second HTTP/1.1\r\nHost: example.test\r\n\r\n";
  const bool answered = GENERATE(false, true);
  for (const bool early : {false, true}) {
    CAPTURE(answered, early);
    bench b;
    b.backends = {at("b1:1000"), at("b2:1000")};
    b.request = get() + (early ? second : "");
    b.b1().does = b.b2().does = listener::kind::refuses;
    b.b1().delay = b.b2().delay = 10ms;
    if (answered) {
      b.b2().does = listener::kind::accepts;
      b.b2().on_accept = answering_with(ok("first"));
    }
    b.start();
    if (!early) b.client->send(second);
    b.w.run();
    CHECK(b.result().attempts == 2);
    CHECK(b.result().status == (answered ? 200 : 502));
    CHECK(b.result().committed == answered);
    CHECK(b.result().keep_alive);
    CHECK(b.result().leftover == second);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("Expect is answered by the proxy once a backend is there") {
  const auto body = sample(100);
  bench b;
  b.request = post(100, "Expect: 100-continue\r\n");
  std::string seen;
  b.b1().delay = 50ms;
  b.b1().on_accept = collecting(seen, 100, ok("done"));
  b.start();
  b.w.run_for(20ms);
  CHECK(b.client->received.empty());
  b.w.run_for(80ms);
  CHECK(b.client->received == "HTTP/1.1 100 Continue\r\n\r\n");
  b.client->send(body);
  b.w.run();
  CHECK(seen == body);
  CHECK(read_response(b.client->received.substr(25)).body == "done");
  CHECK(b.result().keep_alive);
  CHECK(b.faults() == none);
}

TEST_CASE("A failure behind an interim response leaves the connection fit for the host's answer") {
  for (const auto streams : every_tier) {
    for (const int what : {0, 1, 2}) {
      CAPTURE(static_cast<int>(streams), what);
      bench b;
      b.streams = streams;
      b.client_link.capacity = 7;  // of the 25 bytes of the interim response
      b.request = "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n";
      b.b1().on_accept = [what](peer& self) {
        if (what == 0) self.reset();
        if (what == 1) self.fin();
      };
      b.start();
      if (what == 2) b.client->send("nonsense");
      b.w.run();
      CHECK_FALSE(b.result().committed);
      CHECK(b.result().status == (what == 2 ? 400 : 502));
      CHECK(b.client->received == "HTTP/1.1 100 Continue\r\n\r\n");
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("Where an interim response stays cut off, nothing can be answered") {
  const bool cancelled = GENERATE(false, true);
  bench b;
  b.client_link.capacity = 7;
  b.request = post(10, "Expect: 100-continue\r\n");
  b.b1().on_accept = [](peer&) {};
  b.start();
  b.client->stall();
  b.w.run_for(10ms);
  if (cancelled) b.end.stop.emit(asio::cancellation_type::terminal);
  b.w.run();
  CHECK_FALSE(b.result().committed);
  CHECK(b.result().status == 0);
  CHECK_FALSE(b.result().keep_alive);
  CHECK(b.result().error == (cancelled ? errc::cancelled : errc::send_stall_timeout));
  CHECK(b.faults() == none);
}

TEST_CASE("Interim responses are passed on, to a client that knows them") {
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
  for (const auto streams : every_tier) {
    for (const std::string version : {"1.0", "1.1"}) {
      bench b;
      b.streams = streams;
      b.request = get("", version);
      b.b1().on_accept = answering_with("HTTP/1.1 100 Continue\r\n\r\n" + interim + interim + ok("x"));
      b.run();
      const std::string_view seen = b.client->received;
      if (version == "1.1") {
        CHECK(seen.substr(0, 2 * interim.size()) == interim + interim);
        CHECK(read_response(seen.substr(2 * interim.size())).body == "x");
      } else {
        CHECK(read_response(seen).body == "x");
      }
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A request that breaks a rule reaches no backend") {
  struct bad_request {
    std::string request;
    errc error;
    int status;
  };
  const bad_request samples[] = {
      {"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: "
       "13\r\n\r\n",
       errc::missing_key, 400},
      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n", errc::body_too_large, 413},
      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", errc::bad_chunk, 400},
      {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", errc::bad_method, 405},
      {websocket_request() + std::string(70'000, 'x'), errc::early_bytes_too_large, 400},
  };
  for (const auto& sample : samples) {
    bench b;
    b.request = sample.request;
    b.run();
    CHECK(b.result().error == sample.error);
    CHECK(b.result().status == sample.status);
    CHECK(b.result().cause == end_cause::refused);
    CHECK(b.result().who == side::downstream);
    CHECK_FALSE(b.result().committed);
    CHECK_FALSE(b.result().keep_alive);
    CHECK(b.result().attempts == 0);
    CHECK(b.client->received.empty());
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A body that turns out too large or malformed is refused on the way") {
  const bool too_large = GENERATE(false, true);
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.how.tunnel.limits.request_body = 5'000;
    b.request = chunked_post + "5\r\nhello\r\n";
    b.b1().on_accept = answering([](peer&, const request_head&) {});
    b.start();
    b.client->send(too_large ? "2000\r\n" + sample(0x2000) : std::string("nonsense"));
    b.w.run();
    CHECK(b.result().error == (too_large ? errc::body_too_large : errc::bad_chunk));
    CHECK(b.result().status == (too_large ? 413 : 400));
    CHECK_FALSE(b.result().committed);
    CHECK_FALSE(b.result().keep_alive);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A response that began stays the status, whatever the client does to its body") {
  for (const auto streams : every_tier) {
    for (const int what : {0, 1, 2}) {
      CAPTURE(static_cast<int>(streams), what);
      bench b;
      b.streams = streams;
      b.how.tunnel.limits.request_body = 5'000;
      b.request = chunked_post + "5\r\nhello\r\n";
      b.b1().on_accept = answering_with("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
      b.start();
      b.w.run_for(100ms);
      if (what == 0) b.client->send("2000\r\n" + sample(0x2000));
      if (what == 1) b.client->send("nonsense");
      if (what == 2) b.client->fin();
      b.w.run();
      CHECK(b.result().committed);
      CHECK(b.result().status == 200);
      CHECK(b.result().error);
      CHECK(b.result().who == side::downstream);
      CHECK_FALSE(b.result().keep_alive);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("An answer that comes before the request is whole is relayed, and ends the connection") {
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.request = post(10'000) + sample(100);
    b.b1().on_accept = answering_with("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nstop");
    b.run();
    CHECK_FALSE(b.result().error);
    CHECK(b.result().status == 413);
    CHECK_FALSE(b.result().keep_alive);
    const auto seen = read_response(b.client->received);
    CHECK(seen.body == "stop");
    CHECK(seen.head.fields.has_token("Connection", "close"));
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A client that has sent FIN behind its request still gets its answer, and then no more") {
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.request = get();
    b.b1().on_accept =
        answering([&b](peer& self, const request_head&) { b.w.after(1s, [&] { self.send(ok("late")); }); });
    b.start();
    b.client->fin();
    b.w.run();
    CHECK(read_response(b.client->received).body == "late");
    CHECK_FALSE(b.result().error);
    CHECK_FALSE(b.result().keep_alive);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A client that has sent FIN behind two requests gets to its second answer") {
  const std::string second = "GET /second HTTP/1.1\r\nHost: example.test\r\n\r\n";
  for (const auto streams : every_tier) {
    for (const std::size_t early : {std::size_t{0}, second.size()}) {
      CAPTURE(static_cast<int>(streams), early);
      bench b;
      b.streams = streams;
      b.request = get() + second.substr(0, early);
      b.b1().on_accept =
          answering([&b](peer& self, const request_head&) { b.w.after(1s, [&] { self.send(ok("late")); }); });
      b.start();
      b.client->send(second.substr(early));
      b.client->fin();
      b.w.run();
      CHECK(read_response(b.client->received).body == "late");
      CHECK(read_response(b.client->received).head.fields.value_or_empty("Connection") == "");
      CHECK_FALSE(b.result().error);
      CHECK(b.result().keep_alive);
      CHECK(b.result().leftover == second);
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A client that ends inside its body, or resets, ends the exchange") {
  for (const auto streams : every_tier) {
    for (const bool resets : {false, true}) {
      bench b;
      b.streams = streams;
      b.request = post(1000) + "some";
      b.b1().on_accept = answering([](peer&, const request_head&) {});
      b.start();
      b.w.run_for(50ms);
      if (resets) b.client->reset();
      else b.client->fin();
      b.w.run();
      CHECK(b.result().error == (resets ? errc::downstream_closed : errc::body_truncated));
      CHECK(b.result().who == side::downstream);
      CHECK(b.result().status == 0);
      CHECK(b.lasted() < 1s);
      CHECK(b.backend().over());
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A slow client holds the backend back, not the proxy's memory") {
  const auto body = sample(1'000'000);
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.request = get();
    b.client_link.capacity = 4096;
    b.b1().on_accept = answering_with(ok(body));
    b.start();
    b.client->stall();
    b.w.run_for(30s);
    CHECK_FALSE(b.end.ended());
    CHECK(b.backend().wire().read_by(0) < 100'000);
    b.client->resume();
    b.w.run();
    CHECK(read_response(b.client->received).body == body);
    CHECK(b.result().keep_alive);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A slow backend holds the client's body back, not the proxy's memory") {
  const auto body = sample(1'000'000);
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.request = post(body.size());
    b.b1().link.capacity = 4096;
    b.b1().on_accept = [](peer& self) { self.stall(); };
    b.start();
    b.client->send(body);
    b.w.run_for(30s);
    CHECK_FALSE(b.end.ended());
    CHECK(b.client->wire().read_by(0) < 100'000);
    auto& backend = b.backend();
    backend.on_receive = [&](peer& self) {
      if (self.received.ends_with(body)) self.send(ok("all"));
    };
    backend.resume();
    b.w.run();
    CHECK(read_response(b.client->received).body == "all");
    CHECK(b.result().keep_alive);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A rewrite changes the head in both directions") {
  bench b;
  b.request = get();
  b.how.rewrite_request = [](const exchange& what, const backend& to, request_rewrite& rewrite) {
    rewrite.target = "/there";
    rewrite.set.add("X-From", what.client);
    rewrite.set.add("X-To", to.name());
  };
  b.how.rewrite_response = [](const exchange&, response_head& head) { head.fields.add("X-By", "us"); };
  b.b1().on_accept = answering([](peer& self, const request_head& head) {
    CHECK(head.target == "/there");
    CHECK(head.fields.value_or_empty("X-From") == "192.0.2.1");
    CHECK(head.fields.value_or_empty("X-To") == "b1:1000");
    self.send(ok("x"));
  });
  b.run();
  CHECK(read_response(b.client->received).head.fields.value_or_empty("X-By") == "us");
  CHECK(b.faults() == none);
}

TEST_CASE("What a host's function throws, a head that is none, and another framing's status, is a 500") {
  struct failing : balancer {
    std::optional<std::size_t> pick(pick_request&) override { throw 7; }
  };
  const std::vector<std::function<void(bench&)>> ways{
      [](bench& b) { b.group = upstream({{.name = "b1:1000"}}, std::make_shared<failing>()); },
      [](bench& b) { b.how.on_attempt = [](auto&&...) { throw 7; }; },
      [](bench& b) { b.how.rewrite_request = [](auto&&...) { throw 7; }; },
      [](bench& b) { b.how.rewrite_response = [](auto&&...) { throw 7; }; },
      [](bench& b) {
        b.how.rewrite_response = [](const exchange&, response_head& head) { head.reason = "a\r\nb"; };
      },
      [](bench& b) {
        b.how.rewrite_response = [](const exchange&, response_head& head) { head.status = 204; };
      },
      [](bench& b) {
        b.how.rewrite_response = [](const exchange&, response_head& head) { head.status = 304; };
      },
      [](bench& b) {
        b.how.rewrite_response = [](const exchange&, response_head& head) { head.status = 101; };
      },
  };
  for (std::size_t i = 0; i != ways.size(); ++i) {
    CAPTURE(i);
    bench b;
    b.request = get();
    ways[i](b);
    b.b1().on_accept = answering_with(ok("x"));
    b.run();
    CHECK(b.result().error == errc::bad_rewrite);
    CHECK(b.result().status == 500);
    CHECK_FALSE(b.result().committed);
    CHECK(b.client->received.empty());
    CHECK(b.faults() == none);
  }
  bench b;
  b.request = get();
  b.how.rewrite_response = [](const exchange&, response_head& head) { head.status = 404; };
  b.b1().on_accept = answering_with(ok("x"));
  b.run();
  CHECK(read_response(b.client->received).head.status == 404);
}

TEST_CASE("A backend cannot take away what the host sets in its answer") {
  bench b;
  b.request = get();
  b.how.rewrite_response = [](const exchange&, response_head& head) {
    CHECK(head.fields.count("Connection") == 0);
    CHECK(head.fields.count("X-Theirs") == 0);
    head.fields.set("Content-Security-Policy", "default-src 'self'");
  };
  b.b1().on_accept = answering_with(
      "HTTP/1.1 200 OK\r\nConnection: close, Content-Security-Policy, X-Theirs\r\nX-Theirs: 1\r\n"
      "Content-Length: 0\r\n\r\n");
  b.run();
  CHECK(read_response(b.client->received).head.fields.value_or_empty("Content-Security-Policy") ==
        "default-src 'self'");
  CHECK(b.faults() == none);
}
