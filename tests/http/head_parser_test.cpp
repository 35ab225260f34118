#include <wsproxy/http/head_parser.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

using namespace wsproxy;
using namespace std::string_literals;

namespace {

// What a parser makes of some bytes, however they are split.
struct reading {
  std::error_code error{};
  bool done = false;
  std::size_t consumed = 0;  // only of a whole head: where an error shows depends on the split
  std::string head{};        // serialized

  bool operator==(const reading&) const = default;
};

reading read(head_parser::kind kind, const std::vector<std::string_view>& pieces,
             const head_limits& limits = {}) {
  head_parser parser(kind, limits);
  reading result;
  for (const auto bytes : pieces) {
    const auto outcome = parser.feed(bytes);
    result.error = outcome.error;
    result.done = outcome.done;
    if (outcome.error) break;
    result.consumed += outcome.consumed;
    if (outcome.done) break;
    REQUIRE(outcome.consumed == bytes.size());
  }
  if (result.error) result.consumed = 0;
  if (result.done) {
    if (kind == head_parser::kind::request) serialize(parser.take_request(), result.head);
    else serialize(parser.take_response(), result.head);
  }
  return result;
}

// Reads whole, split in two at every byte, and byte by byte; requires that this makes no difference.
reading read_all_ways(head_parser::kind kind, std::string_view bytes, const head_limits& limits = {}) {
  CAPTURE(bytes);
  const auto whole = read(kind, {bytes}, limits);
  for (std::size_t at = 1; at < bytes.size(); ++at) {
    CAPTURE(at);
    REQUIRE(read(kind, {bytes.substr(0, at), bytes.substr(at)}, limits) == whole);
  }
  std::vector<std::string_view> single;
  for (std::size_t at = 0; at != bytes.size(); ++at) single.push_back(bytes.substr(at, 1));
  REQUIRE(read(kind, single, limits) == whole);
  return whole;
}

reading read_request(std::string_view bytes, const head_limits& limits = {}) {
  return read_all_ways(head_parser::kind::request, bytes, limits);
}

reading read_response(std::string_view bytes) { return read_all_ways(head_parser::kind::response, bytes); }

request_head parse(std::string_view bytes) {
  head_parser parser(head_parser::kind::request);
  const auto outcome = parser.feed(bytes);
  CAPTURE(bytes, outcome.error.message());
  REQUIRE(outcome.done);
  return parser.take_request();
}

struct refused {
  std::string bytes;
  errc error;
};

const std::string handshake =
    "GET /chat?room=1 HTTP/1.1\r\n"
    "Host: server.example.com:8080\r\n"
    "Upgrade: websocket\r\n"
    "Connection: keep-alive, Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Origin: http://example.com\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n";

}  // namespace

TEST_CASE("a handshake's head keeps the bytes and the order of its lines") {
  head_parser parser(head_parser::kind::request);
  const auto outcome = parser.feed(handshake);
  REQUIRE(outcome.done);
  CHECK(outcome.consumed == handshake.size());
  const auto head = parser.take_request();
  CHECK(head.method == "GET");
  CHECK(head.target == "/chat?room=1");
  CHECK(head.version == http_version::http_1_1);
  CHECK(head.fields == fields{{"Host", "server.example.com:8080"},
                              {"Upgrade", "websocket"},
                              {"Connection", "keep-alive, Upgrade"},
                              {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
                              {"Origin", "http://example.com"},
                              {"Sec-WebSocket-Version", "13"}});
}

TEST_CASE("bytes behind the blank line are left to the caller") {
  for (const auto& behind : {"\x81\x05Hello"s, "GET / HTTP/1.1\r\n"s, "\r\n"s, "\n"s, "\0"s}) {
    const auto result = read_request(handshake + behind);
    CHECK(result.done);
    CHECK(result.consumed == handshake.size());
  }
  const auto switching =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"s;
  const auto result = read_response(switching + "\x88\x02\x03\xe9");
  CHECK(result.done);
  CHECK(result.consumed == switching.size());
}

TEST_CASE("the head ends at the blank line whatever it says about a body, an upgrade or the connection") {
  for (const auto* lines :
       {"", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Connection: close\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 3\r\n",
        "Upgrade: h2c\r\nConnection: Upgrade\r\n", "Content-Length: 0\r\n",
        "Connection: \r\nConnection: Upgrade\r\n"}) {
    const auto request = "POST / HTTP/1.1\r\nHost: a\r\n"s + lines + "\r\n";
    auto result = read_request(request + "abc");
    CHECK(result.head == request);
    CHECK(result.consumed == request.size());
    for (const auto* status : {"100 Continue", "101 Switching Protocols", "103 Early Hints", "200 OK",
                               "204 No Content", "304 Not Modified", "426 Upgrade Required"}) {
      const auto response = "HTTP/1.1 "s + status + "\r\nServer: a\r\n" + lines + "\r\n";
      result = read_response(response + "abc");
      CHECK(result.head == response);
      CHECK(result.consumed == response.size());
    }
  }
}

TEST_CASE("forms of requests that are read, written out again") {
  const std::pair<std::string, std::string> table[] = {
      {"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"GET http://a:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n",
       "GET http://a:80/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n"},
      {"GET ws://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET ws://a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"GET /a%20b!$&'()*+,;=:@~[]{}|\"<>^`\\ HTTP/1.1\r\n\r\n",
       "GET /a%20b!$&'()*+,;=:@~[]{}|\"<>^`\\ HTTP/1.1\r\n\r\n"},
      // Methods need not be known.
      {"MY-OWN_METHOD / HTTP/1.1\r\n\r\n", "MY-OWN_METHOD / HTTP/1.1\r\n\r\n"},
      {"QUERY / HTTP/1.1\r\n\r\n", "QUERY / HTTP/1.1\r\n\r\n"},
      {"PRI / HTTP/1.1\r\n\r\n", "PRI / HTTP/1.1\r\n\r\n"},
      {"TRACE / HTTP/1.1\r\n\r\n", "TRACE / HTTP/1.1\r\n\r\n"},
      // Empty lines in front are skipped.
      {"\r\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"},
      // Space around values is not part of them; the bytes inside are kept.
      {"GET / HTTP/1.1\r\nA:b\r\nC: \t d \t \r\nE:\r\nF: \t\r\n\r\n",
       "GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: \r\nF: \r\n\r\n"},
      {"GET / HTTP/1.1\r\nA: b \t c\r\n\r\n", "GET / HTTP/1.1\r\nA: b \t c\r\n\r\n"},
      {"GET / HTTP/1.1\r\nA: \xff\x80\xc3\xa9:,;\"\r\n\r\n",
       "GET / HTTP/1.1\r\nA: \xff\x80\xc3\xa9:,;\"\r\n\r\n"},
      {"GET / HTTP/1.1\r\nx: 1\r\nX: 2\r\nx: 1\r\n\r\n", "GET / HTTP/1.1\r\nx: 1\r\nX: 2\r\nx: 1\r\n\r\n"},
      {"GET / HTTP/1.1\r\nSEC-webSocket-KEY: k\r\n\r\n", "GET / HTTP/1.1\r\nSEC-webSocket-KEY: k\r\n\r\n"},
      // A list over two lines, the first empty.
      {"GET / HTTP/1.1\r\nConnection:\r\nConnection: keep-alive, Upgrade\r\n\r\n",
       "GET / HTTP/1.1\r\nConnection: \r\nConnection: keep-alive, Upgrade\r\n\r\n"},
      // Names that nginx drops.
      {"GET / HTTP/1.1\r\nX_Real_IP: 1\r\nA.B: 2\r\nC: 3\r\n~!#$%&'*+^`|: 4\r\n\r\n",
       "GET / HTTP/1.1\r\nC: 3\r\n\r\n"},
  };
  for (const auto& [bytes, written] : table) {
    const auto result = read_request(bytes);
    CAPTURE(bytes, result.error.message());
    CHECK(result.done);
    CHECK(result.head == written);
  }
}

TEST_CASE("names of unusual token characters are kept on demand, and always in responses") {
  const auto lines = "X_Real_IP: 1\r\n~!#$%&'*+^`|.: 4\r\n\r\n"s;
  head_limits keep;
  keep.drop_unusual_names = false;
  CHECK(read_request("GET / HTTP/1.1\r\n" + lines, keep).head == "GET / HTTP/1.1\r\n" + lines);
  CHECK(read_response("HTTP/1.1 200 OK\r\n" + lines).head == "HTTP/1.1 200 OK\r\n" + lines);
  head_limits underscores;
  underscores.keep_underscores = true;
  CHECK(read_request("GET / HTTP/1.1\r\n" + lines, underscores).head ==
        "GET / HTTP/1.1\r\nX_Real_IP: 1\r\n\r\n");
}

// Each row ends with the byte that is wrong.
TEST_CASE("what is wrong with a request is named at the first wrong byte") {
  const auto get = "GET / HTTP/1.1\r\n"s;
  const refused table[] = {
      // No HTTP at all.
      {"\x16", errc::bad_start_line},  // TLS
      {"\x80", errc::bad_start_line},
      {"\0"s, errc::bad_start_line},
      {" ", errc::bad_start_line},
      {"g", errc::bad_start_line},
      {"SSH-2", errc::bad_start_line},
      {"\n", errc::bad_line_ending},
      {"\r\r", errc::bad_line_ending},
      {"\rG", errc::bad_line_ending},
      {"\r\n\n", errc::bad_line_ending},
      {"\r\n ", errc::bad_start_line},
      // The request line.
      {"GET\r", errc::bad_start_line},
      {"GET\t", errc::bad_start_line},
      {"GEt", errc::bad_start_line},
      {"GET  ", errc::bad_start_line},
      {"GET \r", errc::bad_start_line},
      {"GET /\r", errc::bad_start_line},  // HTTP/0.9
      {"GET /\n", errc::bad_start_line},
      {"GET / \r", errc::bad_start_line},
      {"GET / HTTP/1.1 ", errc::bad_start_line},
      {"GET / HTTP/1.11", errc::bad_start_line},
      {"GET / HTTP\r", errc::bad_start_line},
      {"GET / http/1.1\r", errc::bad_start_line},
      {"GET / HTTP/ ", errc::bad_start_line},
      {"GET /a b ", errc::bad_start_line},
      {"GET / HTTP/1.1\n", errc::bad_line_ending},
      {"GET / HTTP/1.1\r\r", errc::bad_line_ending},
      {"GET / HTTP/1.1\rA", errc::bad_line_ending},
      {"CONNECT ", errc::bad_method},
      {"GET / HTTP/0.9\r", errc::bad_version},
      {"GET / HTTP/1.2\r", errc::bad_version},
      {"GET / HTTP/2.0\r", errc::bad_version},
      {"GET / HTTP/3\r", errc::bad_version},
      {"PRI * HTTP/2.0\r", errc::bad_version},
      {"GET /\t", errc::bad_target},
      {"GET /\0"s, errc::bad_target},
      {"GET /\x7f", errc::bad_target},
      {"GET /\xc3", errc::bad_target},
      {"GET ?", errc::bad_target},
      {"GET 1", errc::bad_target},
      {"GET a/", errc::bad_target},
      // Field names.
      {get + ":", errc::bad_field_name},
      {get + "A ", errc::bad_field_name},
      {get + "A\t", errc::bad_field_name},
      {get + "A\r", errc::bad_field_name},
      {get + "A\x80", errc::bad_field_name},
      {get + "A\0"s, errc::bad_field_name},
      {get + "A(", errc::bad_field_name},
      {get + "A/", errc::bad_field_name},
      {get + "A@", errc::bad_field_name},
      {get + "\"", errc::bad_field_name},
      {get + "\x7f", errc::bad_field_name},
      {get + "Host: a\r\n:", errc::bad_field_name},
      {get + "Host ", errc::bad_field_name},
      {get + "A\n", errc::bad_line_ending},
      // Field values.
      {get + "A: \0"s, errc::bad_field_value},
      {get + "A: b\0"s, errc::bad_field_value},
      {get + "A: b\x01", errc::bad_field_value},
      {get + "A: b\x0b", errc::bad_field_value},
      {get + "A: b\x1f", errc::bad_field_value},
      {get + "A: b\x7f", errc::bad_field_value},
      {get + "Connection: upgrade\x0c", errc::bad_field_value},
      // Line endings.
      {get + "\n", errc::bad_line_ending},
      {get + "A: b\n", errc::bad_line_ending},
      {get + "A:\n", errc::bad_line_ending},
      {get + "A: b\rC", errc::bad_line_ending},
      {get + "A: b\r\r", errc::bad_line_ending},
      {get + "A: b\r\n\n", errc::bad_line_ending},
      {get + "A: b\r\n\r\r", errc::bad_line_ending},
      {get + "A: b\r\n\rC", errc::bad_line_ending},
      {get + "\rA", errc::bad_line_ending},
      // Folded lines, of which one hop would make another list than the next.
      {get + " ", errc::folded_field},
      {get + "\t", errc::folded_field},
      {get + "A: b\r\n ", errc::folded_field},
      {get + "A: b\r\n\t", errc::folded_field},
      {get + "Connection: keep-alive\r\n ", errc::folded_field},
      {get + "Transfer-Encoding:\r\n ", errc::folded_field},
      {get + "A:\r\n ", errc::folded_field},
  };
  for (const auto& row : table) {
    CAPTURE(row.bytes);
    CHECK(read_request(row.bytes).error == row.error);
    CHECK(read_request(row.bytes + "b\r\n\r\n").error == row.error);
    const auto before = read_request(row.bytes.substr(0, row.bytes.size() - 1));
    CHECK_FALSE(before.error);
    CHECK_FALSE(before.done);
  }
}

TEST_CASE("a request whose length is said badly is refused by the time its head ends") {
  const refused table[] = {
      {"Content-Length: a\r\n", errc::bad_content_length},
      {"Content-Length: -1\r\n", errc::bad_content_length},
      {"Content-Length: +1\r\n", errc::bad_content_length},
      {"Content-Length: 0x1\r\n", errc::bad_content_length},
      {"Content-Length: 1 2\r\n", errc::bad_content_length},
      {"Content-Length: 1, 1\r\n", errc::bad_content_length},
      {"Content-Length: 1.0\r\n", errc::bad_content_length},
      {"Content-Length:\r\n", errc::bad_content_length},
      {"Content-Length: \r\nA: b\r\n", errc::bad_content_length},
      {"Content-Length: 18446744073709551616\r\n", errc::bad_content_length},
      {"Content-Length: 99999999999999999999999\r\n", errc::bad_content_length},
      {"Content-Length: 1\r\nContent-Length: 1\r\n", errc::bad_content_length},
      {"Content-Length: 1\r\nA: b\r\nContent-Length: 2\r\n", errc::bad_content_length},
      {"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", errc::length_with_coding},
      {"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", errc::length_with_coding},
      {"Transfer-Encoding: chunked\r\nA: b\r\nContent-Length: 0\r\nC: d\r\n", errc::length_with_coding},
      {"Transfer-Encoding: gzip\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: gzip, chunked\r\n", errc::unknown_coding},
      {"Transfer-Encoding: chunked, gzip\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: chunked, chunked\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: identity\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: xchunked\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: chunked;a=b\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: \"chunked\"\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: chun ked\r\n", errc::chunked_not_last},
      {"Transfer-Encoding:\r\n", errc::chunked_not_last},
      {"Transfer-Encoding: \r\nA: b\r\n", errc::chunked_not_last},
  };
  for (const auto& row : table) {
    const auto bytes = "POST / HTTP/1.1\r\nHost: a\r\n" + row.bytes + "\r\n";
    CAPTURE(row.bytes);
    const auto result = read_request(bytes);
    CHECK((result.done ? check_request(parse(bytes)) : result.error) == row.error);
  }
}

TEST_CASE("whatever is wrong with a response is a bad response") {
  const auto ok = "HTTP/1.1 200 OK\r\n"s;
  const std::string table[] = {
      "\x16\x03\x01",
      "SSH-2.0-OpenSSH\r\n",
      "\r\n",
      "\n",
      "GET / HTTP/1.1\r\n\r\n",
      "ICY 200 OK\r\n\r\n",
      "HTTP/0.9 200 OK\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "HTTP/2.0 200 OK\r\n\r\n",
      "HTTP/1.1\r\n\r\n",
      "HTTP/1.1 \r\n\r\n",
      "HTTP/1.1  200 OK\r\n\r\n",
      "HTTP/1.1 20 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 000 OK\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/1.1 200OK\r\n\r\n",
      "HTTP/1.1 -20 OK\r\n\r\n",
      "HTTP/1.1 200 OK\n",
      "HTTP/1.1 200 OK\rA",
      "HTTP/1.1 200 \0\r\n\r\n"s,
      "HTTP/1.1 200 O\x01K\r\n\r\n",
      ok + ": a\r\n\r\n",
      ok + "A : b\r\n\r\n",
      ok + "A b\r\n\r\n",
      ok + "A: \0\r\n\r\n"s,
      ok + "A: b\n\r\n",
      ok + "A: b\r\n c\r\n\r\n",
      ok + "A: b\r\n\n",
      ok + " A: b\r\n\r\n",
      ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
      ok + "Content-Length: x\r\n\r\n",
      ok + "A: " + std::string(9000, 'a') + "\r\n\r\n",
  };
  for (const auto& bytes : table) {
    if (bytes.size() < 1000) {
      CAPTURE(bytes);
      CHECK(read_response(bytes).error == errc::bad_response);
    } else {
      CHECK(read(head_parser::kind::response, {bytes}).error == errc::bad_response);
    }
  }
}

TEST_CASE("forms of responses that are read") {
  const std::pair<std::string, std::string> table[] = {
      {"HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"},
      {"HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200 \r\n\r\n"},
      {"HTTP/1.0 404 Not Found\r\n\r\n", "HTTP/1.0 404 Not Found\r\n\r\n"},
      {"HTTP/1.1 999 Odd \xc3\xa9 one\r\nA:b\r\n\r\n", "HTTP/1.1 999 Odd \xc3\xa9 one\r\nA: b\r\n\r\n"},
      {"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"},
  };
  for (const auto& [bytes, written] : table) {
    CAPTURE(bytes);
    const auto result = read_response(bytes);
    CHECK(result.done);
    CHECK(result.head == written);
  }
}

TEST_CASE("a parser reads one head after another, and nothing of one is left in the next") {
  const std::string requests =
      "POST /first HTTP/1.0\r\nContent-Length: 0\r\nA: b\r\n\r\nGET /2 HTTP/1.1\r\nC: d\r\n\r\nPUT / "
      "HTTP/1.0\r\n\r\n";
  const std::string responses =
      "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.0 200 OK\r\nA: b\r\n\r\n";
  for (const auto kind : {head_parser::kind::request, head_parser::kind::response}) {
    const auto& bytes = kind == head_parser::kind::request ? requests : responses;
    for (const std::size_t step : {bytes.size(), std::size_t{1}, std::size_t{7}}) {
      head_parser parser(kind);
      std::string all;
      for (std::size_t at = 0; at != bytes.size();) {
        const auto outcome = parser.feed(std::string_view(bytes).substr(at, step));
        REQUIRE_FALSE(outcome.error);
        at += outcome.consumed;
        if (!outcome.done) continue;
        if (kind == head_parser::kind::request) serialize(parser.take_request(), all);
        else serialize(parser.take_response(), all);
      }
      CHECK(all == bytes);
      CHECK_FALSE(parser.begun());
    }
  }
}

TEST_CASE("a parser can be moved in the middle of a head") {
  head_parser first(head_parser::kind::request);
  REQUIRE_FALSE(first.feed(std::string(handshake, 0, 60)).error);
  head_parser second(std::move(first));
  const auto outcome = second.feed(std::string(handshake, 60));
  REQUIRE(outcome.done);
  std::string written;
  serialize(second.take_request(), written);
  CHECK(written == handshake);
}

TEST_CASE("a head has begun with its first byte, not with an empty line before it") {
  head_parser parser(head_parser::kind::request);
  CHECK_FALSE(parser.begun());
  parser.feed("\r");
  CHECK_FALSE(parser.begun());
  parser.feed("\n");
  CHECK_FALSE(parser.begun());
  parser.feed("G");
  CHECK(parser.begun());
  parser.feed("ET / HTTP/1.1\r\n\r\n");
  parser.take_request();
  CHECK_FALSE(parser.begun());
  head_parser answer(head_parser::kind::response);
  CHECK_FALSE(answer.begun());
  answer.feed("H");
  CHECK(answer.begun());
}

TEST_CASE("the start line may be as long as the limit, and no longer") {
  const auto line = "GET /aaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n"s;
  head_limits limits;
  limits.line_bytes = line.size();
  CHECK(read_request(line + "\r\n", limits).done);
  limits.line_bytes = line.size() - 1;
  CHECK(read_request(line + "\r\n", limits).error == errc::start_line_too_long);
  CHECK(read_request("\r\n\r\n" + line + "\r\n", limits).error == errc::start_line_too_long);
  limits.line_bytes = 5;
  CHECK(read_request("LONGMETHOD / HTTP/1.1\r\n\r\n", limits).error == errc::start_line_too_long);
}

TEST_CASE("a field line may be as long as the limit, and no longer") {
  const auto start = "GET / HTTP/1.1\r\n"s;
  const auto line = "Cookie: aaaaaaaaaaaaaaaaaaaaaa\r\n"s;
  head_limits limits;
  limits.line_bytes = line.size();
  CHECK(read_request(start + line + line + "\r\n", limits).done);
  limits.line_bytes = line.size() - 1;
  CHECK(read_request(start + line + "\r\n", limits).error == errc::head_too_large);
  limits.line_bytes = 20;
  CHECK(read_request(start + std::string(21, 'n') + ": a\r\n\r\n", limits).error == errc::head_too_large);
}

TEST_CASE("a head may be as large as the limit, and no larger, empty lines before it included") {
  const auto head = "GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n"s;
  head_limits limits;
  limits.head_bytes = head.size();
  CHECK(read_request(head, limits).done);
  CHECK(read_request(head + "behind", limits).done);
  CHECK(read_request("\r\n" + head, limits).error == errc::head_too_large);
  limits.head_bytes = head.size() - 1;
  CHECK(read_request(head, limits).error == errc::head_too_large);
  limits.head_bytes = 10;
  CHECK(read_request(head, limits).error == errc::head_too_large);
  CHECK(read_request("\r\n\r\n\r\n\r\n\r\n\r\n", limits).error == errc::head_too_large);
}

TEST_CASE("a head may have as many field lines as the limit, and no more, those that are dropped included") {
  head_limits limits;
  limits.field_count = 2;
  CHECK(read_request("GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n", limits).done);
  CHECK(read_request("GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n\r\n", limits).error == errc::head_too_large);
  CHECK(read_request("GET / HTTP/1.1\r\nA_: b\r\nC_: d\r\nE_: f\r\n\r\n", limits).error ==
        errc::head_too_large);
}

TEST_CASE("the default limits are nginx's") {
  const auto with_target = [](std::size_t line) {
    return "GET /" + std::string(line - 16, 'a') + " HTTP/1.1\r\n\r\n";
  };
  CHECK(read(head_parser::kind::request, {with_target(8192)}).done);
  CHECK(read(head_parser::kind::request, {with_target(8193)}).error == errc::start_line_too_long);
  const auto with_field = [](std::size_t line) {
    return "GET / HTTP/1.1\r\nX: " + std::string(line - 5, 'a') + "\r\n\r\n";
  };
  CHECK(read(head_parser::kind::request, {with_field(8192)}).done);
  CHECK(read(head_parser::kind::request, {with_field(8193)}).error == errc::head_too_large);
  std::string many = "GET / HTTP/1.1\r\n";
  for (int i = 0; i != 1000; ++i) many += "A: b\r\n";
  CHECK(read(head_parser::kind::request, {many + "\r\n"}).done);
  CHECK(read(head_parser::kind::request, {many + "A: b\r\n\r\n"}).error == errc::head_too_large);
}

TEST_CASE("a long head fed byte by byte costs as much per byte as a short one") {
  head_limits limits;
  limits.line_bytes = limits.head_bytes = 8 << 20;
  const std::size_t size = 4 << 20;  // with quadratic work this would take hours
  const auto bytes = "GET / HTTP/1.1\r\nA: " + std::string(size, 'a') + "\r\n\r\n";
  head_parser parser(head_parser::kind::request, limits);
  head_parser::outcome last;
  for (const char& c : bytes) last = parser.feed({&c, 1});
  REQUIRE(last.done);
  CHECK(parser.take_request().fields.value_or_empty("A").size() == size);
}

TEST_CASE("any wrong byte anywhere is read in one way only, and what is read can be written and read again") {
  const std::string heads[] = {
      "GET /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
      "POST http://a/ HTTP/1.0\r\nHost:a\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n"};
  for (const auto& head : heads) {
    const auto kind = head.starts_with("HTTP") ? head_parser::kind::response : head_parser::kind::request;
    for (std::size_t at = 0; at != head.size(); ++at) {
      for (int byte = 0; byte != 256; ++byte) {
        auto bytes = head;
        bytes[at] = static_cast<char>(byte);
        std::vector<std::string_view> single;
        for (const char& c : bytes) single.push_back({&c, 1});
        const auto whole = read(kind, {bytes});
        if (read(kind, single) != whole) FAIL_CHECK("byte " << byte << " at " << at << " of\n" << head);
        if (whole.done && read(kind, {whole.head}).head != whole.head)
          FAIL_CHECK("written differently: byte " << byte << " at " << at << " of\n" << head);
      }
    }
  }
}

// ---- check_request

TEST_CASE("a request needs one valid Host, or in HTTP/1.0 none") {
  const auto with = [](const std::string& lines, const char* version = "1.1") {
    return check_request(parse("GET / HTTP/"s + version + "\r\n" + lines + "\r\n"));
  };
  CHECK(with("") == errc::missing_host);
  CHECK_FALSE(with("", "1.0"));
  CHECK(with("Host: a\r\nHost: a\r\n") == errc::duplicate_host);
  CHECK(with("Host: a\r\nhost: b\r\n", "1.0") == errc::duplicate_host);
  CHECK(with("Host: a b\r\n", "1.0") == errc::bad_host);
  for (const auto* host : {"a", "A.example", "a.", "a_b", "a-b.c", "127.0.0.1", "a:80", "a:", "[::1]",
                           "[::1]:80", "[::ffff:1.2.3.4]", "xn--nxasmq6b", "a%41", "a~b", "1"}) {
    CAPTURE(host);
    CHECK_FALSE(with("Host: "s + host + "\r\n"));
  }
  for (const auto* host :
       {"",    ".",    "a..b",     "..",      ":80", "a b",       "a\tb", "a/b",    "a@b",     "a?b",
        "a#b", "a\\b", "a:b",      "a:80:80", "::1", "[::1",      "[]",   "[::1]x", "[::1]:x", "[a]b]",
        "a]",  "[g/]", "http://a", "a\"b",    "<a>", "a\xc3\xa9", "a|b",  "a, b"}) {
    CAPTURE(host);
    CHECK(with("Host: "s + host + "\r\n") == errc::bad_host);
  }
}

TEST_CASE("a target is a path, an address whose host is Host's, or the asterisk of OPTIONS") {
  const auto with = [](const std::string& method, const std::string& target, const std::string& host) {
    request_head head{method, target, http_version::http_1_1, {}};
    if (!host.empty()) head.fields.add("Host", host);
    return check_request(head);
  };
  CHECK_FALSE(with("GET", "/", "a"));
  CHECK_FALSE(with("GET", "//b/c", "a"));
  CHECK_FALSE(with("GET", "/?url=http://b/", "a"));
  CHECK_FALSE(with("OPTIONS", "*", "a"));
  CHECK(with("GET", "*", "a") == errc::bad_target);
  CHECK(with("OPTIONS", "*a", "a") == errc::bad_target);
  CHECK(with("GET", "", "a") == errc::bad_target);
  CHECK(with("GET", "a", "a") == errc::bad_target);
  CHECK(with("GET", "a:80", "a:80") == errc::bad_target);
  CHECK(with("GET", "/a b", "a") == errc::bad_target);
  CHECK(with("GET", "/a\r\nX: b", "a") == errc::bad_target);
  CHECK(with("GET", "/\xc3\xa9", "a") == errc::bad_target);
  CHECK_FALSE(with("GET", "http://a/", "a"));
  CHECK_FALSE(with("GET", "HTTP://A:8080?b", "a:8080"));
  CHECK_FALSE(with("GET", "wss://[::1]:1", "[::1]:1"));
  CHECK(with("GET", "http://a/", "b") == errc::bad_host);
  CHECK(with("GET", "http://a:80/", "a") == errc::bad_host);
  CHECK(with("GET", "http://a/", "") == errc::missing_host);
  CHECK(with("GET", "http://", "a") == errc::bad_target);
  CHECK(with("GET", "http:///a", "a") == errc::bad_target);
  CHECK(with("GET", "http://b@a/", "a") == errc::bad_target);
  CHECK(with("GET", "://a/", "a") == errc::bad_target);
  CHECK(with("GET", "1://a/", "a") == errc::bad_target);
  CHECK(with("GET", "file://a/", "a") == errc::bad_target);
  CHECK(with("GET", "httpx://a/", "a") == errc::bad_target);
}

TEST_CASE("methods that a reverse proxy does not forward are refused") {
  for (const auto* method : {"CONNECT", "TRACE"})
    CHECK(check_request({method, "/", http_version::http_1_1, {{"Host", "a"}}}) == errc::bad_method);
  CHECK_FALSE(check_request({"PROPFIND", "/", http_version::http_1_1, {{"Host", "a"}}}));
  CHECK(check_request({"", "/", http_version::http_1_1, {{"Host", "a"}}}) == errc::bad_start_line);
  CHECK(check_request({"GET /", "/", http_version::http_1_1, {{"Host", "a"}}}) == errc::bad_start_line);
}

TEST_CASE("fields that another parser let through are refused before they could be written") {
  const auto with = [](std::string_view name, std::string_view value) {
    return check_request({"GET", "/", http_version::http_1_1, {{"Host", "a"}, {name, value}}});
  };
  CHECK(with("", "b") == errc::bad_field_name);
  CHECK(with(" A", "b") == errc::bad_field_name);
  CHECK(with("A:", "b") == errc::bad_field_name);
  CHECK(with("A", "b\r\nC: d") == errc::bad_field_value);
  CHECK(with("A", "b\nc") == errc::bad_field_value);
  CHECK(with("A", {"b\0c", 3}) == errc::bad_field_value);
  CHECK_FALSE(with("A", ""));
}

TEST_CASE("a request's body must not be framed in two ways, whoever parsed it") {
  const auto with = [](fields lines, http_version version = http_version::http_1_1) {
    lines.add("Host", "a");
    return check_request({"POST", "/", version, lines});
  };
  CHECK_FALSE(with({{"Content-Length", "5"}}));
  CHECK_FALSE(with({{"Transfer-Encoding", "Chunked"}}));
  CHECK(with({{"Content-Length", "5"}, {"Content-Length", "5"}}) == errc::bad_content_length);
  CHECK(with({{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}) == errc::length_with_coding);
  CHECK(with({{"Transfer-Encoding", "gzip, chunked"}}) == errc::unknown_coding);
  CHECK(with({{"Transfer-Encoding", "chunked"}}, http_version::http_1_0) == errc::coding_in_http_1_0);
}
