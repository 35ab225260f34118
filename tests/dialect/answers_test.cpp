#include <examples/gateway/answers.hpp>

#include <catch2/catch_test_macros.hpp>

#include <examples/gateway/dates.hpp>

#include "fixture.hpp"

using namespace wsproxy_gateway;

TEST_CASE("HTTP dates have the form of RFC 9110") {
  CHECK(http_date(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT");
}

TEST_CASE("a field value cannot end its line") {
  CHECK(safe_field_value("a\r\nb\tc\x7F\xC3\xA4") == "a%0D%0Ab\tc%7F\xC3\xA4");
}
