// The mistakes that are made most, each in an otherwise right file: where it is, what is wrong, what would be
// right.
#include <examples/gateway/loader.hpp>

#include <algorithm>

#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;
using strings = std::vector<std::string>;

namespace {

constexpr std::string_view good = R"(events { }
http {
  map $http_upgrade $connection_upgrade {
    default upgrade;
    '' close;
  }
  upstream chat {
    server 127.0.0.1:9001;
    server 127.0.0.1:9002;
  }
  server {
    listen 127.0.0.1:8020;
    server_name chat.test;
    location / {
      proxy_pass http://chat;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_read_timeout 60s;
    }
  }
}
)";

struct mistake {
  std::string_view right, wrong;  // of `good`, and what is written instead
  std::string_view message;
};

constexpr mistake mistakes[] = {
    {"proxy_http_version 1.1;", "proxy_http_version 1.1",
     "t.conf:16:29: error: a \";\" is missing here: \"proxy_set_header\" begins on line 17"},
    {"    listen 127.0.0.1:8020;", "    listen 127.0.0.1:8020",
     "t.conf:12:26: error: a \";\" is missing here: \"server_name\" begins on line 13"},
    {"proxy_read_timeout 60s;\n    }\n  }\n}\n", "proxy_read_timeout 60s;\n    }\n  }\n",
     "t.conf:2:6: error: this \"{\" is never closed: a \"}\" is missing"},
    {"proxy_read_timeout 60s;\n    }\n", "proxy_read_timeout 60s;\n    }\n  }\n",
     "t.conf:23:1: error: unexpected \"}\": no block is open"},
    {"60s;", "60s\xEF\xBC\x9B", "t.conf:19:29: error: \"\xEF\xBC\x9B\" is a full-width semicolon: write ;"},
    {"'' close;", "\xE2\x80\x98\xE2\x80\x99 close;",
     "t.conf:5:5: error: \"\xE2\x80\x98\" is not a quote here: write \" or '"},
    {"default upgrade;", "default \"upgrade;",
     "t.conf:4:13: error: this quote is never closed: a \" is missing"},
    {"proxy_set_header Upgrade", "proxy_set_headers Upgrade",
     "t.conf:17:7: error: unknown directive \"proxy_set_headers\"; did you mean \"proxy_set_header\"?"},
    {"$connection_upgrade;", "$connection_upgarde;",
     "t.conf:18:35: error: unknown variable \"$connection_upgarde\"; did you mean \"$connection_upgrade\"?"},
    {"60s;", "60sec;",
     "t.conf:19:26: error: invalid value \"60sec\" in \"proxy_read_timeout\" directive: a time is 60s, 1m30s "
     "or 500ms"},
    {"proxy_http_version 1.1;", "proxy_http_version 2;",
     "t.conf:16:26: error: invalid value \"2\" in \"proxy_http_version\" directive: it is 1.1 or 1.0"},
    {"proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Upgrade;",
     "t.conf:17:7: error: invalid number of arguments in \"proxy_set_header\" directive: it takes 2"},
    {"proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Upgrade $http_upgrade $host;",
     "t.conf:17:7: error: invalid number of arguments in \"proxy_set_header\" directive: it takes 2"},
    {"proxy_pass http://chat;", "proxy_pass chat;",
     "t.conf:15:18: error: invalid URL prefix in \"chat\": it begins with http://"},
    {"proxy_pass http://chat;", "proxy_pass http://no-such-host.invalid;",
     "t.conf:15:18: error: host not found in upstream \"http://no-such-host.invalid\": "},
    {"proxy_pass http://chat;", "proxy_pass http://chat:9001;",
     "t.conf:15:18: error: upstream \"chat\" may not have port 9001"},
    {"proxy_pass http://chat;", "proxy_pass https://chat;",
     "t.conf:15:18: error: https:// is not supported: connections to backends are not encrypted"},
    {"location / {", "location / { } location / {",
     "t.conf:14:20: error: duplicate location \"/\"; the first is on line 14"},
    {"    location / {", "    proxy_pass http://chat;\n    location / {",
     "t.conf:14:5: error: \"proxy_pass\" directive is not allowed here; it belongs into location or if in a "
     "location"},
    {"listen 127.0.0.1:8020;", "listen 127.0.0.1:80200;",
     "t.conf:12:12: error: invalid port in \"127.0.0.1:80200\": a port is 1 to 65535"},
    {"listen 127.0.0.1:8020;", "listen 127.0.0.1:8020 defualt_server;",
     "t.conf:12:27: error: invalid parameter \"defualt_server\"; did you mean \"default_server\"?"},
    {"listen 127.0.0.1:8020;", "listen 127.0.0.1:8020 ssl;",
     "t.conf:12:27: error: \"ssl\" is not supported: this gateway speaks plain HTTP/1.1"},
    {"server 127.0.0.1:9002;", "server http://127.0.0.1:9002;",
     "t.conf:9:12: error: invalid host in \"http://127.0.0.1:9002\": an address is HOST:PORT, without "
     "http://"},
    {"server 127.0.0.1:9002;", "server 127.0.0.1:9002 max_fail=2;",
     "t.conf:9:27: error: invalid parameter \"max_fail=2\"; did you mean \"max_fails\"?"},
    {"60s;", "60s; proxy_read_timeout 30s;",
     "t.conf:19:31: error: \"proxy_read_timeout\" directive is duplicate; the first is on line 19"},
    {"events { }\n", "", "t.conf:1:1: error: no \"events\" section in configuration: add events { }"},
    {"60s;", "60s; include nowhere.conf;",
     "t.conf:19:39: error: cannot read \"./nowhere.conf\": No such file or directory"},
    {"60s;", "60s; if ($request_method == OPTIONS) { return 204; }",
     "t.conf:19:51: error: unexpected \"==\" in condition: it is $VARIABLE, or $VARIABLE =, !=, ~, ~*, !~ or "
     "!~* VALUE"},
    {"60s;", "60s; if (host = a) { proxy_pass http://127.0.0.1:9001; }",
     "t.conf:19:35: error: invalid condition \"host\": it begins with a variable"},
    {"60s;", "60s; deny all;",
     "t.conf:19:31: error: \"deny\" is not supported: it restricts access, and ignoring it would open what "
     "it closes"},
    {"60s;", "60s; proxy_next_upstream eror;",
     "t.conf:19:51: error: invalid value \"eror\" in \"proxy_next_upstream\" directive; did you mean "
     "\"error\"?"},
    {"    location / {", "    location /a { location /b { return 200; } }\n    location / {",
     "t.conf:14:19: error: location \"/b\" is outside location \"/a\""},
};

std::string with(const mistake& one) {
  std::string text(good);
  const auto at = text.find(one.right);
  REQUIRE(at != text.npos);
  return text.replace(at, one.right.size(), one.wrong);
}

/// What ends in a colon goes on in the words of the system's resolver: they depend on whether there is a
/// network.
bool tells(std::string_view line, std::string_view message) {
  return message.ends_with(": ") ? line.starts_with(message) : line == message;
}

}  // namespace

TEST_CASE("the file that the mistakes are made in is right") {
  CHECK(messages(wsproxy_gateway::load_text(good, "t.conf")).empty());
}

TEST_CASE("each mistake is named where it is, with what would be right") {
  for (const auto& one : mistakes) {
    CAPTURE(one.wrong);
    const auto loaded = wsproxy_gateway::load_text(with(one), "t.conf");
    CHECK(loaded.config == nullptr);
    const auto found = messages(loaded);
    CHECK(
        std::any_of(found.begin(), found.end(), [&](const auto& line) { return tells(line, one.message); }));
  }
}

TEST_CASE("a path of a socket with a NUL byte is a mistake like any other") {
  using namespace std::string_literals;
  for (const auto& [right, wrong] : {std::pair("server 127.0.0.1:9002;"s, "server unix:/a\0b;"s),
                                     std::pair("60s;"s, "60s; if ($host) { proxy_pass http://unix:\0; }"s)}) {
    std::string text(good);
    text.replace(text.find(right), right.size(), wrong);
    const auto found = messages(wsproxy_gateway::load_text(text, "t.conf"));
    CHECK(std::ranges::any_of(found,
                              [](const auto& one) { return one.find("error: a NUL byte in ") != one.npos; }));
  }
}

TEST_CASE("mistakes in several places are told in one go, in the order of the text, and nothing else") {
  std::string text(good);
  for (const auto& [right, wrong] :
       {std::pair("default upgrade;", "default upgrade"), std::pair("9001;", "90010;"),
        std::pair("listen", "listne"), std::pair("60s;", "60z;")})
    text.replace(text.find(right), std::string_view(right).size(), wrong);
  CHECK(messages(wsproxy_gateway::load_text(text, "t.conf")) ==
        strings{"t.conf:4:20: error: a \";\" is missing here",
                "t.conf:8:12: error: invalid port in \"127.0.0.1:90010\": a port is 1 to 65535",
                "t.conf:12:5: error: unknown directive \"listne\"; did you mean \"listen\"?",
                "t.conf:19:26: error: invalid value \"60z\" in \"proxy_read_timeout\" directive: a time is "
                "60s, 1m30s "
                "or 500ms"});
}
