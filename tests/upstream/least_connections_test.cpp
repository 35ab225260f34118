#include <wsproxy/upstream/least_connections.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "group.hpp"

using namespace std::chrono_literals;
using namespace wsproxy::test;
using wsproxy::lease;
using wsproxy::least_connections;
using wsproxy::pick_state;
using wsproxy::upstream;

namespace {

/// A request that stays: its lease goes to `held`, its backend's name is returned.
std::string hold(const upstream& from, std::vector<lease>& held) {
  pick_state state;
  held.push_back(from.pick({}, state, start));
  return held.back() ? held.back().backend()->name() : "-";
}

}  // namespace

TEST_CASE("the backend with the fewest leases is picked") {
  const upstream group({server("a"), server("b"), server("c")}, least_connections());
  std::vector<lease> held;
  for (const char* expected : {"a", "b", "c"}) CHECK(hold(group, held) == expected);
  held.erase(held.begin() + 1);
  for (int i = 0; i != 3; ++i) CHECK(pick_once(group) == "b");
}

TEST_CASE("leases count for their backend's weight") {
  const upstream group({server("a", 3), server("b")}, least_connections());
  std::vector<lease> held;
  std::string seen;
  for (int i = 0; i != 8; ++i) seen += hold(group, held);
  CHECK(std::count(seen.begin(), seen.end(), 'a') == 6);
  CHECK(std::count(seen.begin(), seen.end(), 'b') == 2);
}

TEST_CASE("equals take turns by weight") {
  const upstream group({server("a", 5), server("b"), server("c")}, least_connections());
  CHECK(picks(group, 7) == "a a b a c a a");
}

TEST_CASE("a single least loaded backend takes nobody's turn") {
  const upstream group({server("a"), server("b")}, least_connections());
  std::vector<lease> held;
  CHECK(hold(group, held) == "a");
  for (int i = 0; i != 5; ++i) CHECK(pick_once(group) == "b");
  held.clear();
  CHECK(picks(group, 2) == "b a");  // as if the five had not been
}

TEST_CASE("a retry goes to the least loaded of the rest") {
  const upstream group({server("a"), server("b"), server("c")}, least_connections());
  std::vector<lease> held;
  hold(group, held);
  CHECK(attempts(group) == std::vector<std::string>{"b", "c", "a"});
}

TEST_CASE("a full or failed backend is not picked, however idle") {
  auto small = server("a", 100);
  small.max_conns = 1;
  const upstream group({small, server("b"), server("c")}, least_connections());
  std::vector<lease> held;
  for (const char* expected : {"a", "b", "c"}) CHECK(hold(group, held) == expected);
  fail_once(group, "b", start);
  CHECK(pick_once(group) == "c");
}

TEST_CASE("backups are balanced by their leases too") {
  auto down = server("a"), first = server("x"), second = server("y");
  down.down = first.backup = second.backup = true;
  const upstream group({down, first, second}, least_connections());
  std::vector<lease> held;
  for (const char* expected : {"x", "y"}) CHECK(hold(group, held) == expected);
  held.erase(held.begin());
  for (int i = 0; i != 3; ++i) CHECK(pick_once(group) == "x");
}

TEST_CASE("without a usable backend there is no least loaded one") {
  auto down = server("a");
  down.down = true;
  CHECK(pick_once(upstream({down, down}, least_connections())) == "-");
}
