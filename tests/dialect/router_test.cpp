#include <examples/gateway/router.hpp>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;
using namespace std::chrono_literals;

namespace {

const request handshake{.target = "/chat?room=1",
                        .fields = {{"Host", "Example.Test:8080"},
                                   {"Upgrade", "websocket"},
                                   {"Connection", "Upgrade"},
                                   {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                                   {"Sec-WebSocket-Version", "13"}}};

std::string backend_for(const std::string& client) {
  request what = handshake;
  what.client = client;
  const auto decided = ask(seed, what);
  wsproxy::pick_state picks;
  auto lease = decided.pass().to.pick({.hash_key = *decided.pass().hash_key}, picks, {});
  return lease.backend()->name();
}

/// What becomes of a backend's Location.
std::string redirected(const std::string& configuration, const char* target, std::string_view location) {
  const auto answer = ask(configuration, {.target = target}).response(302, {{"Location", location}});
  return std::string(answer.fields.value_or_empty("Location"));
}

}  // namespace

TEST_CASE("the seed configuration sends a handshake to its upstream") {
  const auto decided = ask(seed, handshake);
  REQUIRE(decided.passed());
  const auto rewrite = decided.rewrite();
  CHECK(rewrite.version == wsproxy::http_version::http_1_1);
  CHECK(decided.target() == "/chat?room=1");
  CHECK(lines(rewrite.set) ==
        std::vector<std::string>{"Host: example.test:8020", "Upgrade: websocket", "Connection: upgrade"});
  CHECK(decided.pass().how->upgrade.allowed);
  CHECK(decided.pass().hash_key == "192.0.2.7");
}

TEST_CASE("the seed configuration's times become the route's timers") {
  const auto t = ask(seed, handshake).pass().how->tunnel.timeouts;
  CHECK(t.connect == 4s);
  CHECK(t.response == 60s);
  CHECK(t.idle == 60s);
  CHECK(t.upstream_send_stall == 12s);
  CHECK(t.send_stall == 60s);
}

TEST_CASE("the seed configuration spreads clients over its backends as nginx does") {
  CHECK(backend_for("192.168.1.1") == "10.0.12.109:9000");
  CHECK(backend_for("192.168.1.2") == "10.0.12.108:9000");
  CHECK(backend_for("10.0.0.1") == "10.0.12.109:9000");
  CHECK(backend_for("127.0.0.1") == "10.0.12.108:9000");
  CHECK(backend_for("2001:db8::1") == "10.0.12.109:9000");
}

TEST_CASE("a plain request through the seed configuration is not upgraded") {
  const auto decided = ask(seed, {.target = "/"});
  CHECK(lines(decided.rewrite().set) ==
        std::vector<std::string>{"Host: example.test:8020", "Upgrade: ", "Connection: close"});
  CHECK_FALSE(decided.pass().how->upgrade.allowed);
}

TEST_CASE("every OPTIONS request to the seed configuration is answered with the added fields") {
  const auto decided = ask(seed, {.target = "/any", .method = "OPTIONS"});
  const auto& answer = decided.answer();
  CHECK(answer.status == 204);
  CHECK(answer.body.empty());
  CHECK_FALSE(answer.close);
  CHECK(answer.extra.value_or_empty("Server") == "wsproxy");
  CHECK(answer.extra.value_or_empty("Access-Control-Allow-Origin") == "*");
  CHECK(answer.extra.value_or_empty("Access-Control-Allow-Methods") == "GET, POST, OPTIONS");
  CHECK(answer.extra.count("Content-Type") == 0);
  CHECK(answer.extra.count("Date") == 1);
}

TEST_CASE("fields are added to a backend's answers for nginx's list of statuses only") {
  const auto decided = ask(seed, handshake);
  for (const int status : {200, 201, 204, 206, 301, 302, 303, 304, 307, 308})
    CHECK(decided.response(status, {}).fields.count("Access-Control-Allow-Origin") == 1);
  for (const int status : {101, 400, 401, 404, 500, 502})
    CHECK(decided.response(status, {}).fields.count("Access-Control-Allow-Origin") == 0);
}

TEST_CASE("add_header always adds to every answer") {
  const auto text =
      with_server("add_header X-A 1 always; add_header X-B 2; location / { proxy_pass http://127.0.0.1:1; }");
  CHECK(ask(text, {}).response(404, {}).fields.value_or_empty("X-A") == "1");
  CHECK(ask(text, {}).response(404, {}).fields.count("X-B") == 0);
  CHECK(ask(text, {}).response(101, {}).fields.value_or_empty("X-A") == "1");
}

TEST_CASE("a location's own added fields replace the server's") {
  const auto text = with_server(
      "add_header X-Outer 1; location / { add_header X-Inner 2; proxy_pass http://127.0.0.1:1; }");
  const auto fields = ask(text, {}).response(200, {}).fields;
  CHECK(fields.count("X-Outer") == 0);
  CHECK(fields.value_or_empty("X-Inner") == "2");
}

TEST_CASE("a backend's Server, Date, X-Pad and X-Accel fields are hidden") {
  const auto out = ask(seed, handshake)
                       .response(101, {{"Server", "b"},
                                       {"X-Kept", "1"},
                                       {"Date", "never"},
                                       {"X-Pad", "avoid"},
                                       {"X-Accel-Buffering", "no"},
                                       {"Sec-WebSocket-Accept", "abc"}})
                       .fields;
  CHECK(out.value_or_empty("Server") == "wsproxy");
  CHECK(out.count("Server") == 1);
  CHECK(out.count("Date") == 1);
  CHECK(out.value_or_empty("Date") != "never");
  CHECK(out.count("X-Pad") == 0);
  CHECK(out.count("X-Accel-Buffering") == 0);
  CHECK(out.value_or_empty("X-Kept") == "1");
  CHECK(out.value_or_empty("Sec-WebSocket-Accept") == "abc");
}

TEST_CASE("proxy_pass_header and proxy_hide_header change what is hidden") {
  const auto text = with_server(
      "proxy_pass_header Server; proxy_hide_header X-Powered-By; location / { proxy_pass http://127.0.0.1:1; "
      "}");
  const auto out =
      ask(text, {}).response(200, {{"Server", "b"}, {"X-Powered-By", "c"}, {"Date", "d"}}).fields;
  CHECK(out.value_or_empty("Server") == "b");
  CHECK(out.count("X-Powered-By") == 0);
  CHECK(out.value_or_empty("Date") != "d");
}

TEST_CASE("a location that does not set Upgrade does not upgrade") {
  const auto text = with_server("location / { proxy_pass http://127.0.0.1:1; }");
  const auto decided = ask(text, handshake);
  CHECK_FALSE(decided.pass().how->upgrade.allowed);
  CHECK(lines(decided.rewrite().set) == std::vector<std::string>{"Host: 127.0.0.1:1"});
}

TEST_CASE("a literal Connection upgrade passes handshakes") {
  const auto text = with_server(
      "location / { proxy_pass http://127.0.0.1:1; proxy_set_header Upgrade $http_upgrade;"
      " proxy_set_header Connection \"upgrade\"; }");
  CHECK(ask(text, handshake).pass().how->upgrade.allowed);
  CHECK_FALSE(ask(text, {}).pass().how->upgrade.allowed);
}

TEST_CASE("HTTP/1.0 to the backend cannot upgrade") {
  const auto text = with_server(
      "location / { proxy_pass http://127.0.0.1:1; proxy_http_version 1.0; proxy_set_header Upgrade "
      "$http_upgrade;"
      " proxy_set_header Connection upgrade; }");
  const auto decided = ask(text, handshake);
  CHECK(decided.rewrite().version == wsproxy::http_version::http_1_0);
  CHECK_FALSE(decided.pass().how->upgrade.allowed);
}

TEST_CASE("an empty Host falls back to the name in proxy_pass") {
  const auto text =
      with_server("location / { proxy_pass http://127.0.0.1:81; proxy_set_header Host $http_none; }");
  CHECK(ask(text, {}).rewrite().set.value_or_empty("Host") == "127.0.0.1:81");
}

TEST_CASE("an inner proxy_set_header drops all outer ones") {
  const auto text = with_server(
      "proxy_set_header X-Outer 1; location / { proxy_pass http://127.0.0.1:80; }"
      "location /in { proxy_pass http://127.0.0.1:80; proxy_set_header X-Inner 1; }");
  CHECK(lines(ask(text, {}).rewrite().set) == std::vector<std::string>{"X-Outer: 1", "Host: 127.0.0.1"});
  CHECK(lines(ask(text, {.target = "/in"}).rewrite().set) ==
        std::vector<std::string>{"X-Inner: 1", "Host: 127.0.0.1"});
}

TEST_CASE("decoded bytes cannot break out of a field or a target") {
  const auto text = with_server(
      "location / { proxy_pass http://127.0.0.1:80$uri; proxy_set_header X-Path $uri; add_header X-Path "
      "$uri; }");
  const auto decided = ask(text, {.target = "/a%0d%0aX-Evil:%201"});
  CHECK(decided.rewrite().set.value_or_empty("X-Path") == "/a%0D%0AX-Evil: 1");
  CHECK(decided.target() == "/a%0D%0AX-Evil:%201");
  CHECK(decided.response(200, {}).fields.value_or_empty("X-Path") == "/a%0D%0AX-Evil: 1");
}

TEST_CASE("an upstream without a method goes round") {
  const auto text = with_http(
      "upstream u { server 127.0.0.1:1; server 127.0.0.1:2; } server { listen 127.0.0.1:8020;"
      " location / { proxy_pass http://u; } }");
  const auto decided = ask(text, {});
  CHECK_FALSE(decided.pass().hash_key.has_value());
  std::string order;
  for (int i = 0; i != 4; ++i) {
    wsproxy::pick_state picks;
    order += decided.pass().to.pick({}, picks, {}).backend()->name().back();
  }
  CHECK(order == "1212");
}

TEST_CASE("an empty hash key is given as such") {
  const auto text = with_http(
      "upstream u { hash $arg_room consistent; server 127.0.0.1:1; server 127.0.0.1:2; }"
      " server { listen 127.0.0.1:8020; location / { proxy_pass http://u; } }");
  CHECK(ask(text, {.target = "/?room=7"}).pass().hash_key == "7");
  CHECK(ask(text, {}).pass().hash_key == "");
}

TEST_CASE("proxy_pass with variables finds upstreams and addresses") {
  const auto text = with_http(
      "upstream chat { server 127.0.0.1:1; } server { listen 127.0.0.1:8020;"
      " location / { proxy_pass http://$arg_to; } location /uri { proxy_pass http://$arg_to/x$is_args$args; "
      "} }");
  CHECK(ask(text, {.target = "/?to=chat"}).pass().to.name() == "chat");
  CHECK(ask(text, {.target = "/?to=127.0.0.1:99"}).pass().to.backends().front()->address().port == 99);
  CHECK(ask(text, {.target = "/?to=other.invalid"}).answer().status == 502);
  CHECK(ask(text, {.target = "/uri?to=chat"}).target() == "/x?to=chat");
}

TEST_CASE("a request that no location fits is answered 404") {
  const auto answer =
      ask(with_server("location /a/ { proxy_pass http://127.0.0.1:1; }"), {.target = "/b"}).answer();
  CHECK(answer.status == 404);
  CHECK(answer.extra.value_or_empty("Content-Type") == "text/html");
  CHECK(answer.body.find("404 Not Found") != std::string::npos);
}

TEST_CASE("a path above the root is answered 400 and closed") {
  const auto answer = ask(seed, {.target = "/../x"}).answer();
  CHECK(answer.status == 400);
  CHECK(answer.close);
}

TEST_CASE("proxy_redirect default translates a backend's Location") {
  const auto text = with_server(
      "location /app/ { proxy_pass http://127.0.0.1:81/base/; } location / { proxy_pass http://127.0.0.1:82; "
      "}"
      "location /off/ { proxy_pass http://127.0.0.1:81/base/; proxy_redirect off; }");
  const auto location = [&](const char* target, std::string_view value) {
    return redirected(text, target, value);
  };
  CHECK(location("/app/x", "http://127.0.0.1:81/base/y") == "http://example.test:8020/app/y");
  CHECK(location("/app/x", "http://127.0.0.1:81/other") == "http://127.0.0.1:81/other");
  CHECK(location("/", "http://127.0.0.1:82/y") == "http://example.test:8020/y");
  CHECK(location("/", "/y") == "/y");
  CHECK(location("/off/x", "http://127.0.0.1:81/base/y") == "http://127.0.0.1:81/base/y");
}

TEST_CASE(
    "proxy_redirect replaces a beginning, or all that an expression matches, by the first rule that fits") {
  const auto text = with_server(
      "proxy_redirect http:// https://; location / { proxy_pass http://127.0.0.1:81; }"
      "location /own/ { proxy_pass http://127.0.0.1:81/base/; proxy_redirect http://a.test/ /a/; "
      "proxy_redirect default;"
      " proxy_redirect ~^http://(?<name>\\w+)\\.test(/.*)$ https://$host/$name$2; proxy_redirect http://b "
      "http://c; }");
  const auto location = [&](const char* target, std::string_view value) {
    return redirected(text, target, value);
  };
  CHECK(location("/", "http://127.0.0.1:81/y") == "https://127.0.0.1:81/y");
  CHECK(location("/", "/y") == "/y");
  CHECK(location("/own/x", "http://a.test/y") == "http://example.test:8020/a/y");
  CHECK(location("/own/x", "http://127.0.0.1:81/base/y") == "http://example.test:8020/own/y");
  CHECK(location("/own/x", "http://b.test/y?z") == "https://example.test/b/y?z");
  CHECK(location("/own/x", "https://b.test/y") == "https://b.test/y");
}

TEST_CASE("set $args makes the query that the backend gets") {
  const auto text = with_server(
      "location / { proxy_pass http://127.0.0.1:81; set $args \"${args}b=2\"; proxy_set_header X-Arg $arg_b; "
      "}"
      "location /none { proxy_pass http://127.0.0.1:81; set $args ''; }");
  const auto target = [&](const char* asked) { return ask(text, {.target = asked}).target(); };
  CHECK(target("/x?a=1&") == "/x?a=1&b=2");
  CHECK(target("/%41/../x") == "/x?b=2");
  CHECK(target("/none?a") == "/none");
}

namespace {
/// What is answered where something failed; without a head where none could be read.
wsproxy::respond error_page(const std::string& text, int status, wsproxy::errc why,
                            bool head_was_read = true) {
  const request what;
  const auto head = head_was_read ? what.head() : wsproxy::request_head();
  const wsproxy::inbound in{head, what.client, 1, what.local, what.local_port, 0, 1, 1};
  return wsproxy_gateway::router(load(text)).error_answer(status, why, in);
}
}  // namespace

TEST_CASE("an error page carries the fields that are always added") {
  const auto text =
      with_server("add_header X-Always $status always; location / { proxy_pass http://127.0.0.1:1; }");
  const auto page = error_page(text, 502, wsproxy::errc::connect_failed);
  CHECK(page.status == 502);
  CHECK(page.extra.value_or_empty("X-Always") == "502");
  CHECK(page.body.find("502 Bad Gateway") != std::string::npos);
  CHECK(error_page(text, 400, wsproxy::errc::bad_start_line, false).close);
}

TEST_CASE("who is told to upgrade is told to what") {
  const auto page =
      error_page(with_server("location / { proxy_pass http://127.0.0.1:1; add_header X-Always a always; }"),
                 426, wsproxy::errc::bad_websocket_version);
  CHECK(page.extra.joined("Sec-WebSocket-Version") == "13");
  CHECK(page.extra.joined("Upgrade") == "websocket");
  CHECK(page.extra.joined("Connection") == "upgrade");  // "close" is added by the gateway, which knows
  CHECK(page.extra.joined("Content-Type") == "text/html");
  CHECK(page.extra.count("X-Always") == 1);
}

TEST_CASE("a target of one asterisk is refused, as nginx refuses it") {
  const auto text = with_server("location / { proxy_pass http://127.0.0.1:1; }");
  CHECK(ask(text, {.target = "*", .method = "OPTIONS"}).answer().status == 400);
}

TEST_CASE("the request_uri of an absolute form without a path begins with its query") {
  const auto text =
      with_server("location / { proxy_pass http://127.0.0.1:1; proxy_set_header X-Raw $request_uri; }");
  const auto decided = ask(text, {.target = "http://example.test?x=1"});
  CHECK(decided.rewrite().set.value_or_empty("X-Raw") == "?x=1");
  CHECK(decided.target() == "/?x=1");
  CHECK(ask(text, {.target = "http://example.test"}).rewrite().set.value_or_empty("X-Raw") == "/");
}

TEST_CASE("a body that a location does not allow is refused before the location answers") {
  const auto text = with_server(
      "location / { client_max_body_size 10; return 200 ok; }\n"
      "location /any { client_max_body_size 0; return 200 ok; }\n"
      "if ($request_method = PUT) { return 204; }");
  const auto with_length = [](std::string target, std::string length, std::string method = "POST") {
    return request{.target = std::move(target),
                   .fields = {{"Host", "a"}, {"Content-Length", std::move(length)}},
                   .method = std::move(method)};
  };
  CHECK(ask(text, with_length("/", "10")).answer().status == 200);
  CHECK(ask(text, with_length("/", "11")).answer().status == 413);
  CHECK(ask(text, with_length("/any", "11")).answer().status == 200);
  CHECK(ask(text, with_length("/", "11", "PUT")).answer().status == 204);
}

TEST_CASE("before a route is known, the listening address's default server says how long to wait") {
  const auto config =
      load(with_http("server { listen 127.0.0.1:8020; return 200; }"
                     "server { listen 127.0.0.1:8020 default_server; client_header_timeout 5s; "
                     "keepalive_timeout 6s; send_timeout 7s;"
                     "  large_client_header_buffers 2 1k; underscores_in_headers on; return 200; }"
                     "server { listen 127.0.0.1:8021; client_header_timeout 8s; return 200; }"));
  const auto& first = config->hosts_at(0, "127.0.0.1").reception;
  CHECK(first.timeouts.client_head == 5s);
  CHECK(first.timeouts.keep_alive == 6s);
  CHECK(first.timeouts.send_stall == 7s);
  CHECK(first.request_head.line_bytes == 1024);
  CHECK(first.request_head.head_bytes == 2048);
  CHECK(first.request_head.keep_underscores);
  CHECK(config->hosts_at(1, "127.0.0.1").reception.timeouts.client_head == 8s);
}

TEST_CASE("connections are not kept where keepalive_timeout is 0, nor beyond keepalive_requests") {
  const std::string_view all =
      "location /off { keepalive_timeout 0; return 200 x; } location /one { keepalive_requests 1; return 200 "
      "x; }"
      "location /on { keepalive_timeout 9s; return 200 x; } location /pass { keepalive_timeout 0; proxy_pass "
      "http://127.0.0.1:1; }";
  const auto text = with_server(all);
  CHECK(ask(text, {.target = "/off"}).answer().close);
  CHECK(ask(text, {.target = "/one"}).answer().close);
  CHECK_FALSE(ask(text, {.target = "/on"}).answer().close);
  CHECK(ask(text, {.target = "/on"}).answer().how->tunnel.timeouts.keep_alive == 9s);
  CHECK(ask(text, {.target = "/pass"}).pass().close);
}

TEST_CASE("all exchanges of a place have one route, and one for those that may upgrade") {
  const auto config = load(seed);
  const request plain;
  CHECK(asked(config, plain).pass().how == asked(config, plain).pass().how);
  CHECK(asked(config, plain).pass().how != asked(config, handshake).pass().how);
  CHECK_FALSE(asked(config, plain).pass().how->upgrade.allowed);
}
