#include <wsproxy/websocket/upgrade.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>

using namespace wsproxy;

namespace {

request_head handshake() {
  return {"GET",
          "/chat",
          http_version::http_1_1,
          {{"Host", "a"},
           {"Upgrade", "websocket"},
           {"Connection", "Upgrade"},
           {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
           {"Sec-WebSocket-Version", "13"}}};
}

request_head with(std::string_view name, std::string_view value) {
  auto head = handshake();
  head.fields.set(name, value);
  return head;
}

request_head with_second(std::string_view name, std::string_view value) {
  auto head = handshake();
  head.fields.add(name, value);
  return head;
}

request_head without(std::string_view name) {
  auto head = handshake();
  head.fields.erase(name);
  return head;
}

bool is_plain(const request_head& head, const upgrade_policy& policy = {}) {
  return detect_upgrade(head, policy).kind == request_kind::plain;
}

bool is_websocket(const request_head& head, const upgrade_policy& policy = {}) {
  const auto verdict = detect_upgrade(head, policy);
  return verdict.kind == request_kind::websocket && !verdict.error;
}

std::error_code refusal(const request_head& head, const upgrade_policy& policy = {}) {
  const auto verdict = detect_upgrade(head, policy);
  CHECK((verdict.kind == request_kind::refused) == bool(verdict.error));
  return verdict.error;
}

}  // namespace

TEST_CASE("a handshake is recognised however its lists are written") {
  CHECK(is_websocket(handshake()));
  for (const auto* list :
       {"WebSocket", "WEBSOCKET", "websocket, h2c", "h2c , websocket", "h2c,,websocket,", "\twebsocket "})
    CHECK(is_websocket(with("Upgrade", list)));
  for (const auto* list :
       {"upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade,keep-alive", "close, upgrade", ",,upgrade"})
    CHECK(is_websocket(with("Connection", list)));
  CHECK(is_websocket(with_second("Upgrade", "h2c")));
  // Over two lines, the first empty.
  auto head = with("Connection", "");
  head.fields.add("Connection", "keep-alive, Upgrade");
  CHECK(is_websocket(head));
  head = with("Upgrade", "h2c");
  head.fields.add("upgrade", "websocket");
  CHECK(is_websocket(head));
}

TEST_CASE("what asks for no WebSocket is plain HTTP") {
  CHECK(is_plain({"GET", "/", http_version::http_1_1, {{"Host", "a"}}}));
  CHECK(is_plain(without("Upgrade")));
  CHECK(is_plain(without("Connection")));
  for (const auto* list :
       {"", "h2c", "websocket/13", "web socket", "xwebsocket", "h2c websocket", "\"websocket\""})
    CHECK(is_plain(with("Upgrade", list)));
  for (const auto* list : {"", "close", "keep-alive", "X-Real-IP", "upgraded", "Upgrade X", "websocket"})
    CHECK(is_plain(with("Connection", list)));
  auto head = handshake();
  head.version = http_version::http_1_0;
  CHECK(is_plain(head));
  for (const auto* method : {"POST", "HEAD", "get", "OPTIONS", "CONNECT"}) {
    head = handshake();
    head.method = method;
    CHECK(is_plain(head));
  }
}

TEST_CASE("what is plain is judged by no rule of a handshake") {
  auto head = handshake();
  head.method = "POST";
  head.fields.erase("Sec-WebSocket-Key");
  head.fields.add("Content-Length", "3");
  const auto verdict = detect_upgrade(head, {.origins = {"http://a"}});
  CHECK(verdict.kind == request_kind::plain);
  CHECK_FALSE(verdict.error);
}

TEST_CASE("a handshake has one key of 16 bytes") {
  CHECK(refusal(without("Sec-WebSocket-Key")) == errc::missing_key);
  CHECK(refusal(with_second("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")) == errc::duplicate_key);
  for (const auto* key :
       {"", "a", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZQ=a", "dGhlIHNhbXBsZSBub2 jZQ=="})
    CHECK(refusal(with("Sec-WebSocket-Key", key)) == errc::bad_key);
  CHECK(is_websocket(with("Sec-WebSocket-Key", " x3JJHMbDL1EzLkh9GBhXDw==\t")));
}

TEST_CASE("a handshake is of version 13") {
  CHECK(refusal(without("Sec-WebSocket-Version")) == errc::bad_websocket_version);
  for (const auto* version : {"", "8", "12", "14", "013", "13, 8", "8, 13"})
    CHECK(refusal(with("Sec-WebSocket-Version", version)) == errc::bad_websocket_version);
  CHECK(refusal(with_second("Sec-WebSocket-Version", "13")) == errc::bad_websocket_version);
}

TEST_CASE("a handshake has no body") {
  CHECK(is_websocket(with("Content-Length", "0")));
  CHECK(refusal(with("Content-Length", "1")) == errc::upgrade_with_body);
  CHECK(refusal(with("Content-Length", "x")) == errc::upgrade_with_body);
  CHECK(refusal(with("Transfer-Encoding", "chunked")) == errc::upgrade_with_body);
  CHECK(refusal(with("Transfer-Encoding", "gzip")) == errc::upgrade_with_body);
}

TEST_CASE("a list of origins admits those on it, and no request without Origin") {
  const upgrade_policy policy{.origins = {"https://example.com", "http://localhost:8080"}};
  CHECK(is_websocket(with("Origin", "https://example.com"), policy));
  CHECK(is_websocket(with("Origin", "HTTPS://Example.com"), policy));
  CHECK(is_websocket(with("Origin", "http://localhost:8080"), policy));
  for (const auto* origin : {"", "null", "http://example.com", "https://example.com:443",
                             "https://example.com.evil", "https://example.com, https://evil"})
    CHECK(refusal(with("Origin", origin), policy) == errc::origin_not_allowed);
  CHECK(refusal(handshake(), policy) == errc::origin_not_allowed);
  auto head = with("Origin", "https://example.com");
  head.fields.add("Origin", "https://evil");
  CHECK(refusal(head, policy) == errc::origin_not_allowed);
  CHECK(is_websocket(with("Origin", "https://evil")));
}

TEST_CASE("a route may do without Connection, or without WebSockets") {
  CHECK(is_websocket(without("Connection"), {.lenient_connection = true}));
  CHECK(is_websocket(with("Connection", "close"), {.lenient_connection = true}));
  CHECK(is_plain(without("Upgrade"), {.lenient_connection = true}));
  CHECK(refusal(with("Sec-WebSocket-Key", "a"), {.lenient_connection = true}) == errc::bad_key);
  CHECK(is_plain(handshake(), {.allowed = false}));
  CHECK(is_plain(without("Sec-WebSocket-Key"), {.allowed = false}));
}

TEST_CASE("a refusal is a whole response that says the rule and closes") {
  const auto text = make_error_code(errc::missing_key).message() + "\n";
  CHECK(make_refusal(errc::missing_key) ==
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: " +
            std::to_string(text.size()) + "\r\nConnection: close\r\n\r\n" + text);
  CHECK(make_refusal(errc::origin_not_allowed).starts_with("HTTP/1.1 403 Forbidden\r\n"));
  CHECK(make_refusal(errc::no_backend).starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
}

TEST_CASE("a wrong version is told the right one") {
  const auto bytes = make_refusal(errc::bad_websocket_version);
  CHECK(
      bytes.starts_with("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
                        "Connection: upgrade\r\n"));
  CHECK(bytes.find("\r\nConnection: close\r\n\r\n") != std::string::npos);
}

TEST_CASE("there is no refusal for who is gone") {
  CHECK(make_refusal(errc::downstream_closed).empty());
  CHECK(make_refusal({}).empty());
}
