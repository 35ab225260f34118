#include <wsproxy/proxy/forward.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "tests/support/gateway.hpp"

using namespace test;
using wsproxy::end_cause;
using wsproxy::errc;
using wsproxy::side;
using wsproxy::stage;

namespace {

// The connection is still good for a request.
void check_goes_on(proxy& p, peer& client) {
  client.send(get("/second"));
  auto backend = p.backend.accept();
  CHECK(read_head(backend).starts_with("GET /second HTTP/1.1\r\n"));
  backend.send(ok("again"));
  const auto answer = read_message(client);
  CHECK(answer.status() == 200);
  CHECK(answer.body == "again");
}

std::string read_chunked(peer& from) {
  std::string body;
  for (;;) {
    const auto line = from.read_until("\r\n");
    const auto size = std::stoul(line, nullptr, 16);
    body += from.read(size);
    from.read_until("\r\n");
    if (size == 0) return body;
  }
}

// What is left to be read, also when a reset ends it.
std::string rest_of(peer& from) {
  std::string all;
  try {
    for (auto bytes = from.read_some(); !bytes.empty(); bytes = from.read_some()) all += bytes;
  } catch (const std::system_error&) {
  }
  return all;
}

}  // namespace

// ---- Bytes behind a head.

TEST_CASE("a client's frame in the segment of its request reaches the backend behind the 101") {
  proxy p;
  auto client = p.client();
  client.send(handshake() + client_frame(text, "early"));
  auto backend = p.backend.accept();
  CHECK(read_head(backend).find("Upgrade: websocket\r\n") != std::string::npos);
  p.settle();
  CHECK_FALSE(backend.readable(0ms));  // nothing goes up before the 101
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  CHECK(read_frame(backend).bytes == client_frame(text, "early"));
}

TEST_CASE("a backend's frame in the segment of its 101 reaches the client") {
  proxy p;
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(switching() + server_frame(text, "first"));
  CHECK(status_of(read_head(client)) == 101);
  CHECK(read_frame(client).bytes == server_frame(text, "first"));
}

TEST_CASE("early frames of both sides, of any size, keep their order") {
  const auto size = GENERATE(as<std::size_t>{}, 1, 125, 126, 4000, 30000, 60000);
  proxy p;
  auto client = p.client();
  const std::string up(size, 'u'), down(size, 'd');
  client.send(handshake() + client_frame(binary, up) + client_frame(text, "second"));
  auto backend = p.backend.accept();
  read_head(backend);
  p.settle();
  backend.send(switching() + server_frame(binary, down) + server_frame(text, "second"));
  CHECK(status_of(read_head(client)) == 101);
  CHECK(read_frame(client).payload == down);
  CHECK(read_frame(client).payload == "second");
  CHECK(read_frame(backend).payload == up);
  CHECK(read_frame(backend).payload == "second");
  backend.send(server_frame(text, "third"));
  CHECK(read_frame(client).payload == "third");
}

TEST_CASE("more early bytes than the limit wait in the client's connection and none is lost") {
  proxy p({.how = {.tunnel = {.limits = {.early_bytes = 1000}}}});
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);
  const std::string payload(300'000, 'x');
  std::thread sender([&] { client.send(client_frame(binary, payload)); });
  p.settle();
  backend.send(switching());
  const auto frame = read_frame(backend);
  sender.join();
  CHECK(frame.payload == payload);
  CHECK(status_of(read_head(client)) == 101);
}

TEST_CASE("early bytes over the limit in the request's own segment are refused") {
  proxy p({.how = {.tunnel = {.limits = {.early_bytes = 10}}}});
  auto client = p.client();
  client.send(handshake() + client_frame(text, "more than ten bytes"));
  CHECK(read_message(client).status() == 400);
  CHECK(p.result().error == errc::early_bytes_too_large);
  CHECK(client.end() == ending::fin);
}

TEST_CASE("a client that sends FIN behind its handshake still gets the backend's frames") {
  const bool before_101 = GENERATE(true, false);
  proxy p;
  auto client = p.client();
  client.send(handshake() + client_frame(text, "last words"));
  if (before_101) client.shutdown_send();
  auto backend = p.backend.accept();
  read_head(backend);
  p.settle();
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  if (!before_101) client.shutdown_send();
  CHECK(read_frame(backend).payload == "last words");
  CHECK(backend.read_some().empty());  // the FIN came through
  backend.send(server_frame(text, "late"));
  CHECK(read_frame(client).payload == "late");
  backend.close();
  CHECK(client.read_some().empty());
  const auto result = p.result();
  CHECK_FALSE(result.error);
  CHECK(result.cause == end_cause::closed);
  CHECK(result.who == side::downstream);
  CHECK(result.status == 101);
}

// ---- Answers other than 101.

TEST_CASE("an ordinary answer to a handshake keeps its framing and the connection goes on") {
  proxy p;
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);

  SECTION("with a length") {
    backend.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nno");
    p.settle();
    backend.send("pe");
    const auto answer = read_message(client);
    CHECK(answer.status() == 403);
    CHECK(answer.body == "nope");
  }
  SECTION("chunked") {
    backend.send("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r");
    p.settle();
    backend.send("\n2;x=y\r\nde\r\n0\r\n\r\n");
    const auto head = read_head(client);
    CHECK(status_of(head) == 404);
    CHECK(field_of(head, "Transfer-Encoding") == "chunked");
    CHECK(read_chunked(client) == "abcde");
  }
  SECTION("delimited by the connection's end, which becomes chunked") {
    backend.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the ");
    p.settle();
    backend.send("end");
    backend.shutdown_send();
    const auto head = read_head(client);
    CHECK(status_of(head) == 200);
    CHECK(field_of(head, "Transfer-Encoding") == "chunked");
    CHECK(read_chunked(client) == "until the end");
  }
  SECTION("without a body") {
    backend.send("HTTP/1.1 204 No Content\r\n\r\n");
    CHECK(status_of(read_head(client)) == 204);
  }
  SECTION("after interim answers") {
    backend.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    CHECK(status_of(read_head(client)) == 103);
    backend.send("HTTP/1.1 102 Processing\r\n\r\n" + ok("done"));
    CHECK(status_of(read_head(client)) == 102);
    CHECK(read_message(client).body == "done");
  }

  CHECK(backend.end() == ending::fin);  // never used again
  const auto result = p.result();
  CHECK_FALSE(result.error);
  CHECK(result.cause == end_cause::complete);
  CHECK(result.committed);
  CHECK(result.keep_alive);
  check_goes_on(p, client);
}

TEST_CASE("an answer delimited by its end is so for an HTTP/1.0 client too") {
  proxy p;
  auto client = p.client();
  client.send("GET / HTTP/1.0\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  const auto head = read_head(client);
  CHECK(field_of(head, "Transfer-Encoding") == "(none)");
  CHECK(field_of(head, "Connection") == "close");
  CHECK(client.read_all() == "abc");
}

TEST_CASE("a 101 that nobody asked for is answered 502") {
  proxy p;
  auto client = p.client();
  client.send(get());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(switching() + server_frame(text, "smuggled"));
  const auto answer = read_message(client);
  CHECK(answer.status() == 502);
  CHECK(backend.end() == ending::fin);
  const auto result = p.result();
  CHECK(result.who == side::upstream);
  CHECK(result.at == stage::handshake);
  CHECK_FALSE(result.committed);
  check_goes_on(p, client);
}

TEST_CASE("a 101 that does not fit the handshake is answered 502") {
  const auto answer_of_backend = GENERATE(
      as<std::string>{},
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
      "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
      "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
      "SSH-2.0-x\r\n\r\n");
  proxy p;
  auto client = p.client();
  client.send(handshake());
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(answer_of_backend);
  CHECK(read_message(client).status() == 502);
  const auto result = p.result();
  CHECK(result.cause == end_cause::failed);
  CHECK(result.who == side::upstream);
  CHECK(p.established == 0);
}

// ---- What is no handshake.

TEST_CASE("Upgrade: h2c goes up as a plain request, and its 101 is refused") {
  proxy p;
  auto client = p.client();
  client.send(
      get("/", "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"));
  auto backend = p.backend.accept();
  const auto head = read_head(backend);
  CHECK(field_of(head, "Upgrade") == "(none)");
  CHECK(field_of(head, "HTTP2-Settings") == "(none)");
  CHECK(field_of(head, "Connection") == "close");
  backend.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n");
  CHECK(read_message(client).status() == 502);
}

TEST_CASE("Connection over two lines, the first empty, makes a handshake") {
  proxy p;
  auto client = p.client();
  client.send(
      "GET / HTTP/1.1\r\nHost: example.test\r\nConnection:\r\nConnection: keep-alive, Upgrade\r\n"
      "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " +
      std::string(sample_key) + "\r\n\r\n");
  auto backend = p.backend.accept();
  const auto head = read_head(backend);
  CHECK(field_of(head, "Upgrade") == "websocket");
  CHECK(field_of(head, "Connection") == "upgrade");
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
}

TEST_CASE("a client cannot nominate away what the proxy adds") {
  wsproxy::route how;
  how.rewrite_request = [](const wsproxy::exchange& what, const wsproxy::backend&,
                           wsproxy::request_rewrite& out) { out.set.add("X-Real-IP", what.client); };
  proxy p({.how = std::move(how)});
  auto client = p.client();
  client.send(
      get("/", "Connection: X-Real-IP, X-Mine\r\nX-Real-IP: 6.6.6.6\r\nX-Mine: gone\r\nX-Other: stays\r\n"));
  auto backend = p.backend.accept();
  const auto head = read_head(backend);
  CHECK(field_of(head, "X-Real-IP") == "127.0.0.1");
  CHECK(head.find("6.6.6.6") == std::string::npos);
  CHECK(field_of(head, "X-Mine") == "(none)");
  CHECK(field_of(head, "X-Other") == "stays");
}

TEST_CASE("POST with Upgrade is a plain request whose body goes along") {
  proxy p;
  auto client = p.client();
  std::string request = handshake("Content-Length: 5\r\n");
  request.replace(0, 3, "POST");
  client.send(request + "he");
  auto backend = p.backend.accept();
  const auto head = read_head(backend);
  CHECK(head.starts_with("POST "));
  CHECK(field_of(head, "Upgrade") == "(none)");
  client.send("llo");
  CHECK(backend.read(5) == "hello");
  backend.send(switching());
  CHECK(read_message(client).status() == 502);
}

TEST_CASE("HTTP/1.0 with Upgrade is a plain request") {
  proxy p;
  auto client = p.client();
  std::string request = handshake();
  request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");
  client.send(request);
  auto backend = p.backend.accept();
  CHECK(field_of(read_head(backend), "Upgrade") == "(none)");
  backend.send(ok("plain"));
  const auto answer = read_message(client);
  CHECK(answer.body == "plain");
  CHECK(client.read_some().empty());
}

TEST_CASE("a request pipelined behind a refused handshake is never forwarded") {
  proxy p;
  auto client = p.client();

  SECTION("refused by the backend") {
    client.send(handshake() + get("/admin"));
    auto backend = p.backend.accept();
    read_head(backend);
    backend.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    CHECK(rest_of(backend).empty());
    const auto answer = read_message(client);
    CHECK(answer.status() == 403);
    CHECK(answer.field("Connection") == "close");
  }
  SECTION("refused by the backend, and sent while the answer was on its way") {
    client.send(handshake());
    auto backend = p.backend.accept();
    read_head(backend);
    client.send(get("/admin"));
    client.await_delivery();
    p.settle();
    backend.send("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    CHECK(rest_of(backend).empty());
    CHECK(status_of(read_head(client)) == 403);
    CHECK(client.read_until("0\r\n\r\n") == "0\r\n\r\n");
  }
  SECTION("refused by the proxy") {
    std::string wrong = handshake();
    wrong.replace(wrong.find("Version: 13"), 11, "Version: 12");
    client.send(wrong + get("/admin"));
    const auto answer = read_message(client);
    CHECK(answer.status() == 426);
    CHECK(answer.field("Sec-WebSocket-Version") == "13");
  }
  SECTION("failed at the backend") {
    client.send(handshake() + get("/admin"));
    auto backend = p.backend.accept();
    read_head(backend);
    backend.close();
    CHECK(read_message(client).status() == 502);
  }

  CHECK(rest_of(client).empty());
  CHECK_FALSE(p.backend.accept_within(0ms));
  CHECK(p.server().stats().requests == 1);
}

// ---- Bodies.

TEST_CASE("a request body reaches the backend in the framing it came in") {
  proxy p;
  auto client = p.client();
  SECTION("a length") {
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234");
    auto backend = p.backend.accept();
    CHECK(field_of(read_head(backend), "Content-Length") == "10");
    client.send("56789" + get("/next"));
    CHECK(backend.read(10) == "0123456789");
    backend.send(ok("got it"));
    CHECK(read_message(client).body == "got it");
    CHECK(backend.end() == ending::fin);
    auto next = p.backend.accept();  // the pipelined request
    CHECK(read_head(next).starts_with("GET /next "));
    next.send(ok("next"));
    CHECK(read_message(client).body == "next");
  }
  SECTION("chunks, with a trailer") {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc");
    auto backend = p.backend.accept();
    CHECK(field_of(read_head(backend), "Transfer-Encoding") == "chunked");
    client.send("\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n");
    std::string body;
    while (body.find("\r\n\r\n") == std::string::npos) body += backend.read_some();
    CHECK(body.ends_with("0\r\nX-Sum: 7\r\n\r\n"));
    CHECK(body.find("abc") != std::string::npos);
    backend.send(ok(""));
    CHECK(read_message(client).status() == 200);
  }
  SECTION("after 100 Continue") {
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK(status_of(read_head(client)) == 100);
    client.send("ok");
    auto backend = p.backend.accept();
    CHECK(field_of(read_head(backend), "Expect") == "(none)");
    CHECK(backend.read(2) == "ok");
    backend.send(ok("done"));
    CHECK(read_message(client).body == "done");
  }
}

TEST_CASE("a body over the limit is answered 413") {
  proxy p({.how = {.tunnel = {.limits = {.request_body = 8}}}});
  auto client = p.client();
  SECTION("announced") { client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"); }
  SECTION("counted") {
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n012345678\r\n0\r\n\r\n");
  }
  CHECK(read_message(client).status() == 413);
  CHECK(client.end() == ending::fin);
  CHECK(p.result().error == errc::body_too_large);
}

TEST_CASE("big bodies pass both ways at once") {
  const std::size_t size = (32u << 20) / scale();
  proxy p({.how = {.tunnel = {.limits = {.request_body = 0}}}});
  auto client = p.client();
  std::string body(size, '\0');
  for (std::size_t i = 0; i != size; ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  const auto length = std::to_string(size);
  auto sending = std::async(std::launch::async, [&] {
    client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: " + length + "\r\n\r\n");
    client.send(body);
  });
  auto echoing = std::async(std::launch::async, [&] {
    auto backend = p.backend.accept();
    read_head(backend);
    backend.send("HTTP/1.1 200 OK\r\nContent-Length: " + length + "\r\n\r\n");
    for (std::size_t done = 0; done != size;) {
      const auto bytes = backend.read_some();
      if (bytes.empty()) throw ended("the proxy closed");
      backend.send(bytes);
      done += bytes.size();
    }
    backend.end();
  });
  const auto head = read_head(client);
  CHECK(status_of(head) == 200);
  // The answer began before the request was whole: nobody could tell then that the connection may go on.
  CHECK(field_of(head, "Connection") == "close");
  const bool same = client.read(size) == body;
  CHECK(same);
  sending.get();
  echoing.get();
  CHECK(client.end() == ending::fin);
  const auto result = p.result();
  CHECK(result.cause == end_cause::complete);
  CHECK(result.from_client.bytes == size);
  CHECK(result.from_upstream.bytes == size);
}

// ---- Failover.

TEST_CASE("a backend that fails before it answers is followed by the next") {
  listener first, second;
  proxy p({.backends = {{.name = first.name()}, {.name = second.name()}}});
  auto client = p.client();
  client.send(handshake());
  {
    auto failing = first.accept();
    read_head(failing);
    SECTION("closed") { failing.close(); }
    SECTION("reset") { failing.reset(); }
    SECTION("closed inside the head") {
      failing.send("HTTP/1.1 101 Swi");
      p.settle();
      failing.close();
    }
  }
  auto backend = second.accept();
  CHECK(read_head(backend).starts_with("GET /chat "));
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  client.reset();
  backend.reset();
  const auto result = p.result();
  CHECK(result.attempts == 2);
  CHECK(result.backend->name() == second.name());
}

TEST_CASE("a refused connect is followed by the next backend") {
  listener good;
  proxy p(
      {.backends = {{.name = refusing_address()}, {.name = "unix:/nowhere/at/all"}, {.name = good.name()}}});
  auto client = p.client();
  client.send(handshake());
  auto backend = good.accept();
  read_head(backend);
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);
  client.reset();
  backend.reset();
  CHECK(p.result().attempts == 3);
}

// ---- The list of backends.

TEST_CASE("tunnels live on when the list of backends changes") {
  listener other;
  proxy p;
  auto old = p.open();
  const auto before = p.to.backends().front();
  p.to.set_backends({{.name = other.name()}});
  CHECK(before->active() == 1);

  auto client = p.client();
  client.send(handshake());
  auto backend = other.accept();
  read_head(backend);
  backend.send(switching());
  CHECK(status_of(read_head(client)) == 101);

  old.client.send(client_frame(text, "still here"));
  CHECK(read_frame(old.backend).payload == "still here");
  old.backend.send(server_frame(text, "me too"));
  CHECK(read_frame(old.client).payload == "me too");
  client.reset();
  backend.reset();
  CHECK(p.result().backend == p.to.backends().front());
  old.client.reset();
  old.backend.reset();
  CHECK(p.result().backend == before);
  CHECK(eventually([&] { return before->active() == 0; }));
}
