#include <wsproxy/http/message.hpp>

#include <catch2/catch_test_macros.hpp>

#include <stdexcept>
#include <string>

using namespace wsproxy;
using namespace std::string_literals;

namespace {

template <class Head> std::string written(const Head& head) {
  std::string out;
  serialize(head, out);
  return out;
}

}  // namespace

TEST_CASE("heads are written with their bytes in their order, behind what is there") {
  std::string out = "before|";
  serialize(
      request_head{"GET", "/a?b", http_version::http_1_1, {{"Host", "a"}, {"x-Empty", ""}, {"Host", "b"}}},
      out);
  CHECK(out == "before|GET /a?b HTTP/1.1\r\nHost: a\r\nx-Empty: \r\nHost: b\r\n\r\n");
  CHECK(written(request_head{"M-SEARCH", "*", http_version::http_1_0, {}}) == "M-SEARCH * HTTP/1.0\r\n\r\n");
  CHECK(written(response_head{200, "OK", http_version::http_1_1, {{"A", "b"}}}) ==
        "HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
  CHECK(written(response_head{404, "", http_version::http_1_0, {}}) == "HTTP/1.0 404 \r\n\r\n");
}

TEST_CASE("nothing that would begin another line can be written") {
  for (const auto& evil : {"a\rb"s, "a\nb"s, "a\r\nX: y"s, "a\0b"s}) {
    CAPTURE(evil);
    CHECK_THROWS_AS(written(request_head{evil, "/", http_version::http_1_1, {}}), std::invalid_argument);
    CHECK_THROWS_AS(written(request_head{"GET", "/" + evil, http_version::http_1_1, {}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(written(request_head{"GET", "/", http_version::http_1_1, {{evil, "a"}}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(written(request_head{"GET", "/", http_version::http_1_1, {{"A", evil}}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(written(response_head{200, evil, http_version::http_1_1, {}}), std::invalid_argument);
    CHECK_THROWS_AS(written(response_head{200, "OK", http_version::http_1_1, {{"A", evil}}}),
                    std::invalid_argument);
    CHECK_THROWS_AS(make_response(200, "", {{"A", evil}}), std::invalid_argument);
  }
}

TEST_CASE("a line that cannot be written is named") {
  const auto refusal = [](const fields& lines) -> std::string {
    try {
      written(response_head{200, "OK", http_version::http_1_1, lines});
    } catch (const std::invalid_argument& refused) {
      return refused.what();
    }
    return {};
  };
  CHECK(refusal({{"A", "1"}, {"B C", "2"}}) == "the name of field line 2 is no token");
  CHECK(refusal({{"A", "1"}, {"X-Token", "2\n3"}}) == "the value of field X-Token contains CR, LF or NUL");
}

TEST_CASE("nothing that would be read as another part of the line can be written") {
  for (const auto* name : {"", " A", "A ", "A:"})
    CHECK_THROWS_AS(written(request_head{"GET", "/", http_version::http_1_1, {{name, "a"}}}),
                    std::invalid_argument);
  for (const auto* method : {"", "GET /", "G\tT"})
    CHECK_THROWS_AS(written(request_head{method, "/", http_version::http_1_1, {}}), std::invalid_argument);
  for (const auto* target : {"", "/ HTTP/1.1", "/\t", "/\x80"})
    CHECK_THROWS_AS(written(request_head{"GET", target, http_version::http_1_1, {}}), std::invalid_argument);
  for (const int status : {-200, 0, 99, 1000})
    CHECK_THROWS_AS(written(response_head{status, "", http_version::http_1_1, {}}), std::invalid_argument);
}

TEST_CASE("a small response has its extra fields, then its length") {
  CHECK(make_response(404, "gone\n", {{"Content-Type", "text/plain"}}) ==
        "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\ngone\n");
  CHECK(make_response(502, "", {}, true) ==
        "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  CHECK(make_response(403, "no\n",
                      {{"content-length", "100"}, {"Transfer-Encoding", "chunked"}, {"Connection", "close"}},
                      true) ==
        "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno\n");
  CHECK(make_response(418, "") == "HTTP/1.1 418 \r\nContent-Length: 0\r\n\r\n");
}

TEST_CASE("a response that can have no body has neither body nor length") {
  for (const int status : {100, 101, 204, 304}) {
    const auto bytes = make_response(status, "body", {{"A", "b"}});
    CHECK(bytes.find("Content-Length") == std::string::npos);
    CHECK(bytes.ends_with("A: b\r\n\r\n"));
  }
}

TEST_CASE("reason phrases are nginx's where it has one") {
  CHECK(reason_phrase(101) == "Switching Protocols");
  CHECK(reason_phrase(302) == "Moved Temporarily");
  CHECK(reason_phrase(405) == "Not Allowed");
  CHECK(reason_phrase(408) == "Request Time-out");
  CHECK(reason_phrase(413) == "Request Entity Too Large");
  CHECK(reason_phrase(414) == "Request-URI Too Large");
  CHECK(reason_phrase(426) == "Upgrade Required");
  CHECK(reason_phrase(503) == "Service Temporarily Unavailable");
  CHECK(reason_phrase(504) == "Gateway Time-out");
  CHECK(reason_phrase(505) == "HTTP Version Not Supported");
  CHECK(reason_phrase(299) == "");
}
