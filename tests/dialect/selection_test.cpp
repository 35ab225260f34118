#include <examples/gateway/selection.hpp>

#include <filesystem>
#include <fstream>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;
using namespace wsproxy_gateway;

namespace {

/// The text that `return 200 TEXT` of the chosen block answers with.
std::string reached(std::string_view file, const request& what) { return ask(file, what).answer().body; }

std::string location_for(std::string_view locations, std::string target) {
  return reached(with_server(locations), {.target = std::move(target)});
}

std::string server_for(std::string_view servers, const char* host) {
  return reached(with_http(servers), {.fields = {{"Host", host}}});
}

}  // namespace

TEST_CASE("locations are chosen as nginx chooses them") {
  const std::string_view all =
      "location = / { return 200 A; } location / { return 200 B; } location /documents/ { return 200 C; }"
      "location ^~ /images/ { return 200 D; } location ~* \\.(gif|jpg)$ { return 200 E; }"
      "location ~ ^/documents/special { return 200 F; }";
  CHECK(location_for(all, "/") == "A");
  CHECK(location_for(all, "/index.html") == "B");
  CHECK(location_for(all, "/documents/document.html") == "C");
  CHECK(location_for(all, "/images/1.gif") == "D");
  CHECK(location_for(all, "/documents/1.JPG") == "E");
  CHECK(location_for(all, "/documents/special.gif") == "E");
  CHECK(location_for(all, "/documents/special") == "F");
}

TEST_CASE("locations see the normalised path") {
  const std::string_view all = "location /a/ { return 200 A; } location / { return 200 B; }";
  CHECK(location_for(all, "/b/../a/x") == "A");
  CHECK(location_for(all, "/%61/x") == "A");
  CHECK(location_for(all, "/a/../b") == "B");
  CHECK(location_for(all, "//a/x") == "A");
}

TEST_CASE("the modifier may stand without a space") {
  CHECK(location_for("location =/x { return 200 A; } location ~^/y { return 200 B; }", "/x") == "A");
  CHECK(location_for("location =/x { return 200 A; } location ~^/y { return 200 B; }", "/yes") == "B");
}

TEST_CASE("a proxied location that ends in a slash redirects the path without it") {
  const auto text =
      with_server("location /app/ { proxy_pass http://127.0.0.1:1/; } location /own/ { return 200 x; }");
  const auto decided = ask(text, {.target = "/app?x=1"});
  CHECK(decided.answer().status == 301);
  CHECK(decided.answer().extra.value_or_empty("Location") == "http://example.test:8020/app/?x=1");
  CHECK(ask(text, {.target = "/own"}).answer().status == 404);
}

TEST_CASE("captures of a location's pattern are variables") {
  const std::string_view all = "location ~ ^/r/(?<room>[^/]+)/(.*)$ { return 200 \"$room,$1,$2\"; }";
  CHECK(location_for(all, "/r/blue/x/y") == "blue,blue,x/y");
}

TEST_CASE("servers are chosen by exact name, wildcard and pattern") {
  const std::string_view all =
      "server { listen 127.0.0.1:8020; server_name _; return 200 default; }"
      "server { listen 127.0.0.1:8020; server_name a.test; return 200 exact; }"
      "server { listen 127.0.0.1:8020; server_name *.test; return 200 star; }"
      "server { listen 127.0.0.1:8020; server_name *.b.test; return 200 longer; }"
      "server { listen 127.0.0.1:8020; server_name www.c.*; return 200 tail; }"
      "server { listen 127.0.0.1:8020; server_name .dot.org; return 200 dot; }"
      "server { listen 127.0.0.1:8020; server_name ~^(?<sub>\\w+)\\.re\\.org$; return 200 $sub; }";
  CHECK(server_for(all, "a.test") == "exact");
  CHECK(server_for(all, "A.Test:8020") == "exact");
  CHECK(server_for(all, "x.test") == "star");
  CHECK(server_for(all, "x.b.test") == "longer");
  CHECK(server_for(all, "www.c.org") == "tail");
  CHECK(server_for(all, "dot.org") == "dot");
  CHECK(server_for(all, "x.dot.org") == "dot");
  CHECK(server_for(all, "blue.re.org") == "blue");
  CHECK(server_for(all, "other.example") == "default");
}

TEST_CASE("default_server is for names that nobody has") {
  const std::string_view all =
      "server { listen 127.0.0.1:8020; server_name a; return 200 A; }"
      "server { listen 127.0.0.1:8020 default_server; server_name b; return 200 B; }";
  CHECK(server_for(all, "a") == "A");
  CHECK(server_for(all, "c") == "B");
}

TEST_CASE("a wildcard address takes in the others of its port") {
  const auto config = load(
      with_http("server { listen 127.0.0.1:8020; return 200 one; } server { listen 8020; return 200 any; }"
                "server { listen 127.0.0.1:8021; listen unix:/tmp/x.sock; return 200 apart; }"));
  REQUIRE(config->listeners.size() == 3);
  CHECK(config->listeners[0].address == "0.0.0.0:8020");
  CHECK(config->listeners[1].address == "127.0.0.1:8021");
  CHECK(config->listeners[2].address == "unix:/tmp/x.sock");
  CHECK(asked(config, {.local = "127.0.0.1"}).answer().body == "one");
  CHECK(asked(config, {.local = "192.0.2.1"}).answer().body == "any");
  CHECK(asked(config, {.local = "127.0.0.1", .listener = 1}).answer().body == "apart");
}

TEST_CASE("listen takes ports, addresses and options") {
  const auto config =
      load(with_http("server { listen 8020 backlog=64 reuseport; return 200; }"
                     "server { listen [::1]:8021 ipv6only=off; return 200; }"
                     "server { listen *:8022; return 200; } server { return 200; }"));
  REQUIRE(config->listeners.size() == 4);
  CHECK(config->listeners[0].options.backlog == 64);
  CHECK(config->listeners[0].options.reuse_port);
  CHECK(config->listeners[1].address == "[::1]:8021");
  CHECK_FALSE(config->listeners[1].options.ipv6_only);
  CHECK(config->listeners[2].address == "0.0.0.0:8022");
  CHECK(config->listeners[3].address == "0.0.0.0:80");
}

TEST_CASE("conditions compare and match") {
  const auto result = [](std::string_view condition, request what = {}) {
    return location_for(
        "location / { if (" + std::string(condition) + ") { return 200 yes; } return 200 no; }", what.target);
  };
  CHECK(result("$arg_x", {.target = "/?x=1"}) == "yes");
  CHECK(result("$arg_x", {.target = "/?x=0"}) == "no");
  CHECK(result("$arg_x", {.target = "/?x="}) == "no");
  CHECK(result("$arg_x = a", {.target = "/?x=a"}) == "yes");
  CHECK(result("$arg_x != a", {.target = "/?x=a"}) == "no");
  CHECK(result("$arg_x ~ ^A", {.target = "/?x=ab"}) == "no");
  CHECK(result("$arg_x ~* ^A", {.target = "/?x=ab"}) == "yes");
  CHECK(result("$arg_x !~ ^a", {.target = "/?x=b"}) == "yes");
  CHECK(result("$arg_x !~* ^B", {.target = "/?x=b"}) == "no");
  CHECK(result(" $arg_x = \"a\" ", {.target = "/?x=a"}) == "yes");
}

TEST_CASE("set assigns in order, and captures of a condition can be used") {
  CHECK(location_for(
            "set $a 1; location / { set $b \"$a$a\"; set $a 2; return 200 \"$a,$b,$c\"; } set $c $a$arg_x;",
            "/?x=9") == "2,11,19");
  CHECK(location_for("location / { if ($uri ~ ^/(.)(.)) { return 200 $2$1; } return 200 none; }", "/abc") ==
        "ba");
}

TEST_CASE("break ends a block's rules") {
  CHECK(location_for("break; return 200 server; location / { return 200 location; }", "/") == "location");
}

TEST_CASE("fields added inside a location's if hold when it applies") {
  const std::string_view all =
      "location / { add_header X-Out 1; if ($request_method = OPTIONS) { add_header X-In 2; return 204; }"
      " proxy_pass http://127.0.0.1:1; }";
  const auto answer = ask(with_server(all), {.method = "OPTIONS"}).answer();
  CHECK(answer.status == 204);
  CHECK(answer.extra.value_or_empty("X-In") == "2");
  CHECK(answer.extra.count("X-Out") == 0);
  CHECK(ask(with_server(all), {}).response(200, {}).fields.value_or_empty("X-Out") == "1");
}

TEST_CASE("an if without return changes where a location leads") {
  const auto text = with_server(
      "location / { proxy_pass http://127.0.0.1:1; if ($arg_to = b) { proxy_pass http://127.0.0.1:2; } }");
  CHECK(ask(text, {}).pass().to.backends().front()->address().port == 1);
  CHECK(ask(text, {.target = "/?to=b"}).pass().to.backends().front()->address().port == 2);
}

TEST_CASE("return answers, redirects and hangs up") {
  const auto answer = [](std::string_view line, std::string target = "/x?y") {
    return ask(with_server("location / { return " + std::string(line) + "; }"), {.target = std::move(target)})
        .answer();
  };
  CHECK(answer("200 hello").body == "hello");
  CHECK(answer("200 hello").extra.value_or_empty("Content-Type") == "text/plain");
  CHECK(answer("200 hello", "/x.html").extra.value_or_empty("Content-Type") == "text/html");
  CHECK(answer("200").body.empty());
  CHECK(answer("301 https://$host$request_uri").extra.value_or_empty("Location") ==
        "https://example.test/x?y");
  CHECK(answer("302 /there").extra.value_or_empty("Location") == "http://example.test:8020/there");
  CHECK(answer("http://other.test/").status == 302);
  CHECK(answer("403").body.find("403 Forbidden") != std::string::npos);
  CHECK(answer("404 gone").body == "gone");
  CHECK(answer("500").close);
  CHECK(ask(with_server("return 444;"), {}).hung_up());
}

TEST_CASE("included files stand in the place of include") {
  const auto folder = std::filesystem::temp_directory_path() / "wsproxy-include-test";
  std::filesystem::create_directories(folder / "conf.d");
  const auto write = [&](const char* name, std::string_view text) { std::ofstream(folder / name) << text; };
  write("main.conf", "events { }\nhttp { include conf.d/*.conf; include types; }\n");
  write("conf.d/a.conf", "server { listen 127.0.0.1:8020; server_name a; return 200 A; }\n");
  write("conf.d/b.conf", "server { listen 127.0.0.1:8020; server_name b;\n location / { return 200 B; } }\n");
  write("types", "types { application/json json; }\n");
  const auto loaded = load_file((folder / "main.conf").string());
  for (const auto& one : messages(loaded)) UNSCOPED_INFO(one);
  REQUIRE(loaded.config);
  const auto answer = asked(loaded.config, {.target = "/x.json", .fields = {{"Host", "b"}}}).answer();
  CHECK(answer.body == "B");
  CHECK(answer.extra.value_or_empty("Content-Type") == "application/json");

  write("conf.d/b.conf", "server {\n  listen nowhere.invalid:1;\n include b.conf; include none.conf; }\n");
  const auto broken = messages(load_file((folder / "main.conf").string()));
  std::filesystem::remove_all(folder);
  REQUIRE(broken.size() == 3);
  CHECK(
      broken[0].starts_with((folder / "conf.d/b.conf").string() + ":2:10: error: host not found in listen"));
  CHECK(broken[1].find(":3:10: error: cannot read ") != std::string::npos);
}

TEST_CASE("locations inside locations are chosen within the one that was chosen") {
  const std::string_view all =
      "location / { return 200 root; } location ~ \\.txt$ { return 200 text; }"
      "location /a { location /a/b { location ~ \\.txt$ { return 200 abtext; } return 200 ab; }"
      "  location = /a/c { return 200 ac; } return 200 a; }"
      "location ^~ /f { location /f/g { return 200 fg; } return 200 f; }"
      "location ~ ^/r { location ~ s$ { return 200 rs; } return 200 r; }";
  CHECK(location_for(all, "/a") == "a");
  CHECK(location_for(all, "/a/b/x") == "ab");
  CHECK(location_for(all, "/a/b/x.txt") == "abtext");
  CHECK(location_for(all, "/a/c") == "ac");
  CHECK(location_for(all, "/a/x.txt") == "text");
  CHECK(location_for(all, "/f/x.txt") == "f");
  CHECK(location_for(all, "/f/g/x.txt") == "fg");
  CHECK(location_for(all, "/r") == "r");
  CHECK(location_for(all, "/rs") == "rs");
}

TEST_CASE("a location inside another takes over its settings, but neither proxy_pass nor rules") {
  const auto text = with_server(
      "location /a { proxy_pass http://127.0.0.1:1; proxy_read_timeout 7s; set $x set;"
      "  location /a/b { proxy_pass http://127.0.0.1:2; proxy_set_header X \"[$x]\"; }"
      "  location /a/c { } }");
  const auto inner = ask(text, {.target = "/a/b"});
  CHECK(inner.pass().how->tunnel.timeouts.response == std::chrono::seconds(7));
  CHECK(inner.rewrite().set.value_or_empty("X") == "[]");
  CHECK(ask(text, {.target = "/a/c"}).answer().status == 404);
}
