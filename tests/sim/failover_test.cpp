#include "bench.hpp"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

using namespace sim;
using namespace wsproxy;

namespace {

const std::vector<std::string> none;
constexpr auto every_tier = {tiers::readiness, tiers::async, tiers::async_downstream};
const std::string get = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n";
std::string post(std::string_view body) {
  return "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}
std::string status(int code) { return make_response(code, "x"); }

// Ways in which a backend fails before it has answered, and what is told of the last of them.
struct failure {
  const char* name;
  std::function<void(listener&)> arrange;
  unsigned condition;
  errc error;
  int status;
};
const std::vector<failure> failures = {
    {"refuses", [](listener& l) { l.does = listener::kind::refuses; }, retry::error, errc::connect_failed,
     502},
    {"hangs", [](listener& l) { l.does = listener::kind::hangs; }, retry::timeout, errc::connect_timeout,
     504},
    {"ends at once", [](listener& l) { l.on_accept = [](peer& p) { p.fin(); }; }, retry::error,
     errc::upstream_closed, 502},
    {"resets", [](listener& l) { l.on_accept = answering([](peer& p, const request_head&) { p.reset(); }); },
     retry::error, errc::upstream_closed, 502},
    {"ends inside its head", [](listener& l) { l.on_accept = answering_with("HTTP/1.1 200 O", true); },
     retry::error, errc::upstream_closed, 502},
    {"is silent", [](listener& l) { l.on_accept = [](peer&) {}; }, retry::timeout, errc::response_timeout,
     504},
    {"is no HTTP", [](listener& l) { l.on_accept = answering_with("220 smtp\r\n"); }, retry::invalid_header,
     errc::bad_response, 502},
    {"has two lengths",
     [](listener& l) {
       l.on_accept =
           answering_with("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
     },
     retry::invalid_header, errc::bad_response, 502},
    {"does not read",
     [](listener& l) {
       l.link.capacity = 10;
       l.on_accept = [](peer& p) { p.stall(); };
     },
     retry::timeout, errc::send_stall_timeout, 504},
};

}  // namespace

TEST_CASE("A backend that fails is followed by the next, where its failure is listed") {
  for (const auto& each : failures) {
    for (const auto streams : every_tier) {
      for (const bool listed : {false, true}) {
        for (const bool websocket : {false, true}) {
          CAPTURE(each.name, static_cast<int>(streams), listed, websocket);
          bench b;
          b.streams = streams;
          b.request = websocket ? websocket_request() : get;
          b.backends = {at("b1:1000"), at("b2:1000")};
          b.how.failover.on = listed ? each.condition : ~each.condition;
          each.arrange(b.b1());
          b.b2().on_accept = answering_with(status(200));
          b.run();
          CHECK(b.result().attempts == (listed ? 2 : 1));
          CHECK(b.result().backend->name() == (listed ? "b2:1000" : "b1:1000"));
          CHECK(b.result().committed == listed);
          CHECK(b.result().status == (listed ? 200 : each.status));
          CHECK(b.result().keep_alive);
          if (!listed) {
            CHECK(b.result().error == each.error);
            CHECK(b.result().who == side::upstream);
            CHECK(b.result().cause == (each.status == 504 ? end_cause::timeout : end_cause::failed));
          }
          CHECK(b.group->backends()[0]->failed() == 1);
          CHECK(b.faults() == none);
          CHECK(b.w.at("b1:1000").accepted.size() <= 1);
        }
      }
    }
  }
}

TEST_CASE("All backends that fail are tried once each") {
  for (const auto& each : failures) {
    CAPTURE(each.name);
    bench b;
    b.backends = {at("b1:1000"), at("b2:1000"), at("b3:1000")};
    b.how.failover.on = each.condition;
    for (const char* name : {"b1:1000", "b2:1000", "b3:1000"}) each.arrange(b.w.at(name));
    b.run();
    CHECK(b.result().attempts == 3);
    CHECK(b.result().status == each.status);
    CHECK(b.result().error == each.error);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A listed status is not passed on while another backend can be asked") {
  struct listed_status {
    int code;
    unsigned condition;
    bool fails;
  };
  static const listed_status samples[] = {{500, retry::http_500, true},  {502, retry::http_502, true},
                                          {503, retry::http_503, true},  {504, retry::http_504, true},
                                          {403, retry::http_403, false}, {404, retry::http_404, false},
                                          {429, retry::http_429, true}};
  for (const auto& each : samples) {
    for (const bool all : {false, true}) {
      CAPTURE(each.code, all);
      bench b;
      b.request = get;
      b.backends = {at("b1:1000"), at("b2:1000")};
      b.how.failover.on = each.condition;
      b.b1().on_accept = answering_with(status(each.code));
      b.b2().on_accept = answering_with(status(all ? each.code : 200));
      b.run();
      CHECK(b.result().attempts == 2);
      CHECK(b.result().status == (all ? each.code : 200));
      CHECK(b.result().committed);
      CHECK(read_response(b.client->received).head.status == (all ? each.code : 200));
      CHECK(b.group->backends()[0]->failed() == (each.fails ? 1 : 0));
      CHECK(b.group->backends()[1]->failed() == 0);  // its answer was passed on: no failure, as in nginx
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("A 101 that breaks a rule never becomes a tunnel") {
  struct bad_switch {
    const char* head;
    errc error;
  };
  static const bad_switch samples[] = {
      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n",
       errc::bad_accept},
      {"Upgrade: websocket\r\nConnection: Upgrade\r\n", errc::bad_accept},
      {"Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
       errc::bad_switch_upgrade},
      {"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
       errc::bad_switch_connection}};
  for (const auto& each : samples) {
    bench b;
    b.b1().on_accept =
        answering_with("HTTP/1.1 101 Switching Protocols\r\n" + std::string(each.head) + "\r\nearly");
    b.run();
    CHECK(b.result().error == each.error);
    CHECK(b.result().status == 502);
    CHECK_FALSE(b.result().committed);
    CHECK(b.client->received.empty());
    CHECK(b.sessions.empty());
    CHECK(b.faults() == none);
  }
  bench b;
  b.request = get;
  b.b1().on_accept = answering([](peer& p, const request_head& head) { p.send(accepting(head)); });
  b.run();
  CHECK(b.result().error == errc::unasked_switch);
  CHECK(b.result().status == 502);
  CHECK(b.faults() == none);
}

TEST_CASE(
    "What of a body comes while another backend is dialed goes to that one, and what follows it is left "
    "over") {
  const auto body = sample(50);
  const std::string next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
  const bool chunked = GENERATE(false, true);
  const std::string framed = chunked ? "32\r\n" + body + "\r\n0\r\n\r\n" : body;
  const auto unframed = [&](std::string_view seen) {
    if (!chunked) return std::string(seen);
    body_reader reader({.how = body_framing::kind::chunked});
    std::string all;
    while (!seen.empty() && !reader.done()) {
      const auto piece = reader.feed(seen);
      seen.remove_prefix(piece.consumed);
      all += std::string_view(piece.data.data(), piece.data.size());
    }
    return all;
  };
  for (const auto streams : every_tier)
    for (const std::size_t early : {std::size_t{0}, std::size_t{7}, framed.size() - 1}) {
      CAPTURE(static_cast<int>(streams), chunked, early);
      bench b;
      b.streams = streams;
      b.backends = {at("b1:1000"), at("b2:1000")};
      b.how.failover.on = retry::error | retry::non_idempotent;
      b.request = std::string("PUT / HTTP/1.1\r\nHost: a\r\n") +
                  (chunked ? "Transfer-Encoding: chunked\r\n\r\n" : "Content-Length: 50\r\n\r\n") +
                  framed.substr(0, early);
      b.b1().on_accept = answering([](peer& p, const request_head&) { p.reset(); });
      b.b2().delay = 1s;
      std::string seen;
      b.b2().on_accept = answering([&](peer& p, const request_head&) {
        p.on_receive = [&](peer& self) {
          seen = self.received;
          if (seen.ends_with(chunked ? "\r\n0\r\n\r\n" : body)) self.send(status(200));
        };
        p.notify();
      });
      b.start();
      b.w.run_for(500ms);
      b.client->send(framed.substr(early) + next);
      b.w.run();
      CHECK(unframed(seen) == body);
      CHECK(b.result().status == 200);
      CHECK(b.result().attempts == 2);
      CHECK(b.result().leftover == next);
      CHECK(b.faults() == none);
    }
}

TEST_CASE("A request is sent again whole, with the part of its body that came with the head") {
  const auto body = sample(5'000);
  const bool everything = GENERATE(false, true);
  for (const auto streams : every_tier) {
    CAPTURE(static_cast<int>(streams), everything);
    bench b;
    b.streams = streams;
    b.backends = {at("b1:1000"), at("b2:1000")};
    b.how.failover.on = retry::error | retry::non_idempotent;
    const std::size_t early = everything ? body.size() : 3'000;
    b.request = post(body).substr(0, post(body).size() - body.size() + early);
    b.b1().on_accept = answering([](peer& p, const request_head&) { p.reset(); });
    std::string seen;
    b.b2().on_accept = answering([&](peer& p, const request_head&) {
      p.on_receive = [&](peer& self) {
        seen = self.received;
        if (seen.size() == body.size()) self.send(status(200));
      };
      p.notify();
    });
    b.start();
    b.w.run_for(1s);
    CHECK(b.b2().accepted.size() == 1);
    b.client->send(std::string_view(body).substr(early));
    b.w.run();
    CHECK(seen == body);
    CHECK(b.result().status == 200);
    CHECK(b.result().attempts == 2);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A request is not sent again once body bytes of the client's are gone, nor a POST unless listed") {
  const bool streamed = GENERATE(false, true);
  bench b;
  b.backends = {at("b1:1000"), at("b2:1000")};
  b.how.failover.on = streamed ? retry::error | retry::non_idempotent : retry::error;
  b.request = post("0123456789");
  if (streamed) b.request.resize(b.request.size() - 5);
  b.b1().on_accept = answering([](peer& p, const request_head&) {
    p.on_receive = [](peer& self) {
      if (self.received.size() == 10) self.reset();
    };
    p.notify();
  });
  b.b2().on_accept = answering_with(status(200));
  b.start();
  if (streamed) b.client->send("56789");
  b.w.run();
  CHECK(b.result().attempts == 1);
  CHECK(b.result().status == 502);
  CHECK(b.result().error == errc::upstream_closed);
  CHECK(b.faults() == none);
}

TEST_CASE("A listed status that answers a POST is passed on, unless non_idempotent is listed") {
  for (const bool listed : {false, true}) {
    CAPTURE(listed);
    bench b;
    b.backends = {at("b1:1000"), at("b2:1000")};
    b.how.failover.on = retry::http_503 | (listed ? retry::non_idempotent : 0u);
    b.request = post("0123456789");
    b.b1().on_accept = answering_with(status(503));
    b.b2().on_accept = answering_with(status(200));
    b.run();
    CHECK(b.result().status == (listed ? 200 : 503));
    CHECK(b.result().attempts == (listed ? 2 : 1));
    CHECK(b.group->backends()[0]->failed() == (listed ? 1 : 0));
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A retry budget that is used up ends the exchange with its first failure") {
  for (const double at_least : {0.0, 1.0}) {
    CAPTURE(at_least);
    bench b;
    b.group.emplace(std::vector{at("b1:1000"), at("b2:1000")}, nullptr, "",
                    upstream_options{.retry_budget = {.percent = 1, .at_least = at_least}});
    b.request = get;
    b.b1().does = listener::kind::refuses;
    b.b2().on_accept = answering_with(status(200));
    b.run();
    CHECK(b.result().attempts == (at_least == 0 ? 1 : 2));
    CHECK(b.result().status == (at_least == 0 ? 502 : 200));
    CHECK(b.faults() == none);
  }
}

TEST_CASE("More tunnels than the upstream may have are answered 503") {
  bench b;
  b.group.emplace(std::vector{at("b1:1000"), at("b2:1000")}, nullptr, "", upstream_options{.max_tunnels = 1});
  pick_state state;
  auto other = b.group->pick({}, state, time_point{});
  REQUIRE(other);
  b.run();
  CHECK(b.result().status == 503);
  CHECK(b.result().error == errc::tunnel_limit);
  CHECK(b.result().attempts == 0);
  CHECK_FALSE(b.result().committed);
  other = {};
  CHECK(b.faults() == none);
}

TEST_CASE("A tunnel that its backend breaks off within early_death is a failure of the backend's") {
  struct ending {
    const char* what;
    duration after;
    std::function<void(bench&)> does;
    unsigned failures;
  };
  const auto close = [](std::uint16_t code) {
    return [code](bench& b) {
      b.backend().send(close_frame(code, frame_sender::server));
      b.backend().fin();
    };
  };
  const ending samples[] = {
      {"reset", 1s, [](bench& b) { b.backend().reset(); }, 1},
      {"end without Close", 1s, [](bench& b) { b.backend().fin(); }, 1},
      {"Close 1011", 1s, close(1011), 1},
      {"Close 1000", 1s, close(1000), 0},
      {"later", 3s, [](bench& b) { b.backend().reset(); }, 0},
      {"the client's reset", 1s, [](bench& b) { b.client->reset(); }, 0},
  };
  for (const auto& each : samples) {
    CAPTURE(each.what);
    bench b;
    b.group.emplace(std::vector{at("b1:1000")}, nullptr, "", upstream_options{.early_death = 2s});
    b.b1().on_accept = answering([](peer& self, const request_head& head) { self.send(accepting(head)); });
    b.start();
    b.w.run_for(each.after);
    REQUIRE(b.sessions.size() == 1);
    each.does(b);
    b.w.run_for(100ms);
    b.client->fin();
    b.w.run();
    CHECK(b.group->backends()[0]->failed() == each.failures);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A POST whose connection was refused is sent to the next") {
  bench b;
  b.backends = {at("b1:1000"), at("b2:1000")};
  b.request = post("0123456789");
  b.b1().does = listener::kind::refuses;
  b.b2().on_accept = answering_with(status(200));
  b.run();
  CHECK(b.result().attempts == 2);
  CHECK(b.result().status == 200);
  CHECK(b.faults() == none);
}

TEST_CASE("Tries and time bound the attempts") {
  const bool by_time = GENERATE(false, true);
  bench b;
  b.backends = {at("b1:1000"), at("b2:1000"), at("b3:1000")};
  b.how.tunnel.timeouts.connect = 4s;
  if (by_time) b.how.failover.within = 6s;
  else b.how.failover.tries = 2;
  for (const char* name : {"b1:1000", "b2:1000", "b3:1000"}) b.w.at(name).does = listener::kind::hangs;
  b.run();
  CHECK(b.result().attempts == 2);
  CHECK(b.lasted() == 8s);
  CHECK(b.result().status == 504);
  CHECK(b.faults() == none);
}

TEST_CASE("No usable backend is answered 502, at once") {
  bench b;
  b.backends = {{.name = "b1:1000", .down = true}, {.name = "b2:1000", .down = true}};
  b.run();
  CHECK(b.result().error == errc::no_backend);
  CHECK(b.result().status == 502);
  CHECK(b.result().attempts == 0);
  CHECK(b.result().keep_alive);
  CHECK(b.lasted() == 0s);
  CHECK(b.faults() == none);
}

TEST_CASE("Early bytes of a WebSocket go to the backend that accepts it, exactly once") {
  for (const auto streams : every_tier) {
    bench b;
    b.streams = streams;
    b.backends = {at("b1:1000"), at("b2:1000")};
    const auto first = frame(opcode::text, "one", frame_sender::client);
    const auto second = frame(opcode::text, "two", frame_sender::client);
    b.request += first;
    b.b1().on_accept =
        answering([&b](peer& p, const request_head&) { b.w.after(50ms, [&p] { p.reset(); }); });
    std::string before;
    b.b2().on_accept = answering([&](peer& p, const request_head& head) {
      b.w.after(50ms, [&, head] {
        before = p.received;
        p.send(accepting(head));
      });
    });
    b.start();
    b.client->send(second);
    b.w.run_for(1s);
    CHECK(before.empty());
    CHECK(b.b2().accepted.at(0)->received == first + second);
    CHECK(b.b1().accepted.at(0)->received.empty());
    b.client->reset();
    b.w.run();
    CHECK(b.faults() == none);
  }
}
