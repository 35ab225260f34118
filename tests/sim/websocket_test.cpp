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
