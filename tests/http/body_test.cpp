#include <wsproxy/http/body.hpp>

#include <catch2/catch_test_macros.hpp>

#include <string>
#include <vector>

#include <wsproxy/error.hpp>

using namespace wsproxy;
using namespace std::string_literals;
using kind = body_framing::kind;

namespace {

// What a reader makes of some bytes, however they are split.
struct reading {
  std::string data{};
  std::string behind{};  // not consumed
  std::error_code error{};
  bool done = false;
  fields trailers{};

  bool operator==(const reading&) const = default;
};

reading read(body_framing framing, const std::vector<std::string_view>& pieces) {
  body_reader reader(framing);
  reading result;
  for (auto piece : pieces) {
    while (!piece.empty() && !reader.done() && !result.error) {
      const auto step = reader.feed(piece);
      REQUIRE((step.consumed != 0 || step.error));
      REQUIRE(step.consumed <= piece.size());
      // A view into what was consumed.
      REQUIRE((step.data.empty() || (step.data.data() >= piece.data() &&
                                     step.data.data() + step.data.size() == piece.data() + step.consumed)));
      result.data += step.data;
      result.error = step.error;
      piece.remove_prefix(step.consumed);
    }
    result.behind += piece;
  }
  CHECK(reader.size() == result.data.size());
  result.done = reader.done() && !result.error;
  result.trailers = reader.trailers();
  return result;
}

// Reads whole, split in two at every byte, and byte by byte; requires that this makes no difference.
reading read_all_ways(body_framing framing, std::string_view bytes) {
  CAPTURE(bytes);
  const auto whole = read(framing, {bytes});
  std::vector<std::string_view> single;
  for (std::size_t at = 0; at != bytes.size(); ++at) {
    CAPTURE(at);
    single.push_back(bytes.substr(at, 1));
    REQUIRE(read(framing, {bytes.substr(0, at), bytes.substr(at)}) == whole);
  }
  REQUIRE(read(framing, single) == whole);
  return whole;
}

reading read_chunked(std::string_view bytes) { return read_all_ways({kind::chunked}, bytes); }

struct framed {
  body_framing framing;
  std::error_code error;
};

framed of_request(const fields& lines, http_version version = http_version::http_1_1) {
  framed result;
  result.framing = request_framing({"POST", "/", version, lines}, result.error);
  return result;
}

framed of_response(int status, const fields& lines, std::string_view method = "GET",
                   http_version version = http_version::http_1_1) {
  framed result;
  result.framing = response_framing({status, "", version, lines}, method, result.error);
  return result;
}

}  // namespace

// ---- Framing

TEST_CASE("a request's body ends by length, by chunks, or is not there") {
  CHECK(of_request({}).framing == body_framing{});
  CHECK(of_request({{"content-length", "0"}}).framing == body_framing{kind::length, 0});
  CHECK(of_request({{"Content-Length", "12"}}).framing == body_framing{kind::length, 12});
  CHECK(of_request({{"Content-Length", "0012"}}).framing == body_framing{kind::length, 12});
  CHECK(of_request({{"Content-Length", "18446744073709551615"}}).framing ==
        body_framing{kind::length, ~0ULL});
  CHECK(of_request({{"Content-Length", "12"}}, http_version::http_1_0).framing ==
        body_framing{kind::length, 12});
  CHECK(of_request({{"Transfer-Encoding", "chunked"}}).framing == body_framing{kind::chunked});
  CHECK(of_request({{"transfer-encoding", ", CHUNKED ,"}}).framing == body_framing{kind::chunked});
  CHECK(of_request({{"Transfer-Encoding", ""}, {"Transfer-Encoding", "chunked"}}).framing ==
        body_framing{kind::chunked});
  CHECK_FALSE(of_request({{"Content-Length", "12"}}).error);
}

TEST_CASE("a request whose body could end in two ways is refused by the rule") {
  for (const auto* length :
       {"", "a", "-1", "+1", "1 2", "1,1", "1, 1", "0x1", "1.0", "18446744073709551616", " "}) {
    CAPTURE(length);
    CHECK(of_request({{"Content-Length", length}}).error == errc::bad_content_length);
  }
  CHECK(of_request({{"Content-Length", "1"}, {"Content-Length", "1"}}).error == errc::bad_content_length);
  CHECK(of_request({{"Content-Length", "x"}, {"Content-Length", "1"}}).error == errc::bad_content_length);
  CHECK(of_request({{"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}}).error ==
        errc::length_with_coding);
  CHECK(of_request({{"Transfer-Encoding", "gzip"}, {"Content-Length", "1"}}).error ==
        errc::length_with_coding);
  for (const auto* coding : {"gzip, chunked", "gzip,chunked", "identity, , CHUNKED", "a, b, chunked,"}) {
    CAPTURE(coding);
    CHECK(of_request({{"Transfer-Encoding", coding}}).error == errc::unknown_coding);
  }
  CHECK(of_request({{"Transfer-Encoding", "gzip"}, {"Transfer-Encoding", "chunked"}}).error ==
        errc::unknown_coding);
  for (const auto* coding : {"", ",", "gzip", "chunked, gzip", "chunked, chunked", "chunked, gzip, chunked",
                             "identity", "xchunked", "chunked;a=b", "\"chunked\"", "chun ked", "chunked\v"}) {
    CAPTURE(coding);
    CHECK(of_request({{"Transfer-Encoding", coding}}).error == errc::chunked_not_last);
  }
  CHECK(of_request({{"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}).error ==
        errc::chunked_not_last);
  CHECK(of_request({{"Transfer-Encoding", "chunked"}, {"transfer-encoding", "identity"}}).error ==
        errc::chunked_not_last);
  CHECK(of_request({{"Transfer-Encoding", "chunked"}}, http_version::http_1_0).error ==
        errc::coding_in_http_1_0);
}

TEST_CASE("a refusal clears nothing but its own error") {
  auto error = make_error_code(errc::bad_chunk);
  CHECK(request_framing({"GET", "/", http_version::http_1_1, {}}, error) == body_framing{});
  CHECK_FALSE(error);
  error = errc::bad_chunk;
  CHECK(response_framing({204, "", http_version::http_1_1, {}}, "GET", error) == body_framing{});
  CHECK_FALSE(error);
}

TEST_CASE("a response's body ends as status, method and fields say") {
  const fields length{{"Content-Length", "5"}};
  const fields chunked{{"Transfer-Encoding", "chunked"}};
  for (const int status : {100, 101, 103, 204, 304}) {
    CAPTURE(status);
    for (const auto& lines : {fields{}, length, chunked}) {
      CHECK(of_response(status, lines).framing == body_framing{});
      CHECK_FALSE(of_response(status, lines).error);
    }
  }
  for (const int status : {200, 205, 206, 301, 404, 500, 600}) {
    CAPTURE(status);
    CHECK(of_response(status, {}).framing == body_framing{kind::until_close});
    CHECK(of_response(status, length).framing == body_framing{kind::length, 5});
    CHECK(of_response(status, {{"Content-Length", "0"}}).framing == body_framing{kind::length, 0});
    CHECK(of_response(status, chunked).framing == body_framing{kind::chunked});
    CHECK(of_response(status, chunked, "POST", http_version::http_1_0).framing ==
          body_framing{kind::chunked});
    for (const auto& lines : {fields{}, length, chunked}) {
      CHECK(of_response(status, lines, "HEAD").framing == body_framing{});
      CHECK_FALSE(of_response(status, lines, "HEAD").error);
    }
  }
}

TEST_CASE("a response that frames itself badly is broken whatever its status") {
  const fields broken[] = {{{"Content-Length", "1"}, {"Transfer-Encoding", "chunked"}},
                           {{"Content-Length", "1"}, {"Content-Length", "1"}},
                           {{"Content-Length", "x"}},
                           {{"Content-Length", "-1"}},
                           {{"Transfer-Encoding", "gzip"}},
                           {{"Transfer-Encoding", "gzip, chunked"}},
                           {{"Transfer-Encoding", ""}}};
  for (const auto& lines : broken)
    for (const int status : {101, 200, 304}) CHECK(of_response(status, lines).error == errc::bad_response);
  CHECK(of_response(200, broken[0], "HEAD").error == errc::bad_response);
}

// ---- Reading

TEST_CASE("no body and a body of no length are done at once and take nothing") {
  for (const auto framing : {body_framing{}, body_framing{kind::length, 0}}) {
    body_reader reader(framing);
    CHECK(reader.done());
    CHECK_FALSE(reader.end_of_input());
    CHECK(reader.feed("GET").consumed == 0);
  }
}

TEST_CASE("a body of a length takes that much") {
  const auto result = read_all_ways({kind::length, 5}, "helloGET /");
  CHECK(result.done);
  CHECK(result.data == "hello");
  CHECK(result.behind == "GET /");
  CHECK_FALSE(read_all_ways({kind::length, 6}, "hello").done);
}

TEST_CASE("a body until the connection's end takes all, and is done then") {
  body_reader reader({kind::until_close});
  CHECK(reader.feed("abc").data == "abc");
  CHECK(reader.feed("").consumed == 0);
  CHECK(reader.feed("d").data == "d");
  CHECK_FALSE(reader.done());
  CHECK_FALSE(reader.end_of_input());
  CHECK(reader.done());
  CHECK(reader.size() == 4);
}

TEST_CASE("a connection that ends inside a body truncates it") {
  body_reader length({kind::length, 3});
  length.feed("ab");
  CHECK(length.end_of_input() == errc::body_truncated);
  CHECK_FALSE(length.done());
  const auto bytes = "3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\n"s;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    CAPTURE(size);
    body_reader chunked({kind::chunked});
    for (auto rest = std::string_view(bytes).substr(0, size); !rest.empty();)
      rest.remove_prefix(chunked.feed(rest).consumed);
    const auto error = chunked.end_of_input();
    CHECK(error == (size == bytes.size() ? std::error_code{} : errc::body_truncated));
  }
}

TEST_CASE("chunks are read, and what is behind the last is left") {
  auto result = read_chunked("5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\nGET /");
  CHECK(result.done);
  CHECK(result.data == "hello, world");
  CHECK(result.behind == "GET /");
  result = read_chunked("0\r\n\r\n");
  CHECK(result.done);
  CHECK(result.data.empty());
  CHECK(read_chunked("a\r\n0123456789\r\n00\r\n\r\n").data == "0123456789");
  CHECK(read_chunked("A\r\n0123456789\r\n0\r\n\r\n").data == "0123456789");
  CHECK(read_chunked("000000000000000000000000001\r\nx\r\n0\r\n\r\n").data == "x");
  CHECK(read_chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n").data == "\r\n\r\n");
}

TEST_CASE("chunk extensions are skipped") {
  for (const auto* extension :
       {";a", ";a=b", "; a = b", ";a=\"b;c \t\"", " ;a", "\t;a", " ", " \t", " \t ;", ";", ";a=\xff"}) {
    CAPTURE(extension);
    const auto result = read_chunked("3"s + extension + "\r\nabc\r\n0" + extension + "\r\n\r\n");
    CHECK(result.done);
    CHECK(result.data == "abc");
  }
}

TEST_CASE("trailers are fields, without those that frame, route or authenticate") {
  const auto result = read_chunked(
      "1\r\nx\r\n0\r\nX-Sum: 1\r\nEmpty:\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nhost: b\r\n"
      "Authorization: c\r\nUpgrade: d\r\nCookie: e\r\nx-sum: \t2 \r\n\r\nbehind");
  CHECK(result.done);
  CHECK(result.trailers == fields{{"X-Sum", "1"}, {"Empty", ""}, {"x-sum", "2"}});
  CHECK(result.behind == "behind");
}

TEST_CASE("malformed chunks are refused at the first wrong byte") {
  const std::string table[] = {
      // The size.
      "\r", "\n", ";", " ", "g", "-", "+", "0x", "1g", "\0"s, "5\n", "5\r5", "5\r\r", "11111111111111111",
      "fffffffffffffffff", "5;a\n", "5;a\rb", "5;\0"s, "5 \n", "5 5", "5 \ta", "5\t\t\0"s,
      // The data's end.
      "1\r\nab", "1\r\na\n", "1\r\na\ra", "1\r\na0", "3\r\nabc\r\n\r", "3\r\nabc\r\n\n",
      // The trailer section.
      "0\r\n\n", "0\r\n\rA", "0\r\nA: b\n", "0\r\nA: b\rC", "0\r\nA: \0"s, "0\r\nA\x01", "0\r\n: a\r\n",
      "0\r\nA b\r\n", "0\r\nA : b\r\n", "0\r\n A: b\r\n", "0\r\nA: b\r\n c\r\n", "0\r\nA: b\r\n\n"};
  for (const auto& bytes : table) {
    CAPTURE(bytes);
    CHECK(read_chunked(bytes).error == errc::bad_chunk);
    CHECK_FALSE(read_chunked(bytes + "0\r\n\r\n").done);
    CHECK_FALSE(
        read(body_framing{kind::chunked}, {std::string_view(bytes).substr(0, bytes.size() - 1)}).error);
  }
}

TEST_CASE("a chunk may have the largest size there is, not one more") {
  body_reader reader({kind::chunked});
  const auto step = reader.feed("ffffffffffffffff\r\nabc");
  CHECK(step.data == "abc");
  CHECK_FALSE(step.error);
  CHECK(read_chunked("10000000000000000").error == errc::bad_chunk);
}

TEST_CASE("what surrounds the data is bounded") {
  const auto with_extension = [](std::size_t size) { return "1" + std::string(size, ';') + "\r\nx\r\n"; };
  CHECK_FALSE(read({kind::chunked}, {with_extension(4000) + with_extension(4000)}).error);
  CHECK(read({kind::chunked}, {with_extension(4097)}).error == errc::bad_chunk);
  CHECK(read({kind::chunked}, {std::string(5000, '0')}).error == errc::bad_chunk);
  const auto with_trailer = [](std::size_t size) { return "0\r\nA: " + std::string(size, 'a') + "\r\n\r\n"; };
  CHECK(read({kind::chunked}, {with_trailer(16'000)}).done);
  CHECK(read({kind::chunked}, {with_trailer(16'384)}).error == errc::bad_chunk);
  std::string many = "0\r\n";
  for (int i = 0; i != 10'000; ++i) many += "A:\r\n";
  CHECK(read({kind::chunked}, {many}).error == errc::bad_chunk);
}

// ---- Writing

TEST_CASE("chunks that are written are read back") {
  for (const std::uint64_t size : {1ULL, 15ULL, 16ULL, 0xabcdefULL, ~0ULL}) {
    char header[18];
    const auto length = chunk_header(size, header);
    REQUIRE(length <= sizeof header);
    body_reader reader({kind::chunked});
    const auto step = reader.feed(std::string(header, length) + "x");
    CHECK(step.consumed == length + 1);
    CHECK(step.data.size() == 1);
  }
  char header[18];
  CHECK(std::string(header, chunk_header(0x1f, header)) == "1f\r\n");
}

TEST_CASE("the last chunk carries the trailers and can carry no other line") {
  CHECK(last_chunk() == "0\r\n\r\n");
  CHECK(last_chunk({{"A", "b"}, {"C", ""}}) == "0\r\nA: b\r\nC: \r\n\r\n");
  CHECK(read_chunked(last_chunk({{"A", "b"}, {"C", ""}})).trailers == fields{{"A", "b"}, {"C", ""}});
  CHECK_THROWS_AS(last_chunk({{"A", "b\r\nC: d"}}), std::invalid_argument);
}
