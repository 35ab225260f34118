#include <wsproxy/upstream/round_robin.hpp>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <map>
#include <string>

#include "group.hpp"

using namespace std::chrono_literals;
using namespace wsproxy::test;
using wsproxy::upstream;

TEST_CASE("equal weights take turns in configured order") {
  const upstream group({server("a"), server("b"), server("c")});
  CHECK(picks(group, 7) == "a b c a b c a");
}

TEST_CASE("weights 5, 1, 1 are interleaved smoothly") {
  const upstream group({server("a", 5), server("b"), server("c")}, wsproxy::round_robin());
  CHECK(picks(group, 14) == "a a b a c a a a a b a c a a");
}

TEST_CASE("shares follow the weights exactly over each round, also very large ones") {
  const upstream group({server("a", 4), server("b", 3), server("c", 2)});
  std::map<std::string, int> count;
  for (int i = 0; i != 90; ++i) ++count[pick_once(group)];
  CHECK(count == std::map<std::string, int>{{"a", 40}, {"b", 30}, {"c", 20}});

  const upstream huge({server("a", 4'000'000'000), server("b", 2'000'000'000)});
  CHECK(picks(huge, 6) == "a b a a b a");
}

TEST_CASE("a request's attempts go to every backend once") {
  const upstream group({server("a"), server("b"), server("c")});
  CHECK(attempts(group) == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("a failed backend comes back with little weight and recovers by one per pick") {
  auto heavy = server("a", 4);
  heavy.max_fails = 1;
  const upstream group({heavy, server("b", 4)});
  fail_once(group, "a", start);
  CHECK(picks(group, 3, at(10s)) == "b b b");
  CHECK(picks(group, 5, at(11s)) == "b b b b a");  // a weighs 0, 1, 2, 3, 4
}

TEST_CASE("no usable backend is no answer") {
  auto off = server("a");
  off.down = true;
  const upstream group({off, off});
  CHECK(picks(group, 2) == "- -");
}
