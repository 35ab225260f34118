#include <wsproxy/policy.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include <limits>
#include <stdexcept>

using namespace wsproxy;
using namespace std::chrono_literals;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("the defaults and zero everywhere are valid") {
  CHECK_NOTHROW(validate(timeouts{}));
  CHECK_NOTHROW(validate(heartbeat{}));
  timeouts off;
  off.client_head = off.keep_alive = off.client_body = off.connect = off.response = off.send_stall =
      off.upstream_send_stall = off.idle = 0s;
  off.half_close = off.boundary_wait = off.close_wait = off.linger = 0s;
  CHECK_NOTHROW(validate(off));
  heartbeat none;
  none.timeout = 0s;
  CHECK_NOTHROW(validate(none));
}

TEST_CASE("a time that is negative, or endless, is refused by the name of its member") {
  const std::pair<duration timeouts::*, const char*> members[] = {
      {&timeouts::client_head, "client_head"},
      {&timeouts::keep_alive, "keep_alive"},
      {&timeouts::client_body, "client_body"},
      {&timeouts::connect, "connect"},
      {&timeouts::response, "response"},
      {&timeouts::send_stall, "send_stall"},
      {&timeouts::upstream_send_stall, "upstream_send_stall"},
      {&timeouts::idle, "idle"},
      {&timeouts::half_close, "half_close"},
      {&timeouts::max_lifetime, "max_lifetime"},
      {&timeouts::boundary_wait, "boundary_wait"},
      {&timeouts::close_wait, "close_wait"},
      {&timeouts::linger, "linger"}};
  for (const auto& [member, name] : members) {
    timeouts times;
    times.*member = -1ms;
    CHECK_THROWS_MATCHES(validate(times), std::invalid_argument, MessageMatches(ContainsSubstring(name)));
    times.*member = duration::max();  // for "never": it could not be added to any time
    CHECK_THROWS_MATCHES(validate(times), std::invalid_argument,
                         MessageMatches(ContainsSubstring(name) && ContainsSubstring("zero is off")));
    times.*member = longest_time;
    CHECK_NOTHROW(validate(times));
  }
  CHECK_THROWS_AS(validate(retry{.within = duration::max()}), std::invalid_argument);
  heartbeat beat;
  beat.interval = -1ms;
  CHECK_THROWS_MATCHES(validate(beat), std::invalid_argument, MessageMatches(ContainsSubstring("interval")));
  beat = {};
  beat.timeout = -1ms;
  CHECK_THROWS_MATCHES(validate(beat), std::invalid_argument, MessageMatches(ContainsSubstring("timeout")));
}

TEST_CASE("the lifetime's jitter is a share") {
  timeouts times;
  for (const double share : {0.0, 0.1, 1.0}) {
    times.max_lifetime_jitter = share;
    CHECK_NOTHROW(validate(times));
  }
  for (const double share :
       {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    times.max_lifetime_jitter = share;
    CHECK_THROWS_MATCHES(validate(times), std::invalid_argument,
                         MessageMatches(ContainsSubstring("max_lifetime_jitter")));
  }
}
