#include <wsproxy/proxy/read_head.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_adapters.hpp>

#include <asio/local/connect_pair.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/read.hpp>

#include "tests/support/gateway.hpp"

using namespace test;
using wsproxy::errc;

namespace {

struct bad {
  const char* what;
  std::string bytes;
  int status;
};

std::string with_line(const std::string& line) { return "GET / HTTP/1.1\r\nHost: a\r\n" + line + "\r\n\r\n"; }

std::vector<bad> bad_requests() {
  using namespace std::string_literals;
  return {
      {"a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s + std::string(300, '\x5a'), 400},
      {"binary garbage", "\xff\xfe\x00\x01\x02\r\n\r\n"s, 400},
      {"a WebSocket frame", client_frame(text, "hello"), 400},
      {"a bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
      {"a bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400},
      {"a bare CR", "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n", 400},
      {"NUL in a value", with_line("X: a\0b"s), 400},
      {"NUL in a name", with_line("X\0Y: a"s), 400},
      {"obs-fold", with_line("X: a\r\n b"), 400},
      {"space before the colon", with_line("X : a"), 400},
      {"an empty name", with_line(": a"), 400},
      {"a line without colon", with_line("X"), 400},
      {"two Hosts", with_line("Host: b"), 400},
      {"no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400},
      {"a Host that is none", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"another host in the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"length and coding", with_line("Content-Length: 3\r\nTransfer-Encoding: chunked"), 400},
      {"coding and length", with_line("Transfer-Encoding: chunked\r\nContent-Length: 3"), 400},
      {"two lengths", with_line("Content-Length: 3\r\nContent-Length: 4"), 400},
      {"a negative length", with_line("Content-Length: -3"), 400},
      {"an unknown coding", with_line("Transfer-Encoding: gzip, chunked"), 501},
      {"a coding in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"an unknown version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"HTTP/0.9", "GET /\r\n", 400},
      {"CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 405},
      {"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"a request line without end", "GET /" + std::string(9000, 'x'), 414},
      {"a field line without end", "GET / HTTP/1.1\r\nX: " + std::string(9000, 'x'), 400},
      {"a head over the limit",
       "GET / HTTP/1.1\r\nHost: a\r\n" +
           [] {
             std::string lines;
             for (int i = 0; i != 10; ++i) lines += "X: " + std::string(4000, 'x') + "\r\n";
             return lines;
           }() +
           "\r\n",
       400},
      {"too many fields",
       "GET / HTTP/1.1\r\nHost: a\r\n" +
           [] {
             std::string lines;
             for (int i = 0; i != 1001; ++i) lines += "X: y\r\n";
             return lines;
           }() +
           "\r\n",
       400},
  };
}

}  // namespace

TEST_CASE("a bad request is answered with its status, and the connection closed") {
  const bool in_bytes = GENERATE(false, true);
  proxy p;
  for (const auto& request : bad_requests()) {
    INFO(request.what << (in_bytes ? ", byte by byte" : ""));
    auto client = p.client();
    try {
      if (in_bytes && request.bytes.size() < 400)
        for (const char byte : request.bytes) client.send({&byte, 1});
      else client.send(request.bytes);
    } catch (const std::system_error&) {  // it may be closed before all is sent
    }
    const auto answer = read_message(client);
    CHECK(answer.status() == request.status);
    CHECK(answer.field("Connection") == "close");
    CHECK(answer.body.starts_with(std::to_string(request.status)));
    CHECK(client.end() == ending::fin);
  }
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
  CHECK(p.server().stats().refused == bad_requests().size());
  CHECK_FALSE(p.backend.accept_within(0ms));
}

TEST_CASE("a bad request behind a good one is answered behind its answer") {
  proxy p;
  auto client = p.client();
  client.send(get("/good") + "GET / HTTP/1.1\r\nHost : a\r\n\r\n");
  auto backend = p.backend.accept();
  read_head(backend);
  backend.send(ok("fine"));
  CHECK(read_message(client).body == "fine");
  CHECK(read_message(client).status() == 400);
  CHECK(client.end() == ending::fin);
}

TEST_CASE("a client that never stops sending is cut off") {
  proxy p({.options = {.timeouts = {.linger = 150ms}}});
  auto client = p.client();
  const auto begin = clock::now();
  client.flood();
  CHECK(clock::now() - begin >= 150ms);
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
}

TEST_CASE("a head that does not come in time is closed silently") {
  proxy p({.options = {.timeouts = {.client_head = 150ms, .linger = 100ms}}});
  const auto begin = clock::now();
  auto client = p.client();
  const auto part = GENERATE(as<std::string>{}, "", "G", "GET / HTTP/1.1\r\nHost: a\r\n");
  client.send(part);
  CHECK(client.read_to_end().empty());
  CHECK(clock::now() - begin >= 150ms);
}

TEST_CASE("a time of for ever does not fire at once") {
  asio::io_context context(1);
  asio::local::stream_protocol::socket socket(context), peer(context);
  asio::local::connect_pair(socket, peer);
  std::error_code read, sent;
  wsproxy::async_read_head(socket, {}, {.head = wsproxy::duration::max()},
                           [&](wsproxy::read_head_result result) { read = result.error; });
  asio::post(context, [&] { asio::post(context, [&] { peer.close(); }); });
  context.run();
  CHECK(read == asio::error::eof);
  context.restart();
  asio::local::stream_protocol::socket from(context), to(context);
  asio::local::connect_pair(from, to);
  std::string sink(10 << 20, ' ');
  wsproxy::async_send(from, std::string(10 << 20, 'x'), {.send_stall = wsproxy::duration::max()},
                      [&](std::error_code error) { sent = error; });
  asio::async_read(to, asio::buffer(sink), [](std::error_code, std::size_t) {});
  context.run();
  CHECK(sent == std::error_code());
  CHECK(sink.find(' ') == std::string::npos);
}

TEST_CASE("bytes that trickle in do not renew client_head") {
  proxy p({.options = {.timeouts = {.client_head = 300ms}}});
  auto client = p.client();
  const auto begin = clock::now();
  client.send("GET / HTTP/1.1\r\nX: ");
  bool ended = false;
  while (!(ended = client.readable(10ms)) && clock::now() - begin < patience) client.send("x");
  CHECK(ended);
  CHECK(client.read_to_end().empty());
  CHECK(clock::now() - begin >= 300ms);
}

TEST_CASE("between two requests keep_alive counts, and inside the next one client_head") {
  const bool idle = GENERATE(true, false);
  const auto select = [](const wsproxy::inbound&) -> wsproxy::decision {
    return wsproxy::respond{.body = "x"};
  };
  // Of the second request only: the first may come when it likes.
  const wsproxy::reception second{
      .timeouts = {.client_head = idle ? 1h : 150ms, .keep_alive = idle ? 150ms : 1h}};
  proxy p({.options = {.receive =
                           [&](const wsproxy::inbound& in) { return in.request == 0 ? nullptr : &second; }},
           .select = select});
  auto client = p.client();
  auto begin = clock::now();
  client.send(get());
  CHECK(read_message(client).body == "x");
  if (!idle) {
    p.loop.pause(300ms);
    CHECK_FALSE(client.readable(0ms));
    begin = clock::now();
    client.send("GET");
  }
  CHECK(client.read_all().empty());
  CHECK(clock::now() - begin >= 150ms);
}

TEST_CASE("a client that leaves before or inside its head gets no answer") {
  proxy p;
  const auto part = GENERATE(as<std::string>{}, "", "\r\n", "GET / HTT", "GET / HTTP/1.1\r\nHost: a\r\n");
  const bool resets = GENERATE(false, true);
  auto client = p.client();
  client.send(part);
  p.settle();
  if (resets) {
    client.reset();
  } else {
    client.shutdown_send();
    CHECK(client.read_all().empty());
  }
  CHECK(eventually([&] { return p.server().stats().connections == 0; }));
  CHECK(p.server().stats().requests == 0);
}

// ---- Every split

TEST_CASE("a handshake and first frames, split anywhere on the client's side, give the same tunnel") {
  proxy p;
  const auto bytes = handshake("Sec-WebSocket-Protocol: chat\r\n", "/a?b") + client_frame(text, "first") +
                     client_frame(binary, std::string(126, 'x'));
  const auto head_size = bytes.find("\r\n\r\n") + 4;
  std::string expected;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    INFO("cut at " << cut);
    auto client = p.client();
    client.send(std::string_view(bytes).substr(0, cut));
    p.settle();
    client.send(std::string_view(bytes).substr(cut));
    auto backend = p.backend.accept();
    const auto head = read_head(backend);
    if (cut == 0) expected = head;
    CHECK(head == expected);
    backend.send(switching());
    CHECK(status_of(read_head(client)) == 101);
    CHECK(backend.read(bytes.size() - head_size) == bytes.substr(head_size));
    client.reset();
    backend.reset();
    p.result();
  }
}

TEST_CASE("a 101 and first frames, split anywhere on the backend's side, give the same tunnel") {
  proxy p;
  const auto bytes = switching("Sec-WebSocket-Protocol: chat\r\n") + server_frame(text, "first") +
                     server_frame(ping, "") + server_frame(binary, std::string(126, 'x'));
  const auto head_size = bytes.find("\r\n\r\n") + 4;
  std::string expected;
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    INFO("cut at " << cut);
    auto client = p.client();
    client.send(handshake());
    auto backend = p.backend.accept();
    read_head(backend);
    backend.send(std::string_view(bytes).substr(0, cut));
    p.settle();
    backend.send(std::string_view(bytes).substr(cut));
    const auto head = read_head(client);
    if (cut == 0) expected = head;
    CHECK(head == expected);
    CHECK(client.read(bytes.size() - head_size) == bytes.substr(head_size));
    client.reset();
    backend.reset();
    p.result();
  }
}

TEST_CASE("frames in a tunnel, split anywhere, pass as they are, with a heartbeat looking at each") {
  proxy p({.how = {.tunnel = {.heartbeat = {.interval = 20s}}}});
  const auto up = client_frame(text, "a", false) + client_frame(ping, "p") + client_frame(pong, "8 bytes.") +
                  client_frame(continuation, std::string(130, 'y'));
  const auto down = server_frame(text, "a", false) + server_frame(ping, "p") +
                    server_frame(pong, "8 bytes.") + server_frame(continuation, std::string(130, 'y'));
  auto t = p.open();
  for (std::size_t cut = 0; cut <= up.size(); ++cut) {
    INFO("cut at " << cut);
    t.client.send(std::string_view(up).substr(0, cut));
    t.backend.send(std::string_view(down).substr(0, std::min(cut, down.size())));
    p.settle(3);
    t.client.send(std::string_view(up).substr(cut));
    t.backend.send(std::string_view(down).substr(std::min(cut, down.size())));
    CHECK(t.backend.read(up.size()) == up);
    CHECK(t.client.read(down.size()) == down);
  }
}

TEST_CASE("single bytes both ways make the same exchange") {
  proxy p;
  auto client = p.client();
  for (const char c : handshake() + client_frame(text, "early")) {
    client.send({&c, 1});
    p.settle(2);
  }
  auto backend = p.backend.accept();
  read_head(backend);
  for (const char c : switching() + server_frame(text, "first")) {
    backend.send({&c, 1});
    p.settle(2);
  }
  CHECK(status_of(read_head(client)) == 101);
  CHECK(read_frame(client).payload == "first");
  CHECK(read_frame(backend).payload == "early");
}

TEST_CASE("a chunked answer, split anywhere, keeps its data") {
  proxy p;
  const std::string bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x\r\n0123456789\r\n0\r\nT: "
      "1\r\n\r\n";
  auto client = p.client();
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    INFO("cut at " << cut);
    client.send(get());
    auto backend = p.backend.accept();
    read_head(backend);
    backend.send(std::string_view(bytes).substr(0, cut));
    p.settle();
    backend.send(std::string_view(bytes).substr(cut));
    read_head(client);
    std::string data;
    for (;;) {
      const auto size = std::stoul(client.read_until("\r\n"), nullptr, 16);
      if (size == 0) break;
      data += client.read(size);
      CHECK(client.read(2) == "\r\n");
    }
    CHECK(data == "hello0123456789");
    CHECK(client.read_until("\r\n\r\n") == "T: 1\r\n\r\n");
    CHECK(p.result().keep_alive);
  }
}

TEST_CASE("a request body, split anywhere, keeps its data and its pipelined follower") {
  const bool chunked = GENERATE(true, false);
  proxy p({.how = {}});
  const std::string bytes =
      (chunked ? "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
               : "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello") +
      get("/2");
  auto client = p.client();
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    INFO("cut at " << cut);
    client.send(std::string_view(bytes).substr(0, cut));
    p.settle();
    client.send(std::string_view(bytes).substr(cut));
    auto backend = p.backend.accept();
    read_head(backend);
    if (chunked) {
      std::string data;
      for (;;) {
        const auto size = std::stoul(backend.read_until("\r\n"), nullptr, 16);
        data += backend.read(size);
        CHECK(backend.read(2) == "\r\n");
        if (size == 0) break;
      }
      CHECK(data == "hello");
    } else {
      CHECK(backend.read(5) == "hello");
    }
    backend.send(ok("one"));
    CHECK(read_message(client).body == "one");
    auto second = p.backend.accept();
    CHECK(read_head(second).starts_with("GET /2 "));
    second.send(ok("two"));
    CHECK(read_message(client).body == "two");
  }
}
