#include <wsproxy/proxy/exchange.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/support/gateway.hpp"

// A reset, a FIN and a stall of each side at every stage before the tunnel (those of a tunnel are in
// tunnel_test.cpp), and what the result says of each.

using namespace test;
using wsproxy::end_cause;
using wsproxy::errc;
using wsproxy::side;
using wsproxy::stage;

namespace {

constexpr auto timer = 150ms;

enum class act { reset, fin, stall };

struct expected {
  end_cause cause;
  std::error_code error;
  side who;
  stage at;
  int status;
  bool committed;
};

void check(const wsproxy::forward_result& result, const expected& want) {
  CHECK(result.cause == want.cause);
  CHECK(result.error == want.error);
  CHECK(result.who == want.who);
  CHECK(result.at == want.at);
  CHECK(result.status == want.status);
  CHECK(result.committed == want.committed);
  CHECK(result.ended >= result.begun);
}

void perform(act what, peer& by) {
  if (what == act::reset) by.reset();
  if (what == act::fin) by.shutdown_send();
}

setup with(const wsproxy::timeouts& times) {
  return {.how = {.tunnel = {.timeouts = times, .limits = {.request_body = 0}}}};
}

// Nothing is left of the exchange.
void check_gone(proxy& p) {
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
  for (const auto& each : p.to.backends()) CHECK(each->active() == 0);
}

}  // namespace

// ---- The client

TEST_CASE("a client that goes while its backend is dialed") {
  stalling_listener stalling;
  const bool websocket = GENERATE(true, false);
  const auto what = GENERATE(act::reset, act::fin);
  auto how = with({.connect = what == act::fin ? timer : 1h});
  how.backends = {{.name = stalling.name()}};
  proxy p(std::move(how));
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  CHECK(eventually([&] { return p.server().stats().requests == 1; }));
  perform(what, client);
  const auto result = p.result();
  if (what == act::reset) {
    check(result, {end_cause::reset, errc::downstream_closed, side::downstream, stage::connect, 0, false});
  } else {  // it still reads
    check(result, {end_cause::timeout, errc::connect_timeout, side::upstream, stage::connect, 504, false});
    CHECK(read_message(client).status() == 504);
    CHECK(client.end() == ending::fin);
  }
  client.close();
  check_gone(p);
}

TEST_CASE("a client that goes while the answer is awaited") {
  proxy p(with({}));
  const bool websocket = GENERATE(true, false);
  const auto what = GENERATE(act::reset, act::fin);
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  auto backend = p.backend.accept();
  read_head(backend);
  perform(what, client);
  if (what == act::reset) {
    check(p.result(),
          {end_cause::reset, errc::downstream_closed, side::downstream, stage::handshake, 0, false});
    backend.end();
  } else {
    client.await_delivery();
    p.settle();
    backend.send(ok("still wanted"));
    const auto answer = read_message(client);
    CHECK(answer.body == "still wanted");
    CHECK(answer.field("Connection") == "close");
    check(p.result(), {end_cause::complete, {}, side::none, stage::response, 200, true});
  }
  client.close();
  check_gone(p);
}

TEST_CASE("a client that goes or stalls inside its request's body") {
  const bool chunked = GENERATE(true, false);
  const bool answered = GENERATE(true, false);  // the backend began its answer before the request was whole
  const auto what = GENERATE(act::reset, act::fin, act::stall);
  if (answered && what == act::stall) return;  // in sim/timers_test.cpp: here the answer might be too late
  proxy p(with({.client_body = what == act::stall ? timer : 1h}));
  auto client = p.client();
  client.send(chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"
                      : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhel");
  auto backend = p.backend.accept();
  read_head(backend);
  backend.read_until("hel");
  if (answered) {
    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel");
    CHECK(client.read_until("hel").ends_with("hel"));
  }
  perform(what, client);
  const auto result = p.result();
  const auto at = answered ? stage::response : stage::handshake;
  const int status = answered ? 200 : 0;
  switch (what) {
  case act::reset:
    check(result, {end_cause::reset, errc::downstream_closed, side::downstream, at, status, answered});
    break;
  case act::fin:
    check(result, {end_cause::closed, errc::body_truncated, side::downstream, at, status, answered});
    break;
  case act::stall:
    CHECK(result.ended - result.begun >= timer);
    check(result, {end_cause::timeout, errc::client_body_timeout, side::downstream, at, 408, false});
    CHECK(read_message(client).status() == 408);
    CHECK(client.end() == ending::fin);
    break;
  }
  backend.end();
  client.close();
  check_gone(p);
}

TEST_CASE("a client that goes or stalls inside the answer's body") {
  const bool websocket = GENERATE(true, false);
  const auto what = GENERATE(act::reset, act::fin, act::stall);
  proxy p(with({.send_stall = what == act::stall ? timer : 1h}));
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  auto backend = p.backend.accept();
  read_head(backend);
  const std::size_t size = 64 << 20;
  backend.send("HTTP/1.1 404 Not Found\r\nContent-Length: " + std::to_string(size) + "\r\n\r\n");
  const std::string chunk(1 << 20, 'x');
  if (what == act::stall) {
    backend.flood();
    check(p.result(),
          {end_cause::timeout, errc::send_stall_timeout, side::downstream, stage::response, 404, true});
  } else {
    backend.send(chunk);
    read_head(client);
    perform(what, client);
    if (what == act::reset) {
      check(p.result(),
            {end_cause::reset, errc::downstream_closed, side::downstream, stage::response, 404, true});
      backend.end();
    } else {
      std::thread rest([&] {
        for (std::size_t sent = chunk.size(); sent != size; sent += chunk.size()) backend.send(chunk);
      });
      CHECK(client.read_all().size() == size);
      rest.join();
      check(p.result(), {end_cause::complete, {}, side::none, stage::response, 404, true});
    }
  }
  client.close();
  check_gone(p);
}

// ---- The backend

TEST_CASE("a backend that refuses the connection, or does not take it") {
  const bool websocket = GENERATE(true, false);
  const bool refuses = GENERATE(true, false);
  stalling_listener stalling;
  auto how = with({.connect = timer});
  how.backends = {{.name = refuses ? refusing_address() : stalling.name()}};
  proxy p(std::move(how));
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  CHECK(read_message(client).status() == (refuses ? 502 : 504));
  const auto result = p.result();
  if (refuses) {
    check(result, {end_cause::failed, errc::connect_failed, side::upstream, stage::connect, 502, false});
  } else {
    check(result, {end_cause::timeout, errc::connect_timeout, side::upstream, stage::connect, 504, false});
    CHECK(result.ended - result.begun >= timer);
  }
  CHECK(result.attempts == 1);
  CHECK(p.to.backends().front()->failed() == 1);
  client.send(get());  // the connection is still good
  CHECK(read_message(client).status() >= 502);
  client.close();
  check_gone(p);
}

TEST_CASE("a Unix socket that is not there refuses") {
  proxy p({.backends = {{.name = "unix:/nowhere/at/all"}}});
  auto client = p.client();
  client.send(handshake());
  CHECK(read_message(client).status() == 502);
  check(p.result(), {end_cause::failed, errc::connect_failed, side::upstream, stage::connect, 502, false});
}

TEST_CASE("a backend that goes or stalls before its answer's head is whole") {
  const bool websocket = GENERATE(true, false);
  const auto what = GENERATE(act::reset, act::fin, act::stall);
  const auto part =
      GENERATE(as<std::string>{}, "", "H", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
               "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
  const bool interim = part.ends_with("\r\n\r\n");
  if (interim && what == act::stall) return;  // in sim/timers_test.cpp: here it might be too late
  proxy p(with({.response = what == act::stall ? timer : 1h}));
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(part);
  if (interim) CHECK(status_of(read_head(client)) == 103);
  else p.settle();
  perform(what, backend);
  const auto result = p.result();
  if (what == act::stall) {
    CHECK(result.ended - result.begun >= timer);
    check(result, {end_cause::timeout, errc::response_timeout, side::upstream, stage::handshake, 504, false});
  } else {
    check(result, {end_cause::failed, errc::upstream_closed, side::upstream, stage::handshake, 502, false});
  }
  CHECK(read_message(client).status() == (what == act::stall ? 504 : 502));
  CHECK(p.to.backends().front()->failed() == 1);
  if (what == act::fin) CHECK(backend.end() == ending::fin);
  client.send(get());  // the connection is still good
  auto again = p.backend.accept();
  read_head(again);
  if (what != act::stall) again.send(ok("fine"));
  CHECK(read_message(client).status() == (what == act::stall ? 504 : 200));
  client.close();
  p.result();
  check_gone(p);
}

TEST_CASE("a backend that goes inside its answer's body") {  // one that stalls: in sim/timers_test.cpp
  const bool websocket = GENERATE(true, false);
  const auto what = GENERATE(act::reset, act::fin);
  const auto framing = GENERATE(as<std::string>{}, "Content-Length: 10\r\n\r\nhel",
                                "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", "\r\nhel");
  const bool until_close = framing == "\r\nhel";
  proxy p(with({.response = 1h}));
  auto client = p.client();
  client.send(websocket ? handshake() : get());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send("HTTP/1.1 200 OK\r\n" + framing);
  CHECK(client.read_until("hel").starts_with("HTTP/1.1 200 OK\r\n"));
  perform(what, backend);
  const auto result = p.result();
  if (what == act::fin && until_close) {
    check(result, {end_cause::complete, {}, side::none, stage::response, 200, true});
    CHECK(result.keep_alive);
    CHECK(client.read_until("0\r\n\r\n") == "\r\n0\r\n\r\n");
    client.close();
    return check_gone(p);
  } else {
    check(result, {end_cause::failed, errc::body_truncated, side::upstream, stage::response, 200, true});
  }
  CHECK_FALSE(result.keep_alive);
  // The client can tell that something is missing: no last chunk, less than was announced.
  CHECK(client.read_all().find("0\r\n\r\n") == std::string::npos);
  client.close();
  check_gone(p);
}

TEST_CASE("a backend that goes or stalls while the request's body is sent") {
  const auto what = GENERATE(act::reset, act::fin, act::stall);
  proxy p(with({.upstream_send_stall = what == act::stall ? timer : 1h}));
  auto client = p.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  const std::string chunk(1 << 20, 'x');
  if (what == act::stall) {
    while (!client.readable(0ms)) client.send_some(chunk, 10ms);  // its body is longer than what is taken
    check(p.result(),
          {end_cause::timeout, errc::send_stall_timeout, side::upstream, stage::handshake, 504, false});
  } else {
    client.send(chunk);
    backend.read(chunk.size());
    perform(what, backend);
    check(p.result(),
          {end_cause::failed, errc::upstream_closed, side::upstream, stage::handshake, 502, false});
  }
  CHECK(read_message(client).status() == (what == act::stall ? 504 : 502));
  client.reset();
  check_gone(p);
}

TEST_CASE("an answer that comes before the request is whole is relayed, though the backend stops reading") {
  proxy p(with({}));
  auto client = p.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 67108864\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
  backend.shutdown_send();
  const auto answer = read_message(client);
  CHECK(answer.status() == 413);
  CHECK(answer.body == "no!");
  CHECK(answer.field("Connection") == "close");
  check(p.result(), {end_cause::complete, {}, side::none, stage::response, 413, true});
  client.close();
  check_gone(p);
}

TEST_CASE("an answer behind which the backend resets is relayed as far as it came") {
  proxy p(with({}));
  auto client = p.client();
  client.send(get());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(ok("whole"));
  backend.reset();
  CHECK(read_message(client).body == "whole");
  CHECK(p.result().cause == end_cause::complete);
}

TEST_CASE("a silent backend is given response from the end of the request, not of its beginning") {
  proxy p(with({.response = 300ms}));
  auto client = p.client();
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  auto last = clock::now();
  for (int i = 0; i != 20; ++i) {
    last = clock::now();
    client.send("x");
    std::this_thread::sleep_for(20ms);
  }
  CHECK(read_message(client).status() == 504);
  CHECK(clock::now() - last >= 300ms);
  CHECK(p.result().error == errc::response_timeout);
}

TEST_CASE("a request that a rule refuses never reaches a backend") {
  proxy p({.how = {.upgrade = {.origins = {"https://good.test"}}}});
  struct refused {
    std::string request;
    errc error;
    int status;
  };
  const auto changed = [](std::string_view from, std::string_view to) {
    auto request = handshake("Origin: https://good.test\r\n");
    request.replace(request.find(from), from.size(), to);
    return request;
  };
  const std::vector<refused> all{
      {handshake("Origin: https://evil.test\r\n"), errc::origin_not_allowed, 403},
      {handshake(), errc::origin_not_allowed, 403},
      {changed("Sec-WebSocket-Key: ", "X: "), errc::missing_key, 400},
      {changed(sample_key, "dG9vIHNob3J0"), errc::bad_key, 400},
      {handshake("Origin: https://good.test\r\nSec-WebSocket-Key: " + std::string(sample_key) + "\r\n"),
       errc::duplicate_key, 400},
      {changed("Version: 13", "Version: 8"), errc::bad_websocket_version, 426},
      {handshake("Origin: https://good.test\r\nContent-Length: 1\r\n") + "x", errc::upgrade_with_body, 400},
      {handshake("Origin: https://good.test\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
       errc::upgrade_with_body, 400},
  };
  for (const auto& each : all) {
    INFO(each.request);
    auto client = p.client();
    client.send(each.request);
    CHECK(read_message(client).status() == each.status);
    CHECK(client.end() == ending::fin);
    const auto result = p.result();
    check(result, {end_cause::refused, each.error, side::downstream, stage::head, each.status, false});
    CHECK(result.attempts == 0);
  }
  CHECK(p.server().stats().refused == all.size());
  CHECK_FALSE(p.backend.accept_within(0ms));
}
