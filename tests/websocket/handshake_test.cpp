#include <wsproxy/websocket/handshake.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace wsproxy;

namespace {

constexpr auto plain = request_kind::plain;
constexpr auto websocket = request_kind::websocket;
constexpr body_framing none{};
constexpr body_framing chunked{body_framing::kind::chunked};
constexpr body_framing until_close{body_framing::kind::until_close};
constexpr body_framing length(std::uint64_t bytes) { return {body_framing::kind::length, bytes}; }

const std::string key = "dGhlIHNhbXBsZSBub25jZQ==";

request_head client_handshake() {
  return {"GET",
          "/chat?x=%20y",
          http_version::http_1_1,
          {{"Host", "example.test:8080"},
           {"Origin", "http://x"},
           {"Upgrade", "WebSocket, h2c"},
           {"X-Real-IP", "6.6.6.6"},
           {"Connection", "keep-alive, Upgrade"},
           {"Sec-WebSocket-Key", key},
           {"TE", "trailers"},
           {"sec-websocket-version", "13"},
           {"Cookie", "a=b; c"}}};
}

// The fields that the usual nginx configuration of a WebSocket location sets.
request_rewrite usual_rewrite(std::string_view upgrade, std::string_view connection) {
  return {.set = {{"Host", "example.test:18081"},
                  {"Upgrade", upgrade},
                  {"Connection", connection},
                  {"X-Real-IP", "127.0.0.1"}}};
}

template <class Head> std::string bytes_of(const Head& head) {
  std::string out;
  serialize(head, out);
  return out;
}

response_head switching(std::string_view accept) {
  return {101,
          "Switching Protocols",
          http_version::http_1_1,
          {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}, {"Sec-WebSocket-Accept", accept}}};
}

using verdict = response_verdict::kind;

}  // namespace

TEST_CASE("a key is the base64 of its 16 bytes (RFC 6455 section 4.1)") {
  // The bytes of the example in that section.
  CHECK(make_key({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}) == "AQIDBAUGBwgJCgsMDQ4PEA==");
}

TEST_CASE("the accept key of RFC 6455 sections 1.3 and 4.2.2") {
  CHECK(accept_key(key) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

// ---- Upstream

TEST_CASE("a handshake goes upstream as nginx sends it with the usual configuration") {
  const auto sent =
      make_upstream_request(client_handshake(), websocket, none, usual_rewrite("WebSocket", "upgrade"));
  CHECK(bytes_of(sent) ==
        "GET /chat?x=%20y HTTP/1.1\r\n"
        "Host: example.test:18081\r\n"
        "Upgrade: WebSocket\r\n"
        "Connection: upgrade\r\n"
        "X-Real-IP: 127.0.0.1\r\n"
        "Origin: http://x\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "sec-websocket-version: 13\r\n"
        "Cookie: a=b; c\r\n\r\n");
}

TEST_CASE("a plain request goes upstream with the usual configuration, but asks for no upgrade") {
  const request_head post{"POST",
                          "/a",
                          http_version::http_1_1,
                          {{"Host", "example.test:8080"},
                           {"Origin", "http://x"},
                           {"Content-Type", "a"},
                           {"Content-Length", "2"},
                           {"Expect", "100-continue"},
                           {"Connection", "close, X-Secret"},
                           {"X-Secret", "1"},
                           {"X-Real-IP", "6.6.6.6"}}};
  CHECK(bytes_of(make_upstream_request(post, plain, length(2), usual_rewrite("", "upgrade"))) ==
        "POST /a HTTP/1.1\r\n"
        "Host: example.test:18081\r\n"
        "Connection: close\r\n"
        "X-Real-IP: 127.0.0.1\r\n"
        "Content-Length: 2\r\n"
        "Origin: http://x\r\n"
        "Content-Type: a\r\n\r\n");
  CHECK(bytes_of(make_upstream_request(post, plain, chunked)) ==
        "POST /a HTTP/1.1\r\n"
        "Connection: close\r\n"
        "Transfer-Encoding: chunked\r\n"
        "Host: example.test:8080\r\n"
        "Origin: http://x\r\n"
        "Content-Type: a\r\n"
        "X-Real-IP: 6.6.6.6\r\n\r\n");
}

TEST_CASE("without configuration the fields of the upgrade stand before the client's") {
  CHECK(bytes_of(make_upstream_request(client_handshake(), websocket)) ==
        "GET /chat?x=%20y HTTP/1.1\r\n"
        "Upgrade: websocket\r\n"
        "Connection: upgrade\r\n"
        "Host: example.test:8080\r\n"
        "Origin: http://x\r\n"
        "X-Real-IP: 6.6.6.6\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "sec-websocket-version: 13\r\n"
        "Cookie: a=b; c\r\n\r\n");
}

TEST_CASE("the client's request is not modified") {
  const auto in = client_handshake();
  const auto before = bytes_of(in);
  make_upstream_request(in, websocket, none, usual_rewrite("websocket", "upgrade"));
  CHECK(bytes_of(in) == before);
}

TEST_CASE("what Upgrade and Connection say is decided by the kind; their spelling may be configured") {
  struct row {
    request_kind kind;
    const char* upgrade;
    const char* connection;
    const char* sent_upgrade;  // nullptr: none
    const char* sent_connection;
  };
  const row table[] = {
      {websocket, "websocket", "upgrade", "websocket", "upgrade"},
      {websocket, "WebSocket", "Upgrade", "WebSocket", "Upgrade"},
      {websocket, "websocket, h2c", "keep-alive, upgrade", "websocket", "upgrade"},
      {websocket, "h2c", "close", "websocket", "upgrade"},
      {websocket, "", "", "websocket", "upgrade"},
      {plain, "", "upgrade", nullptr, "close"},
      {plain, "websocket", "upgrade", nullptr, "close"},
      {plain, "h2c", "Close", nullptr, "Close"},
      {plain, "", "keep-alive", nullptr, "close"},
      {plain, "", "", nullptr, nullptr},
  };
  for (const auto& row : table) {
    CAPTURE(row.upgrade, row.connection);
    const auto sent =
        make_upstream_request(client_handshake(), row.kind, none, usual_rewrite(row.upgrade, row.connection));
    CHECK(sent.fields.joined("Upgrade") == (row.sent_upgrade ? row.sent_upgrade : ""));
    CHECK(sent.fields.count("Upgrade") == (row.sent_upgrade ? 1 : 0));
    CHECK(sent.fields.joined("Connection") == (row.sent_connection ? row.sent_connection : ""));
    CHECK(sent.fields.count("Connection") == (row.sent_connection ? 1 : 0));
    CHECK(sent.fields[0].name == "Host");
  }
  CHECK(make_upstream_request(client_handshake(), plain).fields.joined("Connection") == "close");
  const request_rewrite twice{.set = {{"Connection", "upgrade"}, {"connection", "close"}}};
  CHECK(make_upstream_request(client_handshake(), websocket, none, twice).fields.joined("Connection") ==
        "upgrade");
}

TEST_CASE("a body that the request announces is announced upstream") {
  request_head in{"POST", "/", http_version::http_1_1, {{"Host", "a"}, {"Content-Length", "7"}}};
  CHECK(make_upstream_request(in, plain).fields.joined("Content-Length") == "7");
  in.fields = {{"Host", "a"}, {"Transfer-Encoding", "chunked"}};
  CHECK(make_upstream_request(in, plain).fields.joined("Transfer-Encoding") == "chunked");
  in.fields = {{"Host", "a"}, {"Content-Length", "x"}};
  CHECK_THROWS_AS(make_upstream_request(in, plain), std::invalid_argument);
}

TEST_CASE("what asks for another protocol, or in another way, goes upstream without Upgrade") {
  for (const auto* list : {"h2c", "websocket"}) {
    request_head in{"POST",
                    "/",
                    http_version::http_1_1,
                    {{"Host", "a"},
                     {"Connection", "Upgrade, HTTP2-Settings"},
                     {"Upgrade", list},
                     {"HTTP2-Settings", "x"}}};
    CHECK(bytes_of(make_upstream_request(in, plain)) ==
          "POST / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n\r\n");
  }
}

TEST_CASE("the configured fields stand first, replace the client's, and leave them out if empty") {
  const request_head in{"GET",
                        "/",
                        http_version::http_1_1,
                        {{"Host", "a"}, {"X-A", "1"}, {"x-a", "2"}, {"X-B", "3"}, {"X-C", "4"}}};
  const auto sent = make_upstream_request(
      in, plain, none, {.target = "/new", .set = {{"x-C", "9"}, {"X-A", ""}, {"X-D", "5"}, {"X-D", "6"}}});
  CHECK(bytes_of(sent) ==
        "GET /new HTTP/1.1\r\nx-C: 9\r\nX-D: 5\r\nX-D: 6\r\nConnection: close\r\nHost: a\r\nX-B: 3\r\n\r\n");
}

TEST_CASE("a client cannot nominate away what is configured, nor what the handshake rests on") {
  auto in = client_handshake();
  in.fields.add("Connection", "X-Real-IP, Host, Sec-WebSocket-Key, Cookie, Upgrade, Connection");
  const auto sent = make_upstream_request(in, websocket, none, usual_rewrite("websocket", "upgrade"));
  CHECK(sent.fields ==
        make_upstream_request(client_handshake(), websocket, none, usual_rewrite("websocket", "upgrade"))
            .fields);
}

TEST_CASE("the body's framing is the given one, and cannot be configured") {
  const request_head in{"POST", "/", http_version::http_1_1, {{"Host", "a"}, {"Content-Length", "7"}}};
  const request_rewrite rewrite{.set = {{"Content-Length", "9"}, {"Transfer-Encoding", "gzip"}}};
  for (const auto& each : {request_rewrite{}, rewrite}) {
    CHECK(make_upstream_request(in, plain, length(7), each).fields.joined("Content-Length") == "7");
    CHECK(make_upstream_request(in, plain, length(0), each).fields.joined("Content-Length") == "0");
    CHECK(make_upstream_request(in, plain, none, each).fields.count("Content-Length") == 0);
    const auto sent = make_upstream_request(in, plain, chunked, each);
    CHECK(sent.fields.count("Content-Length") == 0);
    CHECK(sent.fields.joined("Transfer-Encoding") == "chunked");
  }
}

TEST_CASE("a request without Host goes upstream with an empty one") {
  const request_head in{"GET", "/", http_version::http_1_0, {{"A", "b"}}};
  CHECK(bytes_of(make_upstream_request(in, plain)) ==
        "GET / HTTP/1.1\r\nHost: \r\nConnection: close\r\nA: b\r\n\r\n");
  CHECK(make_upstream_request(in, plain, none, {.set = {{"Host", "x"}}}).fields.joined("Host") == "x");
  const request_head with_host{"GET", "/", http_version::http_1_1, {{"Host", "a"}}};
  const auto sent = make_upstream_request(with_host, plain, none, {.set = {{"Host", ""}}});
  CHECK(sent.fields.count("Host") == 1);
  CHECK(sent.fields.joined("Host") == "");
}

TEST_CASE("an absolute-form target goes upstream as path and query") {
  const auto target = [](std::string in) {
    return make_upstream_request({"GET", std::move(in), http_version::http_1_1, {{"Host", "a"}}}, plain)
        .target;
  };
  CHECK(target("http://a/b?c") == "/b?c");
  CHECK(target("http://a") == "/");
  CHECK(target("ws://a:80?c=http://d/") == "/?c=http://d/");
  const auto options = [](std::string in) {
    return make_upstream_request({"OPTIONS", std::move(in), http_version::http_1_1, {{"Host", "a"}}}, plain)
        .target;
  };
  CHECK(options("*") == "*");
  CHECK(options("http://a") == "*");  // RFC 9112 section 3.2.4
  CHECK(options("http://a/") == "/");
  CHECK(options("http://a?b") == "/?b");
  CHECK(target("/http://a/") == "/http://a/");
  CHECK(target("//a/../%2e") == "//a/../%2e");
  CHECK(target("*") == "*");
}

TEST_CASE("the version upstream is the configured one unless the request needs HTTP/1.1") {
  const request_rewrite old{.version = http_version::http_1_0};
  CHECK(make_upstream_request(client_handshake(), plain, none, old).version == http_version::http_1_0);
  CHECK(make_upstream_request(client_handshake(), plain, length(1), old).version == http_version::http_1_0);
  CHECK(make_upstream_request(client_handshake(), plain, chunked, old).version == http_version::http_1_1);
  CHECK(make_upstream_request(client_handshake(), websocket, none, old).version == http_version::http_1_1);
}

// ---- The answer

TEST_CASE("only a 101 that keeps every rule switches") {
  const auto sent = make_upstream_request(client_handshake(), websocket);
  const auto is = [&](const response_head& answer) { return check_response(sent, websocket, answer); };
  const auto good = switching(accept_key(key));
  CHECK(is(good).is == verdict::switched);
  CHECK_FALSE(is(good).error);

  const auto with = [&](std::string_view name, std::string_view value) {
    auto answer = good;
    answer.fields.set(name, value);
    return is(answer);
  };
  const auto with_second = [&](std::string_view name, std::string_view value) {
    auto answer = good;
    answer.fields.add(name, value);
    return is(answer);
  };
  CHECK(with("Upgrade", "WebSocket").is == verdict::switched);
  CHECK(with("Connection", "keep-alive, UPGRADE").is == verdict::switched);
  CHECK(with_second("Connection", "keep-alive").is == verdict::switched);

  const auto broken = [](const response_verdict& answer) {
    CHECK(answer.is == verdict::broken);
    return answer.error;
  };
  for (const auto* list : {"", "h2c", "websocket, h2c", "websocket, websocket", "websocket/13"})
    CHECK(broken(with("Upgrade", list)) == errc::bad_switch_upgrade);
  CHECK(broken(with_second("Upgrade", "h2c")) == errc::bad_switch_upgrade);
  CHECK(broken(with_second("Upgrade", "websocket")) == errc::bad_switch_upgrade);
  for (const auto* list : {"", "close", "keep-alive", "upgraded"})
    CHECK(broken(with("Connection", list)) == errc::bad_switch_connection);
  for (const auto* accept :
       {"", "s3pPLMBiTxaQ9kYGzzhZRbK+xOO=", "S3PPLMBITXAQ9KYGZZHZRBK+XOO=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo"})
    CHECK(broken(with("Sec-WebSocket-Accept", accept)) == errc::bad_accept);
  CHECK(broken(with_second("Sec-WebSocket-Accept", accept_key(key))) == errc::bad_accept);

  for (const auto& [name, error] :
       {std::pair{"Upgrade", errc::bad_switch_upgrade}, std::pair{"Connection", errc::bad_switch_connection},
        std::pair{"Sec-WebSocket-Accept", errc::bad_accept}}) {
    auto answer = good;
    answer.fields.erase(name);
    CHECK(broken(is(answer)) == error);
  }
}

TEST_CASE("the accept value is that of the key that was sent upstream") {
  const auto sent = make_upstream_request(client_handshake(), websocket, none,
                                          {.set = {{"Sec-WebSocket-Key", "x3JJHMbDL1EzLkh9GBhXDw=="}}});
  CHECK(check_response(sent, websocket, switching(accept_key(key))).error == errc::bad_accept);
  CHECK(check_response(sent, websocket, switching("HSmrc0sMlYUkAGmm5OPpG2HaGWk=")).is == verdict::switched);
}

TEST_CASE("a 101 to a plain request is broken") {
  const auto sent = make_upstream_request(client_handshake(), plain);
  const auto answer = check_response(sent, plain, switching(accept_key(key)));
  CHECK(answer.is == verdict::broken);
  CHECK(answer.error == errc::unasked_switch);
}

TEST_CASE("any other status is interim or final, whatever its fields say") {
  const auto sent = make_upstream_request(client_handshake(), websocket);
  for (const auto kind : {plain, websocket}) {
    for (const int status : {100, 102, 103, 199, 200, 201, 204, 301, 400, 401, 404, 426, 500, 503, 999}) {
      CAPTURE(status);
      auto answer = switching(accept_key(key));
      answer.status = status;
      const auto result = check_response(sent, kind, answer);
      CHECK(result.is == (status < 200 ? verdict::interim : verdict::final));
      CHECK_FALSE(result.error);
    }
  }
  for (const int status : {0, 99, 1000})
    CHECK(check_response(sent, plain, {status, "", http_version::http_1_1, {}}).error == errc::bad_response);
}

// ---- Downstream

TEST_CASE("a 101 goes downstream with our upgrade and the upstream's other fields") {
  auto answer = switching("accept");
  answer.version = http_version::http_1_0;
  answer.fields.set("Connection", "Upgrade, X-Internal");
  answer.fields.add("X-Internal", "1");
  answer.fields.add("Content-Length", "0");
  answer.fields.add("Sec-WebSocket-Protocol", "chat");
  CHECK(bytes_of(make_downstream_response(answer, none, true, http_version::http_1_1)) ==
        "HTTP/1.1 101 Switching Protocols\r\n"
        "Connection: upgrade\r\n"
        "Upgrade: websocket\r\n"
        "Sec-WebSocket-Accept: accept\r\n"
        "Sec-WebSocket-Protocol: chat\r\n\r\n");
}

TEST_CASE("an interim answer goes downstream without a word about the connection or a body") {
  const response_head hints{
      103,
      "Early Hints",
      http_version::http_1_1,
      {{"Link", "a"}, {"Connection", "close"}, {"Content-Length", "3"}, {"Upgrade", "h2c"}}};
  for (const bool keep_alive : {true, false})
    CHECK(bytes_of(make_downstream_response(hints, none, keep_alive, http_version::http_1_1)) ==
          "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
}

TEST_CASE("a final answer goes downstream framed as its body is") {
  const auto sent = [](int status, const fields& lines, body_framing body, bool keep_alive = true,
                       http_version client = http_version::http_1_1) {
    const response_head in{status, "R", http_version::http_1_0, lines};
    auto bytes = bytes_of(make_downstream_response(in, body, keep_alive, client));
    const auto start = "HTTP/1.1 " + std::to_string(status) + " R\r\n";
    REQUIRE(bytes.starts_with(start));
    return bytes.substr(start.size());
  };
  const fields with_length{
      {"A", "1"}, {"Content-Length", "5"}, {"Connection", "keep-alive, B"}, {"B", "2"}, {"Server", "s"}};
  const fields with_coding{{"A", "1"}, {"Transfer-Encoding", "chunked"}, {"Trailer", "T"}};
  const fields with_none{{"A", "1"}};
  // By length.
  CHECK(sent(200, with_length, length(5)) == "A: 1\r\nContent-Length: 5\r\nServer: s\r\n\r\n");
  CHECK(sent(200, with_length, length(5), false) ==
        "A: 1\r\nContent-Length: 5\r\nServer: s\r\nConnection: close\r\n\r\n");
  CHECK(sent(200, with_length, length(5), true, http_version::http_1_0) ==
        "A: 1\r\nContent-Length: 5\r\nServer: s\r\nConnection: keep-alive\r\n\r\n");
  CHECK(sent(200, with_length, length(5), false, http_version::http_1_0) ==
        "A: 1\r\nContent-Length: 5\r\nServer: s\r\nConnection: close\r\n\r\n");
  CHECK(sent(200, with_none, length(0)) == "A: 1\r\nContent-Length: 0\r\n\r\n");
  // By chunks.
  CHECK(sent(200, with_coding, chunked) == "A: 1\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\n\r\n");
  CHECK(sent(200, with_coding, chunked, true, http_version::http_1_0) ==
        "A: 1\r\nTrailer: T\r\nConnection: close\r\n\r\n");
  CHECK(sent(200, with_length, chunked) == "A: 1\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n");
  // By the connection's end, which no keep-alive can outlive.
  CHECK(sent(200, with_none, until_close) == "A: 1\r\nConnection: close\r\n\r\n");
  CHECK(sent(200, with_length, until_close) == "A: 1\r\nServer: s\r\nConnection: close\r\n\r\n");
  // Without a body: the length that a HEAD or a 304 tells stays; a 204 has none.
  CHECK(sent(200, with_length, none) == "A: 1\r\nContent-Length: 5\r\nServer: s\r\n\r\n");
  CHECK(sent(304, with_length, none) == "A: 1\r\nContent-Length: 5\r\nServer: s\r\n\r\n");
  CHECK(sent(204, with_length, none) == "A: 1\r\nServer: s\r\n\r\n");
  CHECK(sent(200, with_coding, none) == "A: 1\r\nTrailer: T\r\n\r\n");
}

TEST_CASE("a refused upgrade goes downstream as an ordinary answer") {
  const response_head answer{426,
                             "Upgrade Required",
                             http_version::http_1_1,
                             {{"Upgrade", "websocket"},
                              {"Connection", "Upgrade"},
                              {"Sec-WebSocket-Version", "13"},
                              {"Content-Length", "0"}}};
  CHECK(bytes_of(make_downstream_response(answer, length(0), false, http_version::http_1_1)) ==
        "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\nConnection: "
        "close\r\n\r\n");
}
