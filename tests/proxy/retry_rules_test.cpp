#include "src/proxy/retry_rules.hpp"

#include <catch2/catch_test_macros.hpp>

#include <asio/error.hpp>

using namespace wsproxy;
using namespace wsproxy::detail;
using namespace std::chrono_literals;

namespace {

const time_point began{100s};

bool permitted(const retry& rule, unsigned condition, request_progress of = {"GET", true, 1, began},
               std::size_t backends = 3, duration later = 1s) {
  return permits(rule, condition, of, backends, began + later);
}

}  // namespace

TEST_CASE("another backend is asked for what is listed") {
  CHECK(permitted({}, retry::error));
  CHECK(permitted({}, retry::timeout));
  CHECK_FALSE(permitted({}, retry::invalid_header));
  CHECK_FALSE(permitted({.on = 0}, retry::error));
  CHECK(permitted({.on = retry::http_503}, retry_condition(503)));
  CHECK_FALSE(permitted({.on = retry::http_503}, retry_condition(502)));
  CHECK_FALSE(permitted({.on = ~0u}, retry_condition(200)));
}

TEST_CASE(
    "a request that is not idempotent is sent twice only before it was begun, or where that is listed") {
  for (const auto* method : {"POST", "LOCK", "PATCH"}) {
    CHECK(permitted({}, retry::error, {method, false, 1, began}));
    CHECK_FALSE(permitted({}, retry::error, {method, true, 1, began}));
    CHECK(permitted({.on = retry::error | retry::non_idempotent}, retry::error, {method, true, 1, began}));
  }
  for (const auto* method : {"GET", "PUT", "DELETE", "post"})
    CHECK(permitted({}, retry::error, {method, true, 1, began}));
}

TEST_CASE("attempts are bounded by what is configured, by the backends and by time") {
  CHECK(permitted({}, retry::error, {"GET", true, 2, began}));
  CHECK_FALSE(permitted({}, retry::error, {"GET", true, 3, began}));
  CHECK_FALSE(permitted({.tries = 2}, retry::error, {"GET", true, 2, began}));
  CHECK_FALSE(permitted({.tries = 9}, retry::error, {"GET", true, 3, began}));
  CHECK(permitted({.within = 2s}, retry::error));
  CHECK_FALSE(permitted({.within = 1s}, retry::error));
}

TEST_CASE("want of descriptors or memory is known in either category, and nothing else is") {
  for (const int number : {EMFILE, ENFILE, ENOBUFS, ENOMEM}) {
    CHECK(lacks_resources({number, std::system_category()}));
    CHECK(lacks_resources({number, asio::error::get_system_category()}));
  }
  CHECK_FALSE(lacks_resources(asio::error::connection_refused));
  CHECK_FALSE(lacks_resources({ECONNREFUSED, std::system_category()}));
  CHECK_FALSE(lacks_resources({}));
}
