#include <wsproxy/upstream/health.hpp>

#include <catch2/catch_test_macros.hpp>
#include <chrono>

#include "group.hpp"

using namespace std::chrono_literals;
using wsproxy::backend_options;
using wsproxy::health;
using wsproxy::test::at;

namespace {

backend_options with(unsigned max_fails, std::chrono::seconds fail_timeout, unsigned weight = 1) {
  return {.name = "b:1", .weight = weight, .max_fails = max_fails, .fail_timeout = fail_timeout};
}

}  // namespace

TEST_CASE("a backend is available until max_fails failures") {
  const auto options = with(3, 10s);
  health state(options);
  CHECK(state.available(options, at(0s)));
  state.failed(options, at(0s));
  state.failed(options, at(0s));
  CHECK(state.available(options, at(0s)));
  state.failed(options, at(0s));
  CHECK_FALSE(state.available(options, at(0s)));
}

TEST_CASE("max_fails 0 never takes a backend out") {
  const auto options = with(0, 10s, 4);
  health state(options);
  for (int i = 0; i != 100; ++i) state.failed(options, at(0s));
  CHECK(state.available(options, at(0s)));
  CHECK(state.effective_weight == 4);
}

TEST_CASE("a failed backend stays out through the last second of fail_timeout") {
  const auto options = with(1, 10s);
  health state(options);
  state.failed(options, at(0s));
  CHECK_FALSE(state.available(options, at(9s)));
  CHECK_FALSE(state.available(options, at(10s)));
  CHECK_FALSE(state.available(options, at(10999ms)));
  CHECK(state.available(options, at(11s)));
}

TEST_CASE("the window counts whole seconds") {
  const auto options = with(1, 10s);
  health state(options);
  state.failed(options, at(900ms));
  CHECK_FALSE(state.available(options, at(10999ms)));
  CHECK(state.available(options, at(11s)));  // 10.1 seconds after the failure
}

TEST_CASE("a fail_timeout of 0 takes a backend out for the rest of the second") {
  const auto options = with(1, 0s);
  health state(options);
  state.failed(options, at(200ms));
  CHECK_FALSE(state.available(options, at(999ms)));
  CHECK(state.available(options, at(1s)));
}

TEST_CASE("one probe per window is admitted after the failure's") {
  const auto options = with(1, 10s);
  health state(options);
  state.failed(options, at(0s));
  REQUIRE(state.available(options, at(11s)));
  state.picked(options, at(11s));
  CHECK_FALSE(state.available(options, at(11s)));
  CHECK_FALSE(state.available(options, at(21s)));
  CHECK(state.available(options, at(22s)));
}

TEST_CASE("a probe's success forgives, and readmits at once") {
  const auto options = with(1, 10s);
  health state(options);
  state.failed(options, at(0s));
  state.picked(options, at(11s));
  state.succeeded(options, at(11s));
  CHECK(state.available(options, at(11s)));
  CHECK(state.fails == 0);
}

TEST_CASE("a probe's failure starts the window anew") {
  const auto options = with(1, 10s);
  health state(options);
  state.failed(options, at(0s));
  state.picked(options, at(11s));
  state.failed(options, at(15s));
  CHECK_FALSE(state.available(options, at(25s)));
  CHECK(state.available(options, at(26s)));
}

TEST_CASE("a success without a probe since the last failure forgives nothing") {
  const auto options = with(1, 10s);
  health state(options);
  state.picked(options, at(0s));  // two leases,
  state.picked(options, at(0s));
  state.failed(options, at(1s));     // one fails,
  state.succeeded(options, at(1s));  // then the other's answer comes
  CHECK_FALSE(state.available(options, at(2s)));
}

TEST_CASE("failures add up over windows until a success") {
  const auto options = with(2, 10s);
  health state(options);
  state.picked(options, at(0s));
  state.failed(options, at(0s));
  state.picked(options, at(100s));
  state.failed(options, at(100s));
  CHECK_FALSE(state.available(options, at(105s)));

  health forgiven(options);
  forgiven.picked(options, at(0s));
  forgiven.failed(options, at(0s));
  forgiven.picked(options, at(100s));
  forgiven.succeeded(options, at(100s));
  forgiven.picked(options, at(100s));
  forgiven.failed(options, at(100s));
  CHECK(forgiven.available(options, at(105s)));
}

TEST_CASE("a pick within the window does not move it") {
  const auto options = with(2, 10s);
  health state(options);
  state.failed(options, at(0s));
  state.picked(options, at(10s));
  state.failed(options, at(0s));
  CHECK(state.available(options, at(11s)));
}

TEST_CASE("a failure costs weight divided by max_fails, never below nothing") {
  const auto options = with(3, 10s, 10);
  health state(options);
  CHECK(state.effective_weight == 10);
  for (const int left : {7, 4, 1, 0, 0}) {
    state.failed(options, at(0s));
    CHECK(state.effective_weight == left);
  }
}

TEST_CASE("a failed backend is proven again by a success, not by the end of its window") {
  const auto options = with(2, 10s);
  health state(options);
  CHECK(state.proven(options));
  state.failed(options, at(0s));
  CHECK(state.proven(options));
  state.failed(options, at(0s));
  CHECK_FALSE(state.proven(options));
  REQUIRE(state.available(options, at(11s)));
  CHECK_FALSE(state.proven(options));
  state.picked(options, at(11s));
  state.succeeded(options, at(11s));
  CHECK(state.proven(options));
}

TEST_CASE("active checks take a backend out until they pass, and then forgive") {
  const auto options = with(1, 10s);
  health state(options);
  state.found(options, false);
  CHECK_FALSE(state.available(options, at(100s)));
  CHECK_FALSE(state.proven(options));
  state.failed(options, at(100s));
  state.found(options, true);
  CHECK(state.available(options, at(100s)));
  CHECK(state.fails == 0);
  // A check that goes on passing says nothing about what fails meanwhile.
  state.failed(options, at(101s));
  state.found(options, true);
  CHECK_FALSE(state.available(options, at(101s)));
}

TEST_CASE("the weight climbs evenly over slow_start, once the first pick has seen it") {
  auto options = with(1, 10s);
  options.slow_start = 10s;
  health state(options);
  CHECK(state.climbed(options, at(0s)) == health::whole);
  state.climb(options);
  CHECK(state.climbed(options, at(1h)) == 1);
  state.climbs_since = at(0s);
  CHECK(state.climbed(options, at(0s)) == 1);
  CHECK(state.climbed(options, at(1ms)) == 1);
  CHECK(state.climbed(options, at(2500ms)) == health::whole / 4);
  CHECK(state.climbed(options, at(5s)) == health::whole / 2);
  CHECK(state.climbed(options, at(9999ms)) == health::whole - 1);
  CHECK(state.climbed(options, at(10s)) == health::whole);
  CHECK(state.climbed(options, at(10h)) == health::whole);
  options.slow_start = 0s;  // changed meanwhile
  CHECK(state.climbed(options, at(1s)) == health::whole);
}

TEST_CASE("without slow_start nothing climbs") {
  const auto options = with(1, 10s);
  health state(options);
  state.climb(options);
  CHECK(state.climbed(options, at(0s)) == health::whole);
}

TEST_CASE(
    "the weight climbs after a backend was out, from its success on; not after a failure that left it in") {
  auto options = with(2, 10s);
  options.slow_start = 10s;
  health state(options);
  state.failed(options, at(0s));
  state.picked(options, at(11s));
  state.succeeded(options, at(11s));
  CHECK(state.climbed(options, at(11s)) == health::whole);

  state.failed(options, at(20s));
  state.failed(options, at(20s));
  state.picked(options, at(31s));
  CHECK(state.climbed(options, at(31s)) == health::whole);  // for the probe
  state.succeeded(options, at(32s));
  CHECK(state.climbed(options, at(32s)) == 1);
  CHECK(state.climbed(options, at(37s)) == health::whole / 2);
  CHECK(state.climbed(options, at(42s)) == health::whole);
}

TEST_CASE("the weight climbs after active checks failed, from the next pick on") {
  auto options = with(1, 10s);
  options.slow_start = 10s;
  health state(options);
  state.found(options, true);
  CHECK(state.climbed(options, at(0s)) == health::whole);
  state.found(options, false);
  state.found(options, true);
  CHECK(state.climbs_since == wsproxy::time_point::max());
  CHECK(state.climbed(options, at(0s)) == 1);
}
