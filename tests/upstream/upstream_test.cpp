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
#include <wsproxy/upstream/ip_hash.hpp>
#include <wsproxy/upstream/least_connections.hpp>
#include <wsproxy/upstream/random.hpp>
#include <wsproxy/upstream/round_robin.hpp>
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
  refuses({{.name = "a", .at = {wsproxy::address::family::ip, "10.0.0.1", 0}}},
          "backend \"a\": port 0 cannot be connected to");
  refuses({{.name = "a", .fail_timeout = -1s}}, "backend \"a\": fail_timeout is negative");
  refuses({server("a"), backup("b")}, "backend \"b\": the balancing method does not support backups",
          wsproxy::consistent_hash());
  refuses({{.name = "a", .slow_start = -1s}}, "backend \"a\": slow_start is negative");
  refuses({{.name = "a", .slow_start = 1s}},
          "backend \"a\": the balancing method does not support slow_start", wsproxy::consistent_hash());
  refuses({{.name = "a", .slow_start = 1s}},
          "backend \"a\": the balancing method does not support slow_start", wsproxy::ip_hash());
  refuses({{.name = "a", .slow_start = 1s}},
          "backend \"a\": the balancing method does not support slow_start", wsproxy::random_choice_of_two());
}

TEST_CASE("an upstream refuses options that make no sense") {
  CHECK_THROWS_MATCHES(upstream({server("a")}, nullptr, "app", {.early_death = -1s}), std::invalid_argument,
                       Message("upstream_options: early_death is negative"));
  upstream group({server("a")}, nullptr, "app", {.max_tunnels = 1});
  CHECK_THROWS_AS(group.set_options({.retry_budget = {.percent = -1}}), std::invalid_argument);
  const auto first = pick(group);
  CHECK_FALSE(pick(group));  // as before
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

TEST_CASE("max_tunnels bounds the leases alive of the whole upstream, and says so") {
  upstream group({server("a"), server("b")}, nullptr, "", {.max_tunnels = 3});
  std::vector<lease> held;
  for (int i = 0; i != 3; ++i) held.push_back(pick(group));
  CHECK_FALSE(held.back().error());
  CHECK(group.active() == 3);
  const auto refused = pick(group);
  CHECK_FALSE(refused);
  CHECK(refused.error() == wsproxy::errc::tunnel_limit);
  // Those of a backend that is removed count until they end.
  group.set_backends({server("c")});
  CHECK(pick(group).error() == wsproxy::errc::tunnel_limit);
  held.pop_back();
  CHECK(pick(group));
  group.set_options({.max_tunnels = 2});
  CHECK(pick(group).error() == wsproxy::errc::tunnel_limit);
  group.set_options({});
  CHECK(pick(group));
  held.clear();
  CHECK(group.active() == 0);
}

TEST_CASE("a pick in vain says that there is no backend") {
  CHECK(pick(upstream({down("a")})).error() == wsproxy::errc::no_backend);
  CHECK_FALSE(lease().error());
}

TEST_CASE("a draining backend gets no new tunnels and keeps its old ones") {
  const auto draining = [](std::string name) {
    auto options = server(std::move(name));
    options.draining = true;
    return options;
  };
  upstream group({server("a"), server("b")});
  const auto tunnel = pick(group);
  REQUIRE(tunnel.backend()->name() == "a");
  group.set_backends({draining("a"), server("b")});
  CHECK(picks(group, 3) == "b b b");
  CHECK(tunnel.backend()->active() == 1);
  CHECK(group.tries() == 1);
  CHECK_FALSE(group.status(start)[0].in_service);
  group.set_backends({server("a"), server("b")});
  CHECK(picks(group, 4).find('a') != std::string::npos);
}

// ---- health from elsewhere

TEST_CASE("a backend that fails its active checks is not used until they pass") {
  upstream group({server("a"), server("b")});
  const auto all = group.backends();
  CHECK_FALSE(group.set_healthy(*all[0], true));  // no news
  CHECK(group.set_healthy(*all[0], false));
  CHECK_FALSE(group.set_healthy(*all[0], false));
  CHECK(picks(group, 3, at(1h)) == "b b b");
  CHECK_FALSE(group.status(start)[0].checks_pass);
  CHECK_FALSE(group.status(start)[0].in_service);
  CHECK(group.status(start)[1].in_service);
  CHECK(group.set_healthy(*all[0], true));
  CHECK(picks(group, 4).find('a') != std::string::npos);

  // The mark goes with the backend.
  group.set_healthy(*all[1], false);
  group.set_backends({server("b"), server("c")});
  CHECK(picks(group, 2) == "c c");
  CHECK_FALSE(group.set_healthy(*all[0], false));  // not on the list
  CHECK(pick_once(group) == "c");
}

TEST_CASE("active checks take the only backend out too") {
  upstream group({server("a")});
  group.set_healthy(*group.backends()[0], false);
  CHECK(pick_once(group) == "-");
}

TEST_CASE("active checks that pass again forgive the failures before") {
  upstream group({server("a"), server("b")});
  const auto a = group.backends()[0];
  fail_once(group, "a", start);
  group.set_healthy(*a, false);
  group.set_healthy(*a, true);
  CHECK(group.status(start)[0].fails == 0);
  CHECK(picks(group, 4).find('a') != std::string::npos);
}

TEST_CASE("with try_failed the failed ones are tried when no other is left") {
  auto full = server("full");
  full.max_conns = 1;
  upstream group({server("a"), server("b"), down("c"), full}, nullptr, "", {.try_failed = true});
  std::vector<lease> held;
  while (group.backends()[3]->active() == 0) held.push_back(pick(group));
  fail_once(group, "a", start);
  CHECK(picks(group, 3) == "b b b");
  group.set_healthy(*group.backends()[1], false);
  CHECK(attempts(group).size() == 2);  // a and b, each once
  fail_once(group, "a", start);
  CHECK(pick_once(group) != "-");
  group.set_options({});
  CHECK(pick_once(group) == "-");
}

TEST_CASE(
    "with try_failed a request tries what is usable first, and failed primaries before failed backups") {
  const upstream group({server("a"), server("b"), backup("x"), backup("y")}, nullptr, "",
                       {.try_failed = true});
  fail_once(group, "a", start);
  fail_once(group, "x", start);
  CHECK(attempts(group) == std::vector<std::string>{"b", "y", "a", "x"});
}

TEST_CASE("with try_failed a key goes to the backend that its ring names") {
  const upstream group({server("a"), server("b"), server("c")}, wsproxy::consistent_hash(), "",
                       {.try_failed = true});
  const auto owner = pick_once(group, "some key");
  for (const auto* name : {"a", "b", "c"}) fail_once(group, name, start);
  CHECK(pick_once(group, "some key") == owner);
}

// ---- tunnels that die early

TEST_CASE("a tunnel that its backend breaks off early counts as a failure, a later one does not") {
  const upstream group({server("a"), server("b")}, nullptr, "", {.early_death = 3s});
  const auto tunnel = [&](std::string_view name) {
    auto got = pick(group);
    if (got.backend()->name() != name) got = pick(group);
    REQUIRE(got.backend()->name() == name);
    got.succeeded(start);
    return got;
  };
  auto late = tunnel("a"), early = tunnel("a");
  late.died(at(3s));
  CHECK(late.backend()->failed() == 0);
  CHECK(picks(group, 4, at(3s)).find('a') != std::string::npos);
  early.died(at(2999ms));
  CHECK(early.backend()->failed() == 1);
  CHECK(picks(group, 4, at(3s)) == "b b b b");
  early.died(at(2999ms));  // told once
  CHECK(early.backend()->failed() == 1);
}

TEST_CASE("early deaths within a window add up although each 101 was a success") {
  auto patient = server("a");
  patient.max_fails = 3;
  const upstream group({patient, server("b")}, nullptr, "", {.early_death = 3s});
  for (int i = 0; i != 3; ++i) {
    auto got = pick(group, at(std::chrono::seconds(i)));
    while (got.backend()->name() != "a") got = pick(group, at(std::chrono::seconds(i)));
    got.succeeded(at(std::chrono::seconds(i)));
    got.died(at(std::chrono::seconds(i)));
  }
  CHECK(picks(group, 4, at(3s)) == "b b b b");
}

TEST_CASE("what never was a tunnel cannot die, and without early_death nothing does") {
  const upstream group({server("a"), server("b")}, nullptr, "", {.early_death = 3s});
  auto one = pick(group);
  one.died(start);
  CHECK(one.backend()->failed() == 0);
  one.failed(start);
  one.died(start);
  CHECK(one.backend()->failed() == 1);

  const upstream trusting({server("a"), server("b")});
  auto two = pick(trusting);
  two.succeeded(start);
  two.died(start);
  CHECK(two.backend()->failed() == 0);
}

// ---- slow start

TEST_CASE("a recovered backend gets its whole share within one window") {
  const upstream group({server("a"), server("b"), server("c")});
  fail_once(group, "a", start);
  std::vector<lease> tunnels;  // they stay open
  int on_a = 0;
  for (int i = 0; i != 100; ++i) {
    const auto now = at(11s + std::chrono::milliseconds(100 * i));
    tunnels.push_back(pick(group, now));
    tunnels.back().succeeded(now);
    on_a += tunnels.back().backend()->name() == "a" ? 1 : 0;
  }
  CHECK(on_a >= 32);
}

TEST_CASE("with slow_start the share of an added backend climbs") {
  auto climbing = server("b");
  climbing.slow_start = 100s;
  for (auto* method : {wsproxy::round_robin, wsproxy::least_connections}) {
    upstream group({server("a")}, method());
    group.set_backends({server("a"), climbing});
    std::vector<lease> tunnels;
    for (int i = 0; i != 1000; ++i) pick(group, at(1s));  // the climb begins here
    const auto b = group.backends()[1];
    std::vector<std::uint64_t> share;
    for (int quarter = 0; quarter != 6; ++quarter) {
      const auto before = b->picked();
      for (int i = 0; i != 1000; ++i)
        tunnels.push_back(pick(group, at(1s + std::chrono::milliseconds(25 * (1000 * quarter + i)))));
      share.push_back(b->picked() - before);
    }
    CHECK(share[0] > 50);
    CHECK(share[0] <= 200);
    CHECK(share[1] > share[0]);
    CHECK(share[2] > share[1]);
    CHECK(share[3] > share[2]);
    CHECK(group.status(at(51s))[1].climbed == 0.5);
    CHECK(group.status(at(101s))[1].climbed == 1);
    if (method == wsproxy::round_robin) CHECK(share[5] == 500);
    if (method == wsproxy::least_connections) CHECK(b->active() == 3000);
  }
}

TEST_CASE("a list's first backends do not climb; one that was down, draining or failed does") {
  auto slow = server("b");
  slow.slow_start = 10s;
  const auto climbs = [](const upstream& of) {
    pick_once(of);
    return of.status(start)[1].climbed < 1;
  };
  upstream group({server("a"), slow});
  CHECK_FALSE(climbs(group));
  group.set_backends({server("a"), slow});
  CHECK_FALSE(climbs(group));
  for (auto idle : {&backend_options::down, &backend_options::draining}) {
    upstream other({server("a"), slow});
    auto away = slow;
    away.*idle = true;
    other.set_backends({server("a"), away});
    CHECK_FALSE(climbs(other));
    other.set_backends({server("a"), slow});
    CHECK(climbs(other));
  }
  group.set_healthy(*group.backends()[1], false);
  CHECK_FALSE(climbs(group));
  group.set_healthy(*group.backends()[1], true);
  CHECK(climbs(group));
}

TEST_CASE("slow_start changes nothing of the order where nobody climbs") {
  auto slow = server("a", 5);
  slow.slow_start = 10s;
  CHECK(picks(upstream({slow, server("b"), server("c")}), 7) == "a a b a c a a");
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

TEST_CASE("a change of the list says who came, stayed and went") {
  upstream group({server("a"), server("b"), server("c")});
  const auto before = group.backends();
  const auto changes = group.set_backends({server("d"), server("c", 7), server("a")});
  const auto after = group.backends();
  using backends = std::vector<std::shared_ptr<wsproxy::backend>>;
  CHECK(changes.added == backends{after[0]});
  CHECK(changes.kept == backends{before[2], before[0]});
  CHECK(changes.removed == backends{before[1]});
}

TEST_CASE("an edit is given the present list, and what it leaves is set") {
  upstream group({server("a", 2), backup("x")}, nullptr, "app");
  const auto changes = group.edit_backends([](auto& list) {
    CHECK(list.size() == 2);
    CHECK(list[0].weight == 2);
    CHECK(list[1].backup);
    list[0].weight = 3;
    list.push_back(server("b"));
  });
  CHECK(changes.added.size() == 1);
  CHECK(changes.kept.size() == 2);
  CHECK(group.status(start)[0].options.weight == 3);
  CHECK(picks(group, 4) == "a a b a");

  CHECK_THROWS_MATCHES(group.edit_backends([](auto& list) { list.clear(); }), std::invalid_argument,
                       Message("upstream \"app\": no backends"));
  CHECK_THROWS_AS(group.edit_backends([](auto&) { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(group.backends().size() == 3);
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

TEST_CASE("counters are exact while threads pick, release, reconfigure and tell health") {
  constexpr int threads = 4, rounds = 3000;
  constexpr std::uint32_t most = 9;
  auto bounded = server("a");
  bounded.max_conns = 3;
  bounded.slow_start = 5s;
  auto always = server("b");
  always.max_fails = 0;
  const wsproxy::upstream_options options{
      .max_tunnels = most, .early_death = 2s, .try_failed = true, .retry_budget = {.percent = 50}};
  upstream group({bounded, always}, wsproxy::least_connections(), "", options);
  const auto all = group.backends();
  std::atomic<std::uint64_t> given{0}, failures{0};
  std::atomic<bool> exceeded{false};
  const auto work = [&] {
    std::vector<lease> held;
    for (int i = 0; i != rounds; ++i) {
      const auto now = at(std::chrono::seconds(i));
      auto got = pick(group, now);
      if (all[0]->active() > bounded.max_conns || group.active() > most) exceeded = true;
      const bool counts = got && (got.backend() == all[0] || got.backend() == all[1]);
      if (counts) ++given;
      if (counts && i % 7 < 2) ++failures;
      if (i % 7 == 0) {
        got.failed(now);
      } else {
        got.succeeded(now);
        if (i % 7 == 1) got.died(now);
      }
      held.push_back(std::move(got));
      if (held.size() > 2) held.erase(held.begin());
    }
  };
  std::uint32_t joined = 0, left = 0;
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t != threads; ++t) workers.emplace_back(work);
    workers.emplace_back([&] {
      for (int i = 0; i != 200; ++i) {
        const auto come =
            group.edit_backends([&](auto& list) { list.push_back(server("c" + std::to_string(i))); });
        const auto go = group.edit_backends(
            [](auto& list) { std::erase_if(list, [](const auto& one) { return one.name[0] == 'c'; }); });
        joined += static_cast<std::uint32_t>(come.added.size());
        left += static_cast<std::uint32_t>(go.removed.size());
      }
    });
    workers.emplace_back([&] {
      for (int i = 0; i != 400; ++i) {
        group.set_healthy(*all[0], i % 2 != 0);
        group.set_options(options);
        for (const auto& one : group.status(at(std::chrono::seconds(i))))
          exceeded = exceeded || one.climbed > 1;
        group.allows_retry(at(std::chrono::seconds(i)));
      }
    });
  }
  CHECK(group.backends() == all);
  CHECK_FALSE(exceeded);
  CHECK(joined == 200);
  CHECK(left == 200);
  CHECK(group.active() == 0);
  CHECK(all[0]->active() == 0);
  CHECK(all[1]->active() == 0);
  CHECK(given > rounds);
  CHECK(all[0]->picked() + all[1]->picked() == given);
  CHECK(all[0]->failed() + all[1]->failed() == failures);
}

TEST_CASE("edits of several threads are not lost") {
  upstream group({server("first")});
  {
    std::vector<std::jthread> workers;
    for (int t = 0; t != 4; ++t)
      workers.emplace_back([&, t] {
        for (int i = 0; i != 25; ++i)
          group.edit_backends([&](auto& list) { list.push_back(server("b" + std::to_string(100 * t + i))); });
      });
  }
  CHECK(group.backends().size() == 101);
}

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
      if (fails) got.failed(at(std::chrono::seconds(i)));
      else got.succeeded(at(std::chrono::seconds(i)));
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
