#include "bench.hpp"

#include <catch2/catch_test_macros.hpp>

using namespace sim;
using namespace wsproxy;

namespace {

constexpr auto client = frame_sender::client;
constexpr auto server = frame_sender::server;
const std::vector<std::string> none;

std::string text(std::string_view payload, frame_sender from) { return frame(opcode::text, payload, from); }

}  // namespace

TEST_CASE("A WebSocket is tunnelled, closed by the client, and told once") {
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    bench b;
    b.streams = streams;
    b.b1().on_accept = answering([](peer& self, const request_head& head) {
      CHECK(head.target == "/chat");
      self.send(accepting(head));
      self.on_receive = [](peer& again) {
        const auto seen = read_frames(again.received);
        if (!seen.frames.empty() && seen.frames.back().code == opcode::close) {
          again.send(close_frame(1000, server));
          again.fin();
        }
      };
    });
    b.start();
    b.w.run_for(100ms);
    const auto answer = read_response(b.client->received);
    REQUIRE(answer.head.status == 101);
    REQUIRE(b.client->received.size() == answer.size);
    REQUIRE(b.sessions.size() == 1);
    CHECK(b.sessions[0].alive());
    b.client->send(text("hello", client));
    b.w.run_for(100ms);
    CHECK(b.backend().received == text("hello", client));
    b.client->send(close_frame(1000, client));
    b.w.run_for(100ms);
    b.client->fin();
    b.w.run();
    CHECK(b.client->received.substr(answer.size) == close_frame(1000, server));
    CHECK(b.client->eof);
    CHECK(b.backend().eof);
    CHECK(b.faults() == none);
    const auto& result = b.result();
    CHECK_FALSE(result.error);
    CHECK(result.cause == end_cause::closed);
    CHECK(result.who == side::downstream);
    CHECK(result.at == stage::tunnel);
    CHECK(result.status == 101);
    CHECK(result.committed);
    CHECK(result.attempts == 1);
    CHECK(result.from_client.frames == 2);
    CHECK(result.from_client.messages == 1);
    CHECK(result.from_client.close_code == 1000);
    CHECK(result.from_upstream.close_code == 1000);
    CHECK(result.from_client.bytes == b.client->sent.size());
  }
}

TEST_CASE("Early bytes of both sides arrive once, in order, and the client's not before the 101") {
  const auto from_us = text("client one", client) + text("client two", client) + text("client three", client);
  const auto from_them = text("server one", server) + text("server two", server);
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    for (const std::size_t pieces : {std::size_t{1}, std::size_t{5}, link_options::all}) {
      for (std::size_t early = 0; early <= from_us.size(); early += 7) {
        CAPTURE(static_cast<int>(streams), pieces, early);
        bench b;
        b.streams = streams;
        b.client_link.read_most = b.client_link.write_most = b.b1().link.read_most = b.b1().link.write_most =
            pieces;
        b.request += from_us.substr(0, early);
        std::string before;
        b.b1().on_accept = answering([&](peer& self, const request_head& head) {
          b.w.after(50ms, [&, head] {
            before = self.received;
            self.send(accepting(head) + from_them.substr(0, 20));
            self.send(from_them.substr(20));
          });
        });
        b.start();
        b.client->send(from_us.substr(early));
        b.w.run_for(2s);
        CHECK(before.empty());
        CHECK(b.backend().received == from_us);
        const auto answer = read_response(b.client->received);
        CHECK(answer.head.status == 101);
        CHECK(b.client->received.substr(answer.size) == from_them);
        b.client->fin();
        b.backend().fin();
        b.w.run();
        CHECK(b.result().from_client.bytes == from_us.size());
        CHECK(b.result().from_upstream.bytes == from_them.size());
        CHECK(b.faults() == none);
      }
    }
  }
}

TEST_CASE(
    "A refused handshake with early bytes ends the connection, and nothing of them reaches the backend") {
  for (const bool in_request : {false, true}) {
    bench b;
    const auto early = text("early", client);
    if (in_request) b.request += early;
    b.b1().on_accept = answering([&](peer& self, const request_head&) {
      b.w.after(50ms, [&self] { self.send(make_response(403, "no")); });
    });
    b.start();
    if (!in_request) b.client->send(early);
    b.w.run();
    const auto answer = read_response(b.client->received);
    CHECK(answer.head.status == 403);
    CHECK(answer.body == "no");
    CHECK(answer.head.fields.has_token("Connection", "close"));
    CHECK_FALSE(b.result().keep_alive);
    CHECK(b.result().leftover.empty());
    CHECK(b.backend().received.empty());
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A client that waits for the 101 with a FIN behind it is half-closed in the tunnel") {
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    bench b;
    b.streams = streams;
    b.request += text("question", client);
    b.b1().on_accept = answering([&](peer& self, const request_head& head) {
      b.w.after(50ms, [&self, head] { self.send(accepting(head)); });
    });
    b.start();
    b.client->fin();
    b.w.run_for(1s);
    CHECK(b.backend().received == text("question", client));
    CHECK(b.backend().eof);
    b.backend().send(text("answer", server));
    b.backend().fin();
    b.w.run();
    CHECK(b.client->received.ends_with(text("answer", server)));
    CHECK(b.client->eof);
    CHECK(b.faults() == none);
  }
}

TEST_CASE("A side that dies without a word: the other is told and closed") {
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    for (const bool dies_upstream : {false, true}) {
      for (const bool reset : {false, true}) {
        CAPTURE(static_cast<int>(streams), dies_upstream, reset);
        bench b;
        b.streams = streams;
        b.b1().on_accept = websocket_backend();
        b.start();
        b.w.run_for(1s);
        const auto head = b.client->received.size();
        auto& dead = dies_upstream ? b.backend() : *b.client;
        auto& living = dies_upstream ? *b.client : b.backend();
        if (reset) dead.reset();
        else dead.close();
        b.w.run_for(10s);
        const auto told = read_frames(std::string_view(living.received).substr(dies_upstream ? head : 0));
        if (dies_upstream || reset) {
          REQUIRE(told.frames.size() == 1);
          CHECK(told.frames[0].close_code() == (dies_upstream ? 1014 : 1001));
          CHECK(told.frames[0].masked == !dies_upstream);
        }
        CHECK(living.eof);
        b.w.run();
        CHECK(b.result().cause == (reset ? end_cause::reset : end_cause::closed));
        CHECK(b.result().who == (dies_upstream ? side::upstream : side::downstream));
        CHECK(b.faults() == none);
      }
    }
  }
}

TEST_CASE("A slow consumer holds the sender back, in both directions, and everything arrives") {
  const auto big = [](frame_sender from) {
    std::string out;
    for (std::uint64_t i = 0; i != 40; ++i) out += frame(opcode::binary, sample(50'000, i), from);
    return out;
  };
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    bench b;
    b.streams = streams;
    b.client_link.capacity = b.b1().link.capacity = 8'000;
    b.b1().on_accept = websocket_backend();
    b.start();
    b.w.run_for(100ms);
    const auto head = b.client->received.size();
    b.client->stall();
    b.backend().stall();
    b.client->send(big(client));
    b.backend().send(big(server));
    b.w.run_for(20s);
    CHECK(b.client->wire().read_by(0) - b.backend().wire().written_by(0) < 70'000);
    CHECK(b.client->wire().read_by(0) < 100'000);
    CHECK(b.backend().wire().read_by(0) < 100'000);
    b.client->resume();
    b.backend().resume();
    b.w.run_for(5s);
    CHECK(b.client->received.substr(head) == big(server));
    CHECK(b.backend().received.ends_with(big(client)));
    b.sessions.at(0).abort();
    b.w.run();
    CHECK(b.faults() == none);
  }
}

TEST_CASE("drain closes both sides politely, abort at once, and a handle outlives its tunnel") {
  for (const auto streams : {tiers::readiness, tiers::async, tiers::async_downstream}) {
    for (const bool politely : {false, true}) {
      bench b;
      b.streams = streams;
      b.b1().on_accept = websocket_backend(text("hi", server));
      b.start();
      b.w.run_for(1s);
      const auto head = b.client->received.size();
      auto session = b.sessions.at(0);
      CHECK(session.stats().from_upstream.bytes == text("hi", server).size());
      CHECK(session.client() == "192.0.2.1");
      CHECK(session.backend()->name() == "b1:1000");
      const auto asked = b.w.now();
      if (politely) session.drain({.code = 1012, .reason = "restart"});
      else session.abort();
      CHECK_FALSE(b.end.ended());
      b.w.run_for(1s);
      if (politely) {
        const auto seen = read_frames(std::string_view(b.client->received).substr(head));
        REQUIRE(seen.frames.size() == 1);
        CHECK(seen.frames[0].close_code() == 1012);
        CHECK(seen.frames[0].payload.substr(2) == "restart");
        b.client->send(close_frame(1012, client));
        b.client->fin();
        b.backend().send(close_frame(1012, server));
        b.backend().fin();
      } else {
        CHECK(b.end.ended());
        CHECK(b.end.at == asked);
        CHECK(b.client->received.size() == head);
      }
      b.w.run();
      CHECK(b.result().cause == (politely ? end_cause::drained : end_cause::aborted));
      CHECK(b.result().error == (politely ? std::error_code() : errc::cancelled));
      CHECK(b.result().who == side::local);
      CHECK_FALSE(session.alive());
      session.drain();
      session.abort();
      b.w.run();
      CHECK(b.faults() == none);
    }
  }
}

TEST_CASE("An early drain: from within on_established, and while the client's early bytes wait") {
  for (const auto streams : {tiers::readiness, tiers::async}) {
    for (const int how : {0, 1, 2}) {
      CAPTURE(static_cast<int>(streams), how);
      bench b;
      b.streams = streams;
      b.watch_session = false;
      b.request += text("early", client);
      b.b1().on_accept = websocket_backend(text("hi", server));
      b.how.rewrite_response = [&](const exchange&, response_head&) {
        if (how == 2) b.end.stop.emit(asio::cancellation_type::terminal);
      };
      b.on_established = [&](session_handle handle) {
        b.sessions.push_back(handle);
        if (how == 0) handle.drain();
        if (how == 1) b.end.stop.emit(asio::cancellation_type::terminal);
      };
      b.run();
      CHECK(b.result().cause == (how == 0 ? end_cause::drained : end_cause::aborted));
      CHECK(b.faults() == none);
      if (how == 0) CHECK(b.backend().received.starts_with(text("early", client)));
    }
  }
}
