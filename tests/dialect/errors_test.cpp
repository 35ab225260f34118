#include <examples/gateway/directives.hpp>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;
using strings = std::vector<std::string>;

namespace {

strings of(std::string_view text) { return messages(wsproxy_gateway::load_text(text, "t.conf")); }
strings in_http(std::string_view text) { return of(with_http(text)); }
/// One line inside the only server's only location, which is line 5 of the file.
strings in_location(std::string_view line) {
  return of(with_server("location / {\n" + std::string(line) + "\nproxy_pass http://127.0.0.1:1; }"));
}

}  // namespace

TEST_CASE("an unknown directive is named, with what was probably meant") {
  CHECK(in_location("proxy_read_timout 5s;") ==
        strings{"t.conf:5:1: error: unknown directive \"proxy_read_timout\"; did you mean "
                "\"proxy_read_timeout\"?"});
  CHECK(in_location("  frobnicate;") == strings{"t.conf:5:3: error: unknown directive \"frobnicate\""});
}

TEST_CASE("an error is one line, whatever it quotes") {
  CHECK(in_location("'frob\nnicate\t\xC3\xA4\x1B[m' x;") ==
        strings{"t.conf:5:1: error: unknown directive \"frob\\x0Anicate\\x09\xC3\xA4\\x1B[m\""});
}

TEST_CASE("what is no value is told what would be one") {
  CHECK(in_location("return 1000;") ==
        strings{"t.conf:5:8: error: invalid return code \"1000\": it is 200 to 999"});
  CHECK(in_http("error_log stderr debgu;") ==
        strings{
            "t.conf:3:18: error: invalid log level \"debgu\": it is debug, info, notice, warn, error, crit, "
            "alert or emerg"});
  CHECK(of(with_server("server_name a.test, b.test; return 204;")) ==
        strings{
            "t.conf:4:13: warning: server name \"a.test,\" has suspicious symbols: names have spaces between "
            "them, and no path"});
}

TEST_CASE("a location whose directives cannot be read is not said to have none") {
  CHECK(of(with_server("location / { return; }")) ==
        strings{"t.conf:4:14: error: invalid number of arguments in \"return\" directive: it takes 1 to 2"});
}

TEST_CASE("a directive in the wrong block is told where it belongs") {
  CHECK(in_location("listen 80;") ==
        strings{"t.conf:5:1: error: \"listen\" directive is not allowed here; it belongs into server"});
  CHECK(in_http("location / { }") == strings{"t.conf:3:1: error: \"location\" directive is not allowed here; "
                                             "it belongs into server or location"});
}

TEST_CASE("a wrong number of arguments is told the right one") {
  CHECK(
      in_location("proxy_read_timeout 1s 2s;") ==
      strings{
          "t.conf:5:1: error: invalid number of arguments in \"proxy_read_timeout\" directive: it takes 1"});
}

TEST_CASE("blocks and plain directives are told apart") {
  CHECK(in_http("server;") == strings{"t.conf:3:7: error: directive \"server\" has no opening \"{\""});
  CHECK(in_location("proxy_read_timeout 1s { }") ==
        strings{"t.conf:5:22: error: directive \"proxy_read_timeout\" is not terminated by \";\""});
}

TEST_CASE("a missing semicolon is found where the next directive begins, and both are read") {
  CHECK(in_location("proxy_read_timeout 1s\nproxy_send_timeout x;") ==
        strings{"t.conf:5:22: error: a \";\" is missing here: \"proxy_send_timeout\" begins on line 6",
                "t.conf:6:20: error: invalid value \"x\" in \"proxy_send_timeout\" directive: a time is 60s, "
                "1m30s or 500ms"});
}

TEST_CASE("several mistakes are reported in one go, in the order of the text") {
  CHECK(in_location("proxy_read_timeout 1x;\nadd_header X $nope;\nproxy_http_version 3;") ==
        strings{
            "t.conf:5:20: error: invalid value \"1x\" in \"proxy_read_timeout\" directive: a time is 60s, "
            "1m30s or 500ms",
            "t.conf:6:14: error: unknown variable \"$nope\"",
            "t.conf:7:20: error: invalid value \"3\" in \"proxy_http_version\" directive: it is 1.1 or 1.0"});
}

TEST_CASE("an unknown variable is told what it probably is") {
  CHECK(in_location("proxy_set_header X $remote_adr;") ==
        strings{"t.conf:5:20: error: unknown variable \"$remote_adr\"; did you mean \"$remote_addr\"?"});
}

TEST_CASE("a variable that cannot be one is refused") {
  CHECK(in_location("proxy_set_header X a$;") ==
        strings{"t.conf:5:20: error: invalid variable name in \"a$\""});
  CHECK(in_location("proxy_set_header X \"${host\";") ==
        strings{"t.conf:5:20: error: the closing } of a variable is missing in \"${host\""});
}

TEST_CASE("directives that restrict, encrypt or serve are refused by name") {
  for (const auto* line :
       {"allow 10.0.0.0/8;", "deny all;", "auth_basic x;", "limit_req zone=a;", "internal;", "rewrite a b;",
        "error_page 404 /x;", "alias /x;", "ssl_verify_client on;", "limit_except GET { }"}) {
    const auto found = in_location(line);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("is not supported: ") != std::string::npos);
  }
  CHECK(in_http("server { listen 127.0.0.1:1 ssl; return 200; }") ==
        strings{"t.conf:3:29: error: \"ssl\" is not supported: this gateway speaks plain HTTP/1.1"});
  CHECK(in_http("server { listen 127.0.0.1:1; location / { proxy_pass https://127.0.0.1; } }")
            .at(0)
            .find("https://") != std::string::npos);
}

TEST_CASE("what only nginx's other modules know is no unknown directive") {
  CHECK(in_location("fastcgi_read_timeout 1s; fastcgi_param A b; http2_push /x;") ==
        strings{"t.conf:5:1: warning: \"fastcgi_read_timeout\" is ignored: it has no effect here",
                "t.conf:5:45: warning: \"http2_push\" is ignored: it has no effect here"});
  CHECK(in_location("fastcgi_pass a:1;").at(0).find("\"fastcgi_pass\" is not supported: ") !=
        std::string::npos);
  CHECK(in_location("ssl_stapling_file a;").at(0).find("\"ssl_stapling_file\" is not supported: ") !=
        std::string::npos);
}

TEST_CASE("what would be refused is none where it says what holds anyway") {
  for (const auto* line : {"allow all;", "auth_basic off;", "proxy_cache off;", "limit_rate 0;",
                           "expires off;", "chunked_transfer_encoding on;", "proxy_ssl_verify off;"}) {
    CAPTURE(line);
    CHECK(in_location(line) == strings{});
  }
  for (const auto* line : {"auth_basic Off;", "auth_basic off off;", "limit_rate 1;",
                           "chunked_transfer_encoding off;", "proxy_cache on;", "allow all { }"}) {
    CAPTURE(line);
    const auto found = in_location(line);
    REQUIRE(found.size() == 1);
    CHECK(found[0].find("is not supported: ") != std::string::npos);
  }
}

TEST_CASE("a directive that only tunes is ignored with one warning") {
  CHECK(in_location("gzip on; gzip off; proxy_buffering off;") ==
        strings{"t.conf:5:1: warning: \"gzip\" is ignored: it has no effect here",
                "t.conf:5:20: warning: \"proxy_buffering\" is ignored: it has no effect here"});
}

TEST_CASE("root is ignored beside proxy_pass, and refused alone") {
  CHECK(in_location("root /x;") == strings{"t.conf:5:1: warning: \"root\" is ignored: files are not served"});
  const auto alone = in_http("server { listen 127.0.0.1:1; location / { root /x; } }");
  REQUIRE(alone.size() == 2);
  CHECK(alone[1].find("error: this location would serve files") != std::string::npos);
}

TEST_CASE("duplicates are refused with the first one's line") {
  CHECK(in_location("proxy_read_timeout 1s;\nproxy_read_timeout 2s;") ==
        strings{"t.conf:6:1: error: \"proxy_read_timeout\" directive is duplicate; the first is on line 5"});
  CHECK(in_http(
            "server { listen 127.0.0.1:1;\nlocation /a { return 200; }\nlocation ^~ /a { return 200; } }") ==
        strings{"t.conf:5:1: error: duplicate location \"/a\"; the first is on line 4"});
  CHECK(in_http("upstream u { server 127.0.0.1:1; }\nupstream u { server 127.0.0.1:2; }") ==
        strings{"t.conf:4:10: error: duplicate upstream \"u\"; the first is on line 3"});
  CHECK(in_http("map $host $a {\nx 1;\nX 2; }").at(0) ==
        "t.conf:5:1: error: conflicting parameter \"X\": it is in this map already");
}

TEST_CASE("upstreams are checked") {
  CHECK(in_http("upstream u { }") == strings{"t.conf:3:1: error: no servers are inside upstream \"u\""});
  CHECK(in_http("upstream u { server 127.0.0.1:1 weigth=2; }") ==
        strings{"t.conf:3:33: error: invalid parameter \"weigth=2\"; did you mean \"weight\"?"});
  CHECK(in_http("upstream u { server 127.0.0.1:1 weight=0; }") ==
        strings{"t.conf:3:33: error: invalid parameter \"weight=0\": it takes a number above 0"});
  CHECK(in_http("upstream u { server 127.0.0.1:99999; }") ==
        strings{"t.conf:3:21: error: invalid port in \"127.0.0.1:99999\": a port is 1 to 65535"});
  CHECK(in_http("upstream u { ip_hash; server 127.0.0.1:1; server 127.0.0.1:2 backup; }")
            .at(0)
            .find("backup") != std::string::npos);
  CHECK(in_http("upstream u { server no-such-host.invalid; }")
            .at(0)
            .starts_with("t.conf:3:21: error: host not found in upstream \"no-such-host.invalid\""));
}

TEST_CASE("proxy_pass is checked") {
  const auto pass = [](std::string_view line) {
    return in_http("upstream u { server 127.0.0.1:1; }\nserver { listen 127.0.0.1:1;\n" + std::string(line) +
                   " }");
  };
  CHECK(pass("location / { proxy_pass 127.0.0.1; }") ==
        strings{"t.conf:5:25: error: invalid URL prefix in \"127.0.0.1\": it begins with http://"});
  CHECK(pass("location / { proxy_pass http://u:81; }") ==
        strings{"t.conf:5:25: error: upstream \"u\" may not have port 81"});
  CHECK(pass("location ~ x { proxy_pass http://u/; }")
            .at(0)
            .starts_with("t.conf:5:27: error: \"proxy_pass\" cannot have a path (\"/\")"));
  CHECK(pass("location / { proxy_pass http://; }") == strings{"t.conf:5:25: error: no host in \"http://\""});
}

TEST_CASE("listen and server_name are checked") {
  CHECK(in_http("server { listen 127.0.0.1:0; }") ==
        strings{"t.conf:3:17: error: invalid port in \"127.0.0.1:0\": a port is 1 to 65535"});
  CHECK(in_http("server { listen 127.0.0.1:1 fast; }") ==
        strings{"t.conf:3:29: error: invalid parameter \"fast\""});
  CHECK(in_http("server { listen 127.0.0.1:1; listen 127.0.0.1:1; }") ==
        strings{"t.conf:3:37: error: a duplicate listen 127.0.0.1:1"});
  CHECK(in_http("server { listen 127.0.0.1:1 default_server; }\nserver { listen 127.0.0.1:1 default_server; "
                "server_name a; }") ==
        strings{"t.conf:4:17: error: a duplicate default server for 127.0.0.1:1"});
  CHECK(in_http("server { listen 127.0.0.1:1; server_name *a.b; }") ==
        strings{"t.conf:3:42: error: invalid server name or wildcard \"*a.b\""});
  // nginx looks at names only where there is a choice.
  CHECK(in_http("server { listen 127.0.0.1:1; server_name a.*.b; }") ==
        strings{"t.conf:3:42: warning: server name \"a.*.b\" matches no host"});
  CHECK(in_http("server { listen 127.0.0.1:1; server_name a.*.b; }\nserver { listen 127.0.0.1:1; }") ==
        strings{"t.conf:3:42: error: invalid server name or wildcard \"a.*.b\" on 127.0.0.1:1"});
  CHECK(in_http(
            "server { listen 127.0.0.1:1; server_name a; }\nserver { listen 127.0.0.1:1; server_name a; }") ==
        strings{"t.conf:4:1: warning: conflicting server name \"a\" on 127.0.0.1:1, ignored: an earlier "
                "server has it"});
}

TEST_CASE("if and return are checked") {
  CHECK(in_location("if ($request_method == GET) { return 204; }")
            .at(0)
            .starts_with("t.conf:5:21: error: unexpected \"==\" in condition"));
  CHECK(in_location("if $request_method { return 204; }")
            .at(0)
            .starts_with("t.conf:5:4: error: invalid condition"));
  CHECK(in_location("if (-f $uri) { return 204; }") ==
        strings{"t.conf:5:5: error: \"-f\" is not supported: files are not served"});
  CHECK(in_location("return abc;").at(0).starts_with("t.conf:5:8: error: invalid return code \"abc\""));
  CHECK(in_location("set $host x;")
            .at(0)
            .starts_with("t.conf:5:5: error: the variable \"$host\" exists already"));
  CHECK(in_http("server { listen 127.0.0.1:1; location ~ ( { return 200; } }")
            .at(0)
            .starts_with("t.conf:3:41: error: regular expression \"(\": missing closing parenthesis"));
}

TEST_CASE("a file without events is refused as nginx does") {
  CHECK(of("http { }") ==
        strings{"t.conf:1:1: error: no \"events\" section in configuration: add events { }"});
}

TEST_CASE("a file that is not there is named") {
  CHECK(messages(wsproxy_gateway::load_file("/nonexistent/x.conf")) ==
        strings{"/nonexistent/x.conf:1:1: error: cannot read this file: No such file or directory"});
}

TEST_CASE("added fields that would break the framing are left out with a warning") {
  CHECK(in_location("add_header Content-Length 0;") ==
        strings{"t.conf:5:12: warning: \"Content-Length\" is not added: the gateway decides it itself"});
}

TEST_CASE("the three lists are printed") {
  const auto text = wsproxy_gateway::describe_directives();
  CHECK(text.find("  proxy_pass  (location or if in a location)") != std::string::npos);
  CHECK(text.find("  auth_basic") > text.find("Refused"));
  CHECK(text.find("  sendfile") > text.find("Ignored"));
}
