#include <wsproxy/upstream/retry_budget.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <chrono>
#include <cmath>
#include <stdexcept>

#include "group.hpp"

using namespace std::chrono_literals;
using namespace wsproxy::test;
using Catch::Matchers::Message;
using wsproxy::pick_state;
using wsproxy::retry_budget;

namespace {

/// So many retries as are allowed at `now`.
int spend(retry_budget& budget, wsproxy::time_point now, int most = 1000) {
  int spent = 0;
  while (spent != most && budget.allows_retry(now)) {
    budget.count_attempt(true, now);
    ++spent;
  }
  return spent;
}

void attempts(retry_budget& budget, int count, wsproxy::time_point now) {
  for (int i = 0; i != count; ++i) budget.count_attempt(false, now);
}

}  // namespace

TEST_CASE("without a budget every retry is allowed") {
  retry_budget budget;
  CHECK(spend(budget, start) == 1000);
}

TEST_CASE("retries are at most their part of all attempts") {
  retry_budget budget({.percent = 20, .at_least = 0});
  CHECK_FALSE(budget.allows_retry(start));
  attempts(budget, 100, start);
  CHECK(spend(budget, start) == 25);  // of 125
  attempts(budget, 4, start);
  CHECK(spend(budget, start) == 1);
}

TEST_CASE("a few retries are allowed in any case") {
  retry_budget budget({.percent = 10, .at_least = 3});
  CHECK(spend(budget, start) == 3);
  attempts(budget, 20, start);
  CHECK(spend(budget, start) == 0);
  attempts(budget, 20, start);
  CHECK(spend(budget, start) == 1);
}

TEST_CASE("what is long ago counts less") {
  retry_budget budget({.percent = 50, .at_least = 4, .half_life = 10s});
  CHECK(spend(budget, start) == 4);
  CHECK(spend(budget, at(1s)) == 0);
  CHECK(spend(budget, at(10s)) == 2);  // 4 are worth 2
  CHECK(spend(budget, at(20s)) == 2);
  CHECK(spend(budget, at(1h)) == 4);
}

TEST_CASE("old attempts allow no burst of retries") {
  retry_budget budget({.percent = 50, .at_least = 0, .half_life = 10s});
  attempts(budget, 64, start);
  CHECK(spend(budget, at(50s)) <= 2);  // 64 are worth 2
}

TEST_CASE("a clock that runs backwards changes nothing") {
  retry_budget budget({.percent = 50, .at_least = 1});
  attempts(budget, 10, at(10s));
  CHECK(spend(budget, at(5s)) == 10);
  CHECK(spend(budget, at(10s)) == 0);
}

TEST_CASE("a budget that makes no sense is refused") {
  CHECK_THROWS_MATCHES(retry_budget({.percent = 101}), std::invalid_argument,
                       Message("retry_budget: percent is not within 0 and 100"));
  CHECK_THROWS_AS(retry_budget({.percent = std::nan("")}), std::invalid_argument);
  CHECK_THROWS_MATCHES(retry_budget({.percent = 1, .at_least = -1}), std::invalid_argument,
                       Message("retry_budget: at_least is negative or no number"));
  CHECK_THROWS_MATCHES(retry_budget({.percent = 1, .half_life = 0s}), std::invalid_argument,
                       Message("retry_budget: half_life is not positive"));
}

TEST_CASE("an upstream counts its picks: the second of a request is a retry") {
  const wsproxy::upstream group({server("a"), server("b")}, nullptr, "",
                                {.retry_budget = {.percent = 50, .at_least = 1}});
  CHECK(group.allows_retry(start));
  pick_state state;
  group.pick({}, state, start);
  CHECK(group.allows_retry(start));
  group.pick({}, state, start);
  CHECK_FALSE(group.allows_retry(start));
  pick_once(group);
  pick_once(group);
  CHECK(group.allows_retry(start));
}
