#include <examples/gateway/answers.hpp>

#include <catch2/catch_test_macros.hpp>

#include <examples/gateway/dates.hpp>
#include <examples/gateway/logging.hpp>

#include "fixture.hpp"

using namespace wsproxy_gateway;

TEST_CASE("HTTP dates have the form of RFC 9110") {
  CHECK(http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("a field value cannot end its line") {
  CHECK(safe_field_value("a\r\nb\tc\x7F\xC3\xA4") == "a%0D%0Ab\tc%7F\xC3\xA4");
}

TEST_CASE("an access line shows what became of the exchange, and no client can forge one") {
  const dialect_test::request what{.target = "/x", .fields = {{"Host", "h"}, {"User-Agent", "a\"b"}}};
  const auto head = what.head();
  const wsproxy::inbound in{head, what.client, 1, what.local, 80, 0, 1, 1};
  CHECK(access_line(in, 404, 12, nullptr).ends_with("\"GET /x HTTP/1.1\" 404 12 \"-\" \"a\\x22b\""));
  wsproxy::forward_result result;
  result.begun = wsproxy::time_point(std::chrono::seconds(10));
  result.established = result.begun;
  result.ended = result.begun + std::chrono::milliseconds(1042);
  result.cause = wsproxy::end_cause::closed;
  result.who = wsproxy::side::downstream;
  result.from_client.bytes = 5;
  CHECK(access_line(in, 101, 7, &result)
            .find(" websocket from_client=5 from_upstream=0 time=1.042 backend=- end=") != std::string::npos);
}
