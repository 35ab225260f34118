#include <wsproxy/http/rewrite.hpp>

#include <catch2/catch_test_macros.hpp>

#include <ctime>
#include <string>

using namespace wsproxy;

namespace {

fields stripped(fields lines) {
  strip_hop_by_hop(lines);
  return lines;
}

std::string host_of_request(std::string target, fields lines) {
  return request_host({"GET", std::move(target), http_version::http_1_1, std::move(lines)});
}

}  // namespace

TEST_CASE("fields of one connection are removed, others keep their order") {
  CHECK(stripped({{"Host", "a"},
                  {"connection", "close"},
                  {"Proxy-Connection", "keep-alive"},
                  {"Keep-Alive", "timeout=5"},
                  {"X-A", "1"},
                  {"TE", "trailers"},
                  {"Transfer-Encoding", "chunked"},
                  {"UPGRADE", "websocket"},
                  {"Trailer", "X-B"},
                  {"Expect", "100-continue"},
                  {"Content-Length", "3"}}) == fields{{"Host", "a"},
                                                      {"X-A", "1"},
                                                      {"Trailer", "X-B"},
                                                      {"Expect", "100-continue"},
                                                      {"Content-Length", "3"}});
  CHECK(stripped({}) == fields{});
}

TEST_CASE("what any Connection line nominates is removed, all its lines, before and behind it") {
  CHECK(stripped({{"X-Real-IP", "1"},
                  {"Connection", ""},
                  {"x-b", "2"},
                  {"Connection", "keep-alive, X-Real-IP"},
                  {"X-Real-Ip", "3"},
                  {"connection", ", x-B ,HTTP2-Settings"},
                  {"HTTP2-Settings", "AAMAAABkAAQAAP__"},
                  {"X-B2", "4"}}) == fields{{"X-B2", "4"}});
}

TEST_CASE("a client cannot have deleted what routing and the handshake rest on") {
  const fields kept{{"Host", "a"},
                    {"Content-Length", "1"},
                    {"Content-Type", "b"},
                    {"Authorization", "c"},
                    {"Cookie", "d"},
                    {"Origin", "e"},
                    {"Sec-WebSocket-Key", "f"},
                    {"Sec-WebSocket-Protocol", "g"},
                    {"Sec-WebSocket-", "h"}};
  auto lines = kept;
  lines.add("Connection",
            "host, CONTENT-LENGTH, content-type, authorization, cookie, origin, sec-websocket-key, "
            "Sec-WebSocket-Protocol, Sec-WebSocket-");
  CHECK(stripped(lines) == kept);
  CHECK(stripped({{"Connection", "Sec-WebSocke"}, {"Sec-WebSocke", "a"}}) == fields{});
}

TEST_CASE("a head full of nominations costs no more than sorting them") {
  fields lines;
  std::string nominated;
  for (int i = 0; i != 100'000; ++i) {
    const auto name = "X" + std::to_string(i);
    nominated += name + ',';
    lines.add(name, "");
  }
  lines.add("Connection", nominated);
  const auto begin = std::clock();  // of the processor: others may use it meanwhile
  CHECK(stripped(std::move(lines)).empty());
  CHECK((std::clock() - begin) / CLOCKS_PER_SEC < 10);  // comparing every pair would take minutes
}

TEST_CASE("the client's address is put behind what X-Forwarded-For says") {
  CHECK(append_forwarded_for({}, "10.0.0.1") == "10.0.0.1");
  CHECK(append_forwarded_for({{"x-forwarded-for", "1.1.1.1"}}, "10.0.0.1") == "1.1.1.1, 10.0.0.1");
  CHECK(append_forwarded_for({{"X-Forwarded-For", ""}}, "10.0.0.1") == ", 10.0.0.1");  // as nginx
  CHECK(append_forwarded_for(
            {{"X-Forwarded-For", "1.1.1.1, 2.2.2.2"}, {"A", "b"}, {"X-Forwarded-For", "3.3.3.3"}}, "::1") ==
        "1.1.1.1, 2.2.2.2, 3.3.3.3, ::1");
}

TEST_CASE("a request's host is the target's, else Host's, in lower case and without port") {
  CHECK(host_of_request("/", {{"Host", "Example.COM:8080"}}) == "example.com");
  CHECK(host_of_request("/", {{"Host", "example.com."}}) == "example.com");
  CHECK(host_of_request("/", {{"Host", "[::FFFF]:80"}}) == "[::ffff]");
  CHECK(host_of_request("/", {{"Host", "[::1]"}}) == "[::1]");
  CHECK(host_of_request("http://B:1/x", {{"Host", "a"}}) == "b");
  CHECK(host_of_request("http://B?x://y", {}) == "b");
  CHECK(host_of_request("/http://b/", {{"Host", "a"}}) == "a");
  CHECK(host_of_request("/", {}) == "");
  CHECK(host_of_request("*", {{"Host", ""}}) == "");
}
