#include <wsproxy/upstream/random.hpp>

#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "group.hpp"

using namespace wsproxy::test;
using wsproxy::pick_state;
using wsproxy::random_choice;
using wsproxy::random_choice_of_two;
using wsproxy::upstream;

namespace {

std::string pick_with(const upstream& from, std::uint32_t random) {
  pick_state state;
  const auto got = from.pick({.random = random}, state, start);
  return got ? got.backend()->name() : "-";
}

/// How often each backend is picked with the random numbers 0 … count-1.
std::map<std::string, int> shares(const upstream& from, std::uint32_t count) {
  std::map<std::string, int> all;
  for (std::uint32_t random = 0; random != count; ++random) ++all[pick_with(from, random)];
  return all;
}

bool near(int number, double expected) { return number > expected * 0.95 && number < expected * 1.05; }

}  // namespace

TEST_CASE("random choice is as likely as the weights say") {
  auto got = shares(upstream({server("a", 1), server("b", 2), server("c", 7)}, random_choice()), 20000);
  CHECK(near(got["a"], 2000));
  CHECK(near(got["b"], 4000));
  CHECK(near(got["c"], 14000));
}

TEST_CASE("the pick's random number decides") {
  const upstream group({server("a"), server("b"), server("c")}, random_choice());
  std::map<std::string, std::uint32_t> of;
  for (std::uint32_t random = 0; random != 30; ++random) of[pick_with(group, random)] = random;
  REQUIRE(of.size() == 3);
  for (const auto& [name, random] : of) CHECK(pick_with(group, random) == name);
}

TEST_CASE("of two random backends the later one is picked if they are equal") {
  // A second one of weight w comes after a first one of weight v with v/10 * w/(10-v); weights 1, 2, 7.
  auto got =
      shares(upstream({server("a", 1), server("b", 2), server("c", 7)}, random_choice_of_two()), 20000);
  CHECK(near(got["a"], 20000 * (0.2 * 1 / 8 + 0.7 * 1 / 3)));
  CHECK(near(got["b"], 20000 * (0.1 * 2 / 9 + 0.7 * 2 / 3)));
  CHECK(near(got["c"], 20000 * (0.1 * 7 / 9 + 0.2 * 7 / 8)));
}

TEST_CASE("of two random backends the less loaded for its weight is picked") {
  const upstream group({server("a", 2), server("b", 3)}, random_choice_of_two());
  pick_state other;
  const auto on_one = group.pick({.random = 1}, other, start);
  const std::string loaded = on_one.backend()->name();
  CHECK(shares(group, 500) == std::map<std::string, int>{{loaded == "a" ? "b" : "a", 500}});
  // One lease each: a's weight 2 bears less than b's 3.
  const auto on_both = group.pick({.random = 1}, other, start);
  REQUIRE(on_both.backend() != on_one.backend());
  CHECK(shares(group, 500) == std::map<std::string, int>{{"b", 500}});
}

TEST_CASE("random methods draw only what is usable, and try each once") {
  for (const auto& method : {random_choice, random_choice_of_two}) {
    auto down = server("down", 2);
    down.down = true;
    auto got = shares(upstream({server("a"), down, server("b")}, method()), 4000);
    CHECK(got.size() == 2);
    CHECK(near(got["a"], 2000));
    CHECK(attempts(upstream({server("a"), server("b"), server("c")}, method())).size() == 3);
    CHECK(attempts(upstream({server("a")}, method())).size() == 1);
    CHECK_FALSE(method()->allows_backups());
  }
}

TEST_CASE("after twenty random draws in vain round robin decides") {
  for (const auto& method : {random_choice, random_choice_of_two}) {
    auto nearly_all = server("a", 1'000'000'000);
    nearly_all.down = true;
    const upstream group({nearly_all, server("b"), server("c")}, method());
    std::string seen;
    for (std::uint32_t random = 0; random != 4; ++random) seen += pick_with(group, random);
    CHECK(seen == "bcbc");
  }
}

TEST_CASE("random methods follow the list") {
  for (const auto& method : {random_choice, random_choice_of_two}) {
    upstream group({server("a"), server("b")}, method());
    shares(group, 10);
    group.set_backends({server("a"), server("b"), server("c", 8)});
    CHECK(shares(group, 100)["c"] > 10);
  }
}
