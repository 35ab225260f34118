#include <wsproxy/upstream/consistent_hash.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "group.hpp"

using namespace std::chrono_literals;
using namespace wsproxy::test;
using wsproxy::backend_options;
using wsproxy::bounded_consistent_hash;
using wsproxy::consistent_hash;
using wsproxy::crc32;
using wsproxy::pick_state;
using wsproxy::ring_points;
using wsproxy::upstream;

namespace {

using points = std::vector<std::uint32_t>;

points first_points(std::string_view name, std::size_t count = 5) {
  auto all = ring_points(name, 1);
  all.resize(count);
  return all;
}

/// A ring by the book, searched point by point.
std::map<std::uint32_t, std::string> ring_of(const std::vector<backend_options>& list) {
  std::map<std::uint32_t, std::string> ring;
  for (const auto& each : list)
    for (const auto point : ring_points(each.name, each.weight)) ring.emplace(point, each.name);
  return ring;
}

/// The owners of the points from the key's on, once around.
std::vector<std::string> walk(const std::map<std::uint32_t, std::string>& ring, std::string_view key) {
  std::vector<std::string> owners;
  const auto first = ring.lower_bound(crc32(key));
  for (auto at = first; at != ring.end(); ++at) owners.push_back(at->second);
  for (auto at = ring.begin(); at != first; ++at) owners.push_back(at->second);
  return owners;
}

std::vector<std::string> keys(int count) {
  std::vector<std::string> all;
  for (int i = 0; i != count; ++i) all.push_back("key" + std::to_string(i));
  return all;
}

/// A backend named like `name` at another of its addresses.
backend_options address_of(std::string name, std::string host, unsigned weight = 1) {
  return {
      .name = std::move(name), .at = {wsproxy::address::family::ip, std::move(host), 80}, .weight = weight};
}

}  // namespace

TEST_CASE("crc32 is zlib's") {
  CHECK(crc32("") == 0);
  CHECK(crc32("123456789") == 0xcbf43926);  // the check value of the CRC catalogue
  CHECK(crc32("192.168.1.1") == 0x8845f35f);
  CHECK(crc32("2001:db8::1") == 0x00b4af0e);
  CHECK(crc32("\xff\x80") == crc32(std::string("\xff\x80")));
}

// The chains and keys of this and the next case come from a running nginx's ring.
TEST_CASE("a backend's points are nginx's, in the order they are derived") {
  CHECK(first_points("127.0.0.1:18101") ==
        points{0x4c488820, 0x4496a590, 0x78115e1a, 0x18c9e67f, 0xdb2f60a9});
  CHECK(first_points("10.0.12.108:9000", 4) == points{0xd26e86e2, 0xd8039db2, 0x33fb2275, 0xfdde1da2});
  CHECK(first_points("10.0.12.109:9000", 4) == points{0x3daceddc, 0xaace17fa, 0xae641edc, 0x776945cb});
}

TEST_CASE("keys go where nginx sends them") {
  const std::vector<backend_options> list = {server("10.0.12.108:9000"), server("10.0.12.109:9000")};
  const auto ring = ring_of(list);
  CHECK(ring.size() == 320);
  CHECK(ring.begin()->first == 0x0024e0b0);
  CHECK(ring.rbegin()->first == 0xff387408);

  const upstream group(list, consistent_hash());
  const std::map<std::string, std::string> expected = {
      {"192.168.1.1", "10.0.12.109:9000"}, {"192.168.1.2", "10.0.12.108:9000"},
      {"10.0.0.1", "10.0.12.109:9000"},    {"10.0.0.2", "10.0.12.109:9000"},
      {"127.0.0.1", "10.0.12.108:9000"},   {"2001:db8::1", "10.0.12.109:9000"}};
  for (const auto& [key, backend] : expected) CHECK(pick_once(group, key) == backend);
}

TEST_CASE("a weight adds points and moves none") {
  const auto one = ring_points("a:80", 1), three = ring_points("a:80", 3);
  CHECK(one.size() == 160);
  CHECK(three.size() == 480);
  CHECK(std::equal(one.begin(), one.end(), three.begin()));
}

TEST_CASE("a name is split into host and port as nginx splits it") {
  const auto chain = [](std::string_view host, std::string_view port) {
    return crc32(std::string(host) + '\0' + std::string(port) + std::string(4, '\0'));
  };
  CHECK(first_points("app:81", 1).front() == chain("app", "81"));
  CHECK(first_points("app", 1).front() == chain("app", ""));
  CHECK(first_points("8080", 1).front() == chain("8080", ""));
  CHECK(first_points("app:", 1).front() == chain("app", ""));
  CHECK(first_points("app:http", 1).front() == chain("app:http", ""));
  CHECK(first_points("app1:8x1", 1).front() == chain("app1:8x1", ""));
  CHECK(first_points("[::1]:18104", 1).front() == chain("[::1]", "18104"));
  CHECK(first_points("[::1]", 1).front() == chain("[::1]", ""));
  CHECK(first_points("::1", 1).front() == chain(":", "1"));
  CHECK(first_points("unix:/run/app:1", 1).front() == chain("/run/app:1", ""));
  CHECK(first_points("UNIX:/run/app", 1).front() == chain("/run/app", ""));
}

TEST_CASE("every key goes to the owner of the first point not before it, around the end") {
  const std::vector<backend_options> list = {server("a"), server("b:81", 2), server("unix:/c"),
                                             server("[::1]:5")};
  const auto ring = ring_of(list);
  const upstream group(list, consistent_hash());
  bool wrapped = false;
  for (const auto& key : keys(3000)) {
    CHECK(pick_once(group, key) == walk(ring, key).front());
    wrapped = wrapped || crc32(key) > ring.rbegin()->first;
  }
  CHECK(wrapped);
}

TEST_CASE("a retry goes on along the ring, point by point") {
  const std::vector<backend_options> list = {server("a"), server("b"), server("c"), server("d")};
  const auto ring = ring_of(list);
  const upstream group(list, consistent_hash());
  int compared = 0;
  for (const auto& key : keys(500)) {
    const auto owners = walk(ring, key);
    const auto got = attempts(group, key);
    REQUIRE(std::set<std::string>(got.begin(), got.end()).size() == list.size());
    // A point passed over counts in whichever attempt it is: the ring decides up to the twenty-first.
    std::vector<std::string> expected;
    for (std::size_t at = 0; at <= 20; ++at)
      if (std::find(expected.begin(), expected.end(), owners[at]) == expected.end())
        expected.push_back(owners[at]);
    CHECK(std::equal(expected.begin(), expected.end(), got.begin()));
    compared += static_cast<int>(expected.size());
  }
  CHECK(compared > 1500);
}

TEST_CASE("after twenty points in vain round robin decides") {
  // a owns nearly all points, so that most keys have more than twenty of a's in a row before them.
  std::vector<backend_options> list = {server("a", 200), server("b"), server("c")};
  const auto ring = ring_of(list);
  list.front().down = true;
  const upstream group(list, consistent_hash());
  std::vector<std::string> by_turns;
  for (const auto& key : keys(40)) {
    const auto owners = walk(ring, key);
    const auto first_other =
        std::find_if(owners.begin(), owners.end(), [](const auto& name) { return name != "a"; });
    if (first_other - owners.begin() > 20) by_turns.push_back(pick_once(group, key));
    else CHECK(pick_once(group, key) == *first_other);
  }
  REQUIRE(by_turns.size() > 20);
  for (std::size_t i = 1; i != by_turns.size(); ++i) CHECK(by_turns[i] != by_turns[i - 1]);
}

TEST_CASE("the twentieth point in vain still lets the next one decide") {
  std::vector<backend_options> list = {server("a", 20), server("b"), server("c")};
  const auto ring = ring_of(list);
  list.front().down = true;
  // A key with exactly `passed` points of a's before another's; nothing but the count differs.
  const auto key_after = [&](std::ptrdiff_t passed) {
    for (const auto& key : keys(100000)) {
      const auto owners = walk(ring, key);
      const auto other =
          std::find_if(owners.begin(), owners.end(), [](const auto& name) { return name != "a"; });
      if (other - owners.begin() == passed) return std::pair(key, *other);
    }
    FAIL("no such key");
    return std::pair<std::string, std::string>();
  };
  const auto other_than = [](const std::string& name) { return name == "b" ? "c" : "b"; };
  // Round robin's turn is made to be the other backend's, so that the two ways differ.
  const auto pick_out_of_turn = [&](const std::string& key, const std::string& next) {
    const upstream group(list, consistent_hash());
    if (other_than(next) == std::string("c")) pick_once(group);  // b's turn passes
    return pick_once(group, key);
  };
  const auto [within, on_ring] = key_after(20);
  CHECK(pick_out_of_turn(within, on_ring) == on_ring);
  const auto [beyond, not_reached] = key_after(21);
  CHECK(pick_out_of_turn(beyond, not_reached) == other_than(not_reached));
}

TEST_CASE("an empty key goes round robin") {
  const upstream group({server("a", 2), server("b")}, consistent_hash());
  CHECK(picks(group, 6) == "a b a a b a");
}

TEST_CASE("a single backend needs no key and no ring") {
  CHECK(pick_once(upstream({server("a")}, consistent_hash()), "any") == "a");
  CHECK(attempts(upstream({server("a")}, consistent_hash()), "any") == std::vector<std::string>{"a"});
}

TEST_CASE("several addresses of one name share its keys by turns and weight") {
  const upstream group({address_of("app", "10.0.0.1", 2), server("other"), address_of("app", "10.0.0.2")},
                       consistent_hash());
  std::string key;
  for (const auto& each : keys(100))
    if (pick_once(group, each) == "app") key = each;
  // Three picks are a round, whatever turn they begin with.
  std::map<std::string, int> hosts;
  for (int i = 0; i != 30; ++i) {
    pick_state state;
    ++hosts[group.pick({.hash_key = key}, state, start).backend()->address().host];
  }
  CHECK(hosts == std::map<std::string, int>{{"10.0.0.1", 20}, {"10.0.0.2", 10}});

  pick_state state;
  const auto first = group.pick({.hash_key = key}, state, start),
             second = group.pick({.hash_key = key}, state, start);
  CHECK(first.backend()->name() == "app");
  CHECK(second.backend()->name() == "app");
  CHECK(first.backend() != second.backend());
}

TEST_CASE("addresses of one name have its points once for each weight") {
  const std::vector<backend_options> list = {address_of("app", "10.0.0.1"), address_of("app", "10.0.0.2", 3),
                                             server("other", 2)};
  const upstream group(list, consistent_hash());
  const auto ring = ring_of({server("app", 3), server("other", 2)});
  for (const auto& key : keys(1000)) CHECK(pick_once(group, key) == walk(ring, key).front());
}

TEST_CASE("when a backend goes only its keys move, and they come back") {
  const std::vector<backend_options> five = {server("a"), server("b"), server("c"), server("d"), server("e")};
  upstream group(five, consistent_hash());
  std::map<std::string, std::string> before;
  for (const auto& key : keys(2000)) before[key] = pick_once(group, key);

  group.set_backends({five[0], five[1], five[3], five[4]});
  int moved = 0;
  for (const auto& [key, backend] : before) {
    const auto now = pick_once(group, key);
    if (backend != "c") CHECK(now == backend);
    moved += now != backend ? 1 : 0;
  }
  CHECK(moved > 200);
  CHECK(moved < 600);

  group.set_backends({five[4], five[3], five[2], five[1], five[0]});
  for (const auto& [key, backend] : before) CHECK(pick_once(group, key) == backend);
}

TEST_CASE("a failed backend's keys walk on, the others stay") {
  const std::vector<backend_options> list = {server("a"), server("b"), server("c")};
  const auto ring = ring_of(list);
  const upstream group(list, consistent_hash());
  fail_once(group, "b", start);
  for (const auto& key : keys(500)) {
    const auto owners = walk(ring, key);
    const auto usable =
        std::find_if(owners.begin(), owners.end(), [](const auto& name) { return name != "b"; });
    if (usable - owners.begin() <= 20) CHECK(pick_once(group, key) == *usable);
  }
}

TEST_CASE("a list that changes between two attempts starts the walk anew") {
  upstream group({server("a"), server("b"), server("c")}, consistent_hash());
  const std::vector<backend_options> next = {server("a"), server("b"), server("c"), server("d")};
  const auto ring = ring_of(next);
  for (const auto& key : keys(50)) {
    group.set_backends({server("a"), server("b"), server("c")});
    pick_state state;
    const auto first = group.pick({.hash_key = key}, state, start).backend()->name();
    group.set_backends(next);
    const auto owners = walk(ring, key);
    const auto expected =
        std::find_if(owners.begin(), owners.end(), [&](const auto& name) { return name != first; });
    REQUIRE(expected - owners.begin() <= 20);
    CHECK(group.pick({.hash_key = key}, state, start).backend()->name() == *expected);
  }
}

TEST_CASE("consistent hashing allows no backups") { CHECK_FALSE(consistent_hash()->allows_backups()); }

// ---- bounded load

namespace {

/// Leases that stay, one per key.
std::vector<wsproxy::lease> hold(const upstream& from, int count, const std::string& prefix = "key") {
  std::vector<wsproxy::lease> held;
  for (int i = 0; i != count; ++i) {
    const auto key = prefix + std::to_string(i);
    pick_state state;
    held.push_back(from.pick({.hash_key = key}, state, start));
  }
  return held;
}

std::uint32_t most_active(const upstream& of) {
  std::uint32_t most = 0;
  for (const auto& one : of.backends()) most = std::max(most, one->active());
  return most;
}

std::vector<backend_options> servers(int count) {
  std::vector<backend_options> all;
  for (int i = 0; i != count; ++i) all.push_back(server("10.0.0." + std::to_string(i) + ":80"));
  return all;
}

}  // namespace

TEST_CASE("bounded: where nobody is over the bound, keys go where consistent_hash puts them") {
  const upstream plain(servers(10), consistent_hash());
  const upstream bounded(servers(10), bounded_consistent_hash(1000));
  for (int i = 0; i != 1000; ++i) {
    const auto key = "key" + std::to_string(i);
    CHECK(pick_once(bounded, key) == pick_once(plain, key));
  }
}

TEST_CASE("bounded: no backend gets more than its part of the load and what may be over") {
  for (const double most : {1.1, 1.25, 2.0}) {
    const upstream group(servers(10), bounded_consistent_hash(most));
    const auto held = hold(group, 1000);
    CHECK(most_active(group) <= std::ceil(most * 100));
  }
  // One key that all share spreads too.
  const upstream group(servers(10), bounded_consistent_hash(1.5));
  std::vector<wsproxy::lease> held;
  for (int i = 0; i != 100; ++i) {
    pick_state state;
    held.push_back(group.pick({.hash_key = "popular"}, state, start));
  }
  CHECK(most_active(group) == 15);
}

TEST_CASE("bounded: the bound is by weight") {
  const upstream group({server("a", 1), server("b", 3)}, bounded_consistent_hash(1.01));
  const auto held = hold(group, 400);
  CHECK(group.backends()[0]->active() <= 102);
  CHECK(group.backends()[1]->active() <= 304);
}

TEST_CASE("bounded: at low counts the first tunnels go to as many backends") {
  const upstream group(servers(10), bounded_consistent_hash(1.25));
  const auto held = hold(group, 8);
  CHECK(most_active(group) == 1);
}

TEST_CASE("bounded: a key that was passed on returns when there is room") {
  const upstream group({server("a"), server("b"), server("c")}, bounded_consistent_hash(1.25));
  const auto owner = pick_once(group, "popular");
  std::vector<wsproxy::lease> held;
  const auto more = [&] {
    pick_state state;
    held.push_back(group.pick({.hash_key = "popular"}, state, start));
    return held.back().backend()->name();
  };
  REQUIRE(more() == owner);
  CHECK(more() != owner);
  held.clear();
  CHECK(more() == owner);
}

TEST_CASE("bounded: failed, draining and down backends have no part in the average") {
  auto drained = server("b");
  drained.draining = true;
  auto gone = server("c");
  gone.down = true;
  upstream group({server("a"), drained, gone, server("d"), server("e")}, bounded_consistent_hash(1.25));
  group.set_healthy(*group.backends()[4], false);
  const auto held = hold(group, 100);
  for (const auto& one : held) REQUIRE(one);
  CHECK(group.backends()[0]->active() <= 63);
  CHECK(group.backends()[3]->active() <= 63);
}

TEST_CASE("bounded: with nobody below the bound a key goes where consistent_hash puts it") {
  auto full = server("a");
  full.max_conns = 1;
  const upstream group({full, server("b")}, bounded_consistent_hash(1.1));
  const auto held = hold(group, 50);
  for (const auto& one : held) CHECK(one);
  CHECK(group.backends()[1]->active() == 49);
}

TEST_CASE("bounded: a request's attempts go on along the ring, each backend once") {
  const upstream group(servers(30), bounded_consistent_hash(1.25));
  const auto names = attempts(group, "some key");
  CHECK(names.size() == 30);
  const upstream plain(servers(30), consistent_hash());
  const auto same = attempts(plain, "some key");
  CHECK(names[0] == same[0]);
}

TEST_CASE("bounded: a key that is empty, or a single backend, is round robin's") {
  CHECK(picks(upstream({server("a"), server("b")}, bounded_consistent_hash()), 4) == "a b a b");
  CHECK(pick_once(upstream({server("a")}, bounded_consistent_hash()), "key") == "a");
}

TEST_CASE("bounded: a bound that makes no sense is refused") {
  for (const double most : {1.0, 0.0, -1.0, 1000.5, std::nan("")})
    CHECK_THROWS_AS(bounded_consistent_hash(most), std::invalid_argument);
  CHECK_FALSE(bounded_consistent_hash()->allows_backups());
  CHECK_FALSE(bounded_consistent_hash()->allows_slow_start());
}
