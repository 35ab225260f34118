#include <wsproxy/upstream/upstream.hpp>

#include <algorithm>
#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <wsproxy/upstream/consistent_hash.hpp>
#include "group.hpp"

using namespace std::chrono_literals;
using namespace wsproxy::test;
using Catch::Matchers::Message;
using wsproxy::backend_options;
using wsproxy::lease;
using wsproxy::pick_state;
using wsproxy::upstream;

static_assert(!std::is_copy_constructible_v<lease> && !std::is_copy_assignable_v<lease>);
static_assert(std::is_nothrow_move_constructible_v<lease> && std::is_nothrow_move_assignable_v<lease>);

namespace {

backend_options backup(std::string name) {
  auto options = server(std::move(name));
  options.backup = true;
  return options;
}

backend_options down(std::string name) {
  auto options = server(std::move(name));
  options.down = true;
  return options;
}

lease pick(const upstream& from, wsproxy::time_point now = start) {
  pick_state state;
  return from.pick({}, state, now);
}

}  // namespace

// ---- lists that make no sense

TEST_CASE("an upstream refuses a list that makes no sense, and says which backend and why") {
  const auto refuses = [](std::vector<backend_options> list, const std::string& why,
                          std::shared_ptr<wsproxy::balancer> method = nullptr) {
    CHECK_THROWS_MATCHES(upstream(std::move(list), std::move(method), "app"), std::invalid_argument,
                         Message("upstream \"app\": " + why));
  };
  refuses({}, "no backends");
  refuses({backup("a")}, "no backends");
  refuses({server("")}, "a backend has no name");
  refuses({server("a:1"), server("b:1", 0)}, "backend \"b:1\": weight is 0");
  refuses({server("a:0")}, "backend \"a:0\": port 0 cannot be connected to");
  refuses({{.name = "a", .at = {wsproxy::address::family::ip, "10.0.0.1", 0}}}, "backend \"a\": port 0 cannot be connected to");
  refuses({{.name = "a", .fail_timeout = -1s}}, "backend \"a\": fail_timeout is negative");
  refuses({server("a"), backup("b")}, "backend \"b\": the balancing method does not support backups",
          wsproxy::consistent_hash());
}

TEST_CASE("a backend's address is its name's unless another is given") {
  const upstream group({server("10.0.0.1:81"),
                        {.name = "app", .at = {wsproxy::address::family::ip, "10.0.0.2", 82}},
                        {.name = "local", .at = {wsproxy::address::family::unix_socket, "/run/app", 0}}},
                       nullptr, "app");
  CHECK(group.name() == "app");
  const auto all = group.backends();
  REQUIRE(all.size() == 3);
  CHECK(all[0]->address().to_string() == "10.0.0.1:81");
  CHECK(all[1]->address().to_string() == "10.0.0.2:82");
  CHECK(all[1]->name() == "app");
  CHECK(all[2]->address().to_string() == "unix:/run/app");
}

// ---- leases

TEST_CASE("a lease counts for as long as it lives") {
  const upstream group({server("a")});
  const auto a = group.backends().front();
  {
    const auto one = pick(group);
    auto two = pick(group);
    CHECK(a->active() == 2);
    auto moved = std::move(two);
    CHECK_FALSE(two);  // NOLINT: a moved-from lease is empty
    CHECK(a->active() == 2);
    moved = pick(group);
    CHECK(a->active() == 2);
    moved = lease();
    CHECK(a->active() == 1);
  }
  CHECK(a->active() == 0);
  CHECK(a->picked() == 3);
}

TEST_CASE("a lease assigned to itself stays") {
  const upstream group({server("a")});
  auto one = pick(group);
  auto& same = one;
  one = std::move(same);
  CHECK(one);
  CHECK(group.backends().front()->active() == 1);
}

TEST_CASE("a lease outlives the upstream and the list") {
  std::optional<upstream> group(std::in_place, std::vector{server("a"), server("b")});
  auto one = pick(*group), two = pick(*group), three = pick(*group);
  const auto a = one.backend();
  group->set_backends({server("c")});
  two.failed(start);
  group.reset();
  one.succeeded(start);
  three.failed(start);
  CHECK(a->active() == 2);
  CHECK(a->failed() == 1);
  std::thread([lease = std::move(one)] {}).join();
  CHECK(a->active() == 1);
  three = lease();
  CHECK(a->active() == 0);
}

TEST_CASE("an empty lease has no backend and takes any outcome") {
  lease none;
  CHECK_FALSE(none);
  CHECK(none.backend() == nullptr);
  none.succeeded(start);
  none.failed(start);
}

TEST_CASE("an outcome is told once") {
  const upstream group({server("a"), server("b")});
  auto one = pick(group);
  REQUIRE(one.backend()->name() == "a");
  one.succeeded(start);
  one.failed(start);
  CHECK(one.backend()->failed() == 0);
  CHECK(picks(group, 3) == "b a b");

  auto two = pick(group);
  two.failed(start);
  two.failed(start);
  CHECK(two.backend()->failed() == 1);
}

TEST_CASE("a lease without an outcome changes no health") {
  const upstream group({server("a"), server("b")});
  fail_once(group, "a", start);
  CHECK(picks(group, 3, at(11s)) ==
        "b b a");  // weight recovers first; then the probe, and its lease is dropped
  CHECK(picks(group, 4, at(11s)) == "b b b b");
}

// ---- failures

TEST_CASE("a failed backend is left out until its window is over, then probed once") {
  const upstream group({server("a"), server("b")});
  fail_once(group, "a", start);
  CHECK(picks(group, 3, at(10s)) == "b b b");
  CHECK(picks(group, 2, at(11s)) == "b b");  // its weight recovers first
  auto probe = pick(group, at(11s));
  REQUIRE(probe.backend()->name() == "a");
  CHECK(picks(group, 3, at(11s)) == "b b b");
  // The success counts now, while the tunnel goes on.
  probe.succeeded(at(12s));
  CHECK(picks(group, 4, at(12s)).find('a') != std::string::npos);
}

TEST_CASE("failures of older leases count when they come") {
  auto twice = server("a");
  twice.max_fails = 2;
  const upstream group({twice, server("b")});
  auto first = pick(group);
  pick(group);
  auto second = pick(group);
  REQUIRE(first.backend() == second.backend());
  first.failed(at(3s));
  CHECK(picks(group, 2, at(3s)) == "b a");
  second.failed(at(8s));
  CHECK(picks(group, 3, at(18s)) == "b b b");
  CHECK(picks(group, 4, at(19s)).find('a') != std::string::npos);
}

TEST_CASE("all failed out is no backend, until a window is over") {
  const upstream group({server("a"), server("b")});
  fail_once(group, "a", start);
  fail_once(group, "b", at(2s));
  CHECK(pick_once(group, {}, at(10s)) == "-");
  CHECK(pick_once(group, {}, at(11s)) == "a");
}

TEST_CASE("a single backend is never taken out") {
  const upstream group({server("a")});
  for (int i = 0; i != 3; ++i) fail_once(group, "a", start);
  CHECK(pick_once(group) == "a");
  CHECK(group.backends().front()->failed() == 3);
}

TEST_CASE("a single backend is given to a request only once") {
  CHECK(attempts(upstream({server("a")})) == std::vector<std::string>{"a"});
}

TEST_CASE("one backend beside one that is down, or beside a backup, is not single") {
  const upstream beside_down({server("a"), down("b")});
  fail_once(beside_down, "a", start);
  CHECK(pick_once(beside_down) == "-");

  const upstream beside_backup({server("a"), backup("b")});
  fail_once(beside_backup, "a", start);
  CHECK(pick_once(beside_backup) == "b");
}

// ---- down, backup, max_conns

TEST_CASE("a backend that is down is never used") {
  CHECK(picks(upstream({server("a"), down("b"), server("c")}), 4) == "a c a c");
  CHECK(pick_once(upstream({down("a")})) == "-");
  CHECK(pick_once(upstream({down("a"), backup("b")})) == "b");
}

TEST_CASE("backups come when no primary is usable, in a round of their own") {
  const upstream group({server("a"), backup("x"), server("b"), backup("y")});
  CHECK(picks(group, 3) == "a b a");
  CHECK(attempts(group) == std::vector<std::string>{"b", "a", "x", "y"});
  fail_once(group, "a", start);
  fail_once(group, "b", start);
  CHECK(picks(group, 3) == "y x y");
  CHECK(pick_once(group, {}, at(11s)) != "x");  // a primary is back
}

TEST_CASE("a request that came to the backups stays with them") {
  const upstream group({server("a"), backup("x"), backup("y")});
  fail_once(group, "a", start);
  pick_state state;
  CHECK(group.pick({}, state, start).backend()->name() == "x");
  CHECK(group.pick({}, state, at(20s)).backend()->name() == "y");  // a would be usable again
  CHECK_FALSE(group.pick({}, state, at(20s)));
}

TEST_CASE("max_conns bounds the leases alive") {
  auto two = server("a");
  two.max_conns = 2;
  const upstream alone({two});
  auto first = pick(alone);
  const auto second = pick(alone);
  CHECK(second);
  CHECK_FALSE(pick(alone));
  first = lease();
  CHECK(pick(alone));

  const upstream group({two, server("b")});
  std::vector<lease> held;
  for (int i = 0; i != 6; ++i) held.push_back(pick(group));
  CHECK(held.front().backend()->active() == 2);
  CHECK(picks(group, 2) == "b b");
}

TEST_CASE("the attempts a request can make are the backends that are not down") {
  CHECK(upstream({server("a"), down("b"), backup("c")}).tries() == 2);
  CHECK(upstream({down("a")}).tries() == 0);
}

// ---- another list

TEST_CASE("backends that stay keep their object, counters and health") {
  upstream group({server("a"), server("b")});
  const auto before = group.backends();
  const auto tunnel = pick(group);
  fail_once(group, "b", start);

  auto heavier = server("b", 3);
  group.set_backends({server("c"), heavier, server("a")});
  const auto after = group.backends();
  REQUIRE(after.size() == 3);
  CHECK(after[1] == before[1]);
  CHECK(after[2] == before[0]);
  CHECK(after[2]->active() == 1);
  CHECK(after[1]->failed() == 1);
  for (int i = 0; i != 4; ++i) CHECK(pick_once(group) != "b");
  CHECK(picks(group, 8, at(11s)).find('b') != std::string::npos);
}

TEST_CASE("a backend of the same name elsewhere is another backend") {
  const auto at_port = [](std::uint16_t port) {
    return backend_options{.name = "app", .at = {wsproxy::address::family::ip, "10.0.0.1", port}};
  };
  upstream group({at_port(1), at_port(2)});
  const auto before = group.backends();
  group.set_backends({at_port(2), at_port(3)});
  const auto after = group.backends();
  CHECK(after[0] == before[1]);
  CHECK(after[1] != before[0]);
}

TEST_CASE("a backend listed twice is two, and stays two") {
  upstream group({server("a"), server("a")});
  const auto before = group.backends();
  REQUIRE(before[0] != before[1]);
  CHECK(attempts(group).size() == 2);
  group.set_backends({server("a"), server("a"), server("a")});
  const auto after = group.backends();
  CHECK(after[0] != after[1]);
  CHECK(after[0] != after[2]);
  CHECK(after[1] != after[2]);
  CHECK(std::count(after.begin(), after.end(), before[0]) == 1);
  CHECK(std::count(after.begin(), after.end(), before[1]) == 1);
}

TEST_CASE("a weight that changes counts from now on; one that stays keeps its turn") {
  upstream group({server("a"), server("b")});
  CHECK(picks(group, 1) == "a");
  group.set_backends({server("a"), server("b")});
  CHECK(picks(group, 1) == "b");
  group.set_backends({server("a", 5), server("b")});
  CHECK(picks(group, 12).find("a a a") != std::string::npos);
}

TEST_CASE("a primary may become a backup and keep its counters") {
  upstream group({server("a"), server("b")});
  const auto tunnel = pick(group);
  group.set_backends({backup("a"), server("b")});
  CHECK(group.backends().back() == tunnel.backend());
  CHECK(attempts(group) == std::vector<std::string>{"b", "a"});
}

TEST_CASE("an outcome goes to the list that there is when it comes") {
  upstream group({server("a"), server("b")});
  auto on_a = pick(group), on_b = pick(group), on_a_again = pick(group);
  group.set_backends({server("c"), server("a")});
  on_b.failed(start);  // gone from the list
  on_a.failed(start);
  CHECK(picks(group, 3) == "c c c");
  CHECK(on_b.backend()->failed() == 1);

  // Alone, it is not taken out by what came before nor by what comes now.
  group.set_backends({server("a")});
  on_a_again.failed(start);
  CHECK(pick_once(group) == "a");
  group.set_backends({server("a"), server("b")});
  CHECK(picks(group, 4).find('a') != std::string::npos);
}

TEST_CASE("a request between two attempts goes on with the new list and repeats no backend") {
  upstream group({server("a"), server("b"), server("c")});
  pick_state state;
  REQUIRE(group.pick({}, state, start).backend()->name() == "a");
  group.set_backends({server("x"), server("c"), server("a")});
  CHECK(group.pick({}, state, start).backend()->name() != "a");
  CHECK(group.pick({}, state, start).backend()->name() != "a");
  CHECK_FALSE(group.pick({}, state, start));
  REQUIRE(state.tried.size() == 3);
  CHECK(state.tried.front()->name() == "a");
}

TEST_CASE("a list that makes no sense changes nothing") {
  upstream group({server("a"), server("b")}, nullptr, "app");
  const auto before = group.backends();
  CHECK_THROWS_MATCHES(group.set_backends({server("a"), server("b", 0)}), std::invalid_argument,
                       Message("upstream \"app\": backend \"b\": weight is 0"));
  CHECK_THROWS_AS(group.set_backends({}), std::invalid_argument);
  CHECK(group.backends() == before);
  CHECK(picks(group, 2) == "a b");
}

TEST_CASE("copies of an upstream are the same upstream") {
  const upstream group({server("a"), server("b")});
  upstream copy = group;
  CHECK(pick_once(group) == "a");
  CHECK(pick_once(copy) == "b");
  copy.set_backends({server("c")});
  CHECK(pick_once(group) == "c");
}

// ---- threads

TEST_CASE("leases count exactly and max_conns holds while threads pick and the list changes") {
  constexpr int threads = 4, rounds = 4000;
  auto bounded = server("a");
  bounded.max_conns = 3;
  auto always = server("b");
  always.max_fails = 0;
  upstream group({bounded, always});
  const auto all = group.backends();
  std::atomic<std::uint64_t> given{0}, failures{0};
  std::atomic<bool> exceeded{false};
  const auto work = [&] {
    std::vector<lease> held;
    for (int i = 0; i != rounds; ++i) {
      auto got = pick(group, at(std::chrono::seconds(i)));
      if (all[0]->active() > bounded.max_conns) exceeded = true;
      const bool counts = got && (got.backend() == all[0] || got.backend() == all[1]);
      const bool fails = i % 7 == 0;
      if (counts) ++given;
      if (counts && fails) ++failures;
      if (fails)
        got.failed(at(std::chrono::seconds(i)));
      else
        got.succeeded(at(std::chrono::seconds(i)));
      held.push_back(std::move(got));
      if (held.size() > 2) held.erase(held.begin());
    }
  };
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t != threads; ++t) workers.emplace_back(work);
    workers.emplace_back([&] {
      for (int i = 0; i != 200; ++i) {
        group.set_backends({always, bounded, server("c" + std::to_string(i))});
        group.set_backends({bounded, always});
      }
    });
  }
  CHECK(group.backends() == all);
  CHECK_FALSE(exceeded);
  CHECK(all[0]->active() == 0);
  CHECK(all[1]->active() == 0);
  CHECK(given > rounds);
  CHECK(all[0]->picked() + all[1]->picked() == given);
  CHECK(all[0]->failed() + all[1]->failed() == failures);
}
