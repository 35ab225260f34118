#include <examples/gateway/variables.hpp>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;

namespace {

/// What a text with variables comes to, for a request.
std::string value(std::string_view text, const request& what = {}, std::string_view http = {}) {
  const auto file = with_http(std::string(http) +
                              "server { listen 127.0.0.1:8020; server_name first.test second.test;\n"
                              "location / { proxy_pass http://127.0.0.1:81; proxy_set_header X \"" +
                              std::string(text) + "\"; } }");
  return std::string(ask(file, what).rewrite().set.value_or_empty("X"));
}

}  // namespace

TEST_CASE("text and variables are mixed") {
  CHECK(value("a${host}b$server_port.c") == "aexample.testb8020.c");
}

TEST_CASE("the connection's variables") {
  CHECK(value("$remote_addr $remote_port $server_addr $server_port $connection") ==
        "192.0.2.7 50000 192.0.2.1 8020 1");
}

TEST_CASE("the request's variables") {
  const request what{.target = "/a%20b//c?x=1&Y=2",
                     .fields = {{"Host", "Example.TEST:99"}, {"Content-Type", "t/u"}}};
  CHECK(value("$request_method $request_uri $scheme $server_protocol", what) ==
        "GET /a%20b//c?x=1&Y=2 http HTTP/1.1");
  CHECK(value("$uri|$args|$query_string|$is_args", what) == "/a b/c|x=1&Y=2|x=1&Y=2|?");
  CHECK(value("$host|$http_host|$content_type|$arg_y|$arg_none|", what) ==
        "example.test|Example.TEST:99|t/u|2||");
  CHECK(value("$is_args|$args", {}) == "|");
  CHECK(value("$proxy_host $proxy_port") == "127.0.0.1:81 81");
}

TEST_CASE("without a Host, the first server name stands in") {
  CHECK(value("$host|$server_name", {.fields = {}}) == "first.test|first.test");
}

TEST_CASE("several lines of a field are joined") {
  const request what{
      .fields = {{"Host", "h"}, {"X-Two", "a"}, {"x-two", "b"}, {"Cookie", "c=1"}, {"Cookie", "d=2"}}};
  CHECK(value("$http_x_two|$http_cookie|$http_none|", what) == "a, b|c=1; d=2||");
}

TEST_CASE("cookies are found by name") {
  const request what{.fields = {{"Host", "h"}, {"Cookie", "ab=1; b=2;c = 3"}}};
  CHECK(value("$cookie_b|$cookie_ab|$cookie_c|$cookie_a|", what) == "2|1|3||");
}

TEST_CASE("X-Forwarded-For is continued") {
  CHECK(value("$proxy_add_x_forwarded_for") == "192.0.2.7");
  CHECK(value("$proxy_add_x_forwarded_for", {.fields = {{"Host", "h"}, {"X-Forwarded-For", "10.1.1.1"}}}) ==
        "10.1.1.1, 192.0.2.7");
  CHECK(
      value("$proxy_add_x_forwarded_for",
            {.fields = {{"Host", "h"}, {"X-Forwarded-For", "10.1.1.1"}, {"x-forwarded-for", "10.1.1.2"}}}) ==
      "10.1.1.1, 10.1.1.2, 192.0.2.7");
  CHECK(value("$proxy_add_x_forwarded_for", {.fields = {{"Host", "h"}, {"X-Forwarded-For", ""}}}) ==
        ", 192.0.2.7");  // as nginx has it
}

TEST_CASE("no other spelling counts as X-Forwarded-For or User-Agent") {
  const request what{
      .fields = {
          {"Host", "h"}, {"X_Forwarded_For", "10.1.1.1, 8"}, {"X_Forwarded-For", "8"}, {"User_Agent", "a"}}};
  CHECK(value("$proxy_add_x_forwarded_for|$http_x_forwarded_for|$http_user_agent", what) == "192.0.2.7||");
}

TEST_CASE("a request's id is 32 hexadecimal digits and stays the same") {
  const auto twice = value("$request_id $request_id");
  REQUIRE(twice.size() == 65);
  CHECK(twice.substr(0, 32) == twice.substr(33));
  CHECK(twice.find_first_not_of("0123456789abcdef ") == std::string::npos);
  CHECK(twice != value("$request_id $request_id"));
}

TEST_CASE("a map chooses by exact value, and otherwise its default") {
  const std::string_view map = "map $http_upgrade $c { default upgrade; '' close; WebTransport other; }";
  CHECK(value("$c", {.fields = {{"Host", "h"}, {"Upgrade", "websocket"}}}, map) == "upgrade");
  CHECK(value("$c", {.fields = {{"Host", "h"}, {"Upgrade", "webtransport"}}}, map) == "other");
  CHECK(value("$c", {}, map) == "close");
  CHECK(value("$c", {.fields = {{"Host", "h"}, {"Upgrade", ""}}}, map) == "close");
}

TEST_CASE("a map without default gives nothing") {
  CHECK(value("[$c]", {}, "map $host $c { a b; }") == "[]");
}

TEST_CASE("a map's results may be variables and other maps") {
  CHECK(value("$c", {}, "map $host $c { default \"$server_port-$d\"; } map $arg_x $d { default D; }") ==
        "8020-D");
}

TEST_CASE("a map may match patterns and hand on what they captured") {
  const std::string_view map =
      "map $uri $c { ~^/exact$ first; ~*^/ROOM/(?<room>\\w+) room=$room,$1; default none; }";
  CHECK(value("$c", {.target = "/exact"}, map) == "first");
  CHECK(value("$c", {.target = "/room/Blue"}, map) == "room=Blue,Blue");
  CHECK(value("$c", {.target = "/x"}, map) == "none");
}

TEST_CASE("a map of hostnames knows wildcards") {
  const std::string_view map =
      "map $host $c { hostnames; .a.test A; *.b.test B; *.x.b.test XB; www.c.* C; default none; }";
  const auto at = [&](const char* host) { return value("$c", {.fields = {{"Host", host}}}, map); };
  CHECK(at("a.test") == "A");
  CHECK(at("x.y.a.test") == "A");
  CHECK(at("b.test") == "none");
  CHECK(at("y.b.test") == "B");
  CHECK(at("y.x.b.test") == "XB");
  CHECK(at("www.c.org") == "C");
}

TEST_CASE("maps that use each other in a circle are an error, not a crash") {
  const auto config =
      load(with_http("map $a $b { default $a; } map $b $a { default $b; } server { listen 127.0.0.1:8020;"
                     "location / { return 200 $a; } }"));
  CHECK_THROWS_AS(asked(config, {}), std::runtime_error);
}
