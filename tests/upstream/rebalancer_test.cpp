#include <wsproxy/upstream/rebalancer.hpp>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "group.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::Message;
using wsproxy::rebalance_options;
using wsproxy::rebalancer;
using wsproxy::test::at;

namespace {

/// Backends with tunnels, and a rebalancer that is asked every second. What it moves is gone at once, and
/// comes back where `place` says.
class group {
 public:
  explicit group(rebalance_options options) : even(options) {}

  void set(const std::string& name, std::uint32_t tunnels, double weight = 1) {
    auto& one = find_or_add(name);
    one.tunnels = tunnels;
    one.weight = weight;
  }
  void accepting(const std::string& name, bool value) { find_or_add(name).accepting = value; }
  void climbed(const std::string& name, double part) { find_or_add(name).climbed = part; }
  void remove(const std::string& name) {
    std::erase_if(all, [&](const auto& one) { return one.which->name() == name; });
  }
  std::uint32_t tunnels(const std::string& name) { return find_or_add(name).tunnels; }

  /// "a:2 b:1": what is moved off which backend, after `later` more.
  std::string tick(std::chrono::milliseconds later = 1s) {
    now += later;
    std::string text;
    for (const auto& [from, count] : even.tick(all, at(now))) {
      auto& one = find_or_add(from->name());
      REQUIRE(count <= one.tunnels);
      one.tunnels -= count;
      text += (text.empty() ? "" : " ") + from->name() + ":" + std::to_string(count);
      for (std::uint32_t i = 0; i != count; ++i)
        if (place) ++place().tunnels;
    }
    return text;
  }
  /// Tunnels moved until nothing was for ten seconds, or `most` seconds passed.
  std::uint32_t settle(int most = 100000) {
    std::uint32_t moved = 0;
    const auto sum = [&] {
      return std::accumulate(all.begin(), all.end(), 0u,
                             [](auto n, const auto& one) { return n + one.tunnels; });
    };
    const auto placing = std::exchange(place, nullptr);
    for (int quiet = 0; quiet != 10 && most != 0; --most) {
      const auto before = sum();
      tick();
      const auto gone = before - sum();
      for (std::uint32_t i = 0; i != gone; ++i)
        if (placing) ++placing().tunnels;
      moved += gone;
      quiet = gone == 0 ? quiet + 1 : 0;
    }
    place = placing;
    return moved;
  }
  rebalancer::load& least() {
    return *std::ranges::min_element(all, {}, [](const auto& one) { return one.tunnels / one.weight; });
  }
  rebalancer::load& next() { return all[turn++ % all.size()]; }

  rebalancer even;
  std::vector<rebalancer::load> all;
  std::function<rebalancer::load&()> place;
  std::chrono::milliseconds now{0};

 private:
  rebalancer::load& find_or_add(const std::string& name) {
    for (auto& one : all)
      if (one.which->name() == name) return one;
    all.push_back({.which = std::make_shared<wsproxy::backend>(name, wsproxy::address{})});
    return all.back();
  }
  std::size_t turn = 0;
};

/// Two full backends, and one that joins.
group joined(rebalance_options options, std::uint32_t each = 60) {
  group g(options);
  g.set("a", each);
  g.set("b", each);
  REQUIRE(g.tick().empty());
  g.set("c", 0);
  return g;
}

}  // namespace

TEST_CASE("nothing is moved where nobody joined, however uneven it is") {
  group g({.rate = 10});
  g.set("a", 100);
  g.set("b", 0);
  for (int i = 0; i != 5; ++i) CHECK(g.tick().empty());
  g.set("a", 200, 1);
  CHECK(g.tick().empty());
  g.remove("b");
  CHECK(g.tick().empty());
  CHECK_FALSE(g.even.moving());
}

TEST_CASE("a rate of zero moves nothing") {
  auto g = joined({.rate = 0});
  for (int i = 0; i != 5; ++i) CHECK(g.tick().empty());
}

TEST_CASE("after a backend joined, the fullest let go at the rate, down to the fair share") {
  auto g = joined({.rate = 4});
  g.set("b", 64);
  g.place = [&]() -> rebalancer::load& { return g.least(); };
  CHECK(g.tick().empty());  // the rate counts from here
  CHECK(g.even.moving());
  CHECK(g.tick() == "b:4");
  CHECK(g.tick() == "a:2 b:2");
  CHECK(g.tick(500ms) == "a:1 b:1");
  g.settle();
  CHECK_FALSE(g.even.moving());
  CHECK(g.tunnels("a") == 42);  // 124 / 3, rounded up
  CHECK(g.tunnels("b") == 42);
  // Balanced: from here on nothing is touched.
  g.set("a", 200);
  CHECK(g.settle() == 0);
}

TEST_CASE("at most the rate, and late calls make no burst") {
  auto g = joined({.rate = 0.5});
  CHECK(g.tick().empty());
  CHECK(g.tick().empty());
  CHECK(g.tick() == "a:1");
  CHECK(g.tick(100ms).empty());
  CHECK(g.tick(1900ms) == "b:1");
  CHECK(g.tick(1h) == "a:1");
  CHECK(g.tick(1s).empty());

  auto many = joined({.rate = 10});
  many.tick();
  int moved = 0;
  for (int i = 0; i != 100; ++i)
    if (!many.tick(10ms).empty()) ++moved;
  CHECK(moved == 10);
  CHECK(many.tick(1h) == "a:5 b:5");
}

TEST_CASE("it begins only above the threshold, and then goes on below it") {
  // Fair: 40 each. A fifth more is 48.
  const auto with = [](std::uint32_t fullest) {
    group g({.rate = 100, .threshold = 0.2});
    g.set("a", fullest);
    g.set("b", 45);
    g.tick();
    g.set("c", 120 - 45 - fullest);
    g.tick();
    return g;
  };
  auto below = with(48);
  CHECK_FALSE(below.even.moving());
  CHECK(below.tick().empty());
  auto above = with(49);
  CHECK(above.even.moving());
  CHECK(above.tick() == "a:9 b:5");
}

TEST_CASE("a newcomer that waits below the threshold still counts when the threshold is passed") {
  group g({.rate = 100, .threshold = 0.5});
  g.set("a", 50);
  g.set("b", 50);
  g.tick();
  g.set("c", 35);
  for (int i = 0; i != 3; ++i) CHECK(g.tick().empty());
  g.set("a", 100);
  g.tick();
  CHECK(g.even.moving());
}

TEST_CASE("a newcomer that has had its fair share is none any longer") {
  group g({.rate = 100});
  g.set("a", 50);
  g.tick();
  g.set("b", 50);
  CHECK(g.tick().empty());
  g.set("a", 500);
  CHECK(g.settle() == 0);
}

TEST_CASE("no backend is brought below its fair share, by weight and rounded up") {
  group g({.rate = 1000});
  g.set("a", 100, 1);
  g.set("b", 100, 2);
  g.set("c", 100, 4);
  g.tick();
  g.set("d", 0, 1);
  g.tick();
  CHECK(g.tick() == "a:62 b:25");  // 37.5, 75, 150
  CHECK(g.tunnels("c") == 100);
}

TEST_CASE("the fullest for its weight lets go first") {
  group g({.rate = 3});
  g.set("a", 90, 1);
  g.set("b", 100, 2);
  g.tick();
  g.set("c", 0, 1);
  g.tick();
  CHECK(g.tick() == "a:3");
}

TEST_CASE("a backend that accepts again is a newcomer; its own tunnels stay") {
  group g({.rate = 100});
  g.set("a", 90);
  g.set("b", 90);
  g.set("c", 30);
  g.tick();
  g.accepting("c", false);
  CHECK(g.settle() == 0);
  g.accepting("c", true);
  CHECK(g.tick().empty());
  CHECK(g.tick() == "a:20 b:20");
}

TEST_CASE("backends that do not accept count for nothing and let go of none") {
  group g({.rate = 100});
  g.set("a", 60);
  g.set("b", 600);
  g.accepting("b", false);
  g.tick();
  g.set("c", 0);
  g.tick();
  CHECK(g.tick() == "a:30");
}

TEST_CASE("it ends when the newcomer goes, or stops accepting") {
  auto gone = joined({.rate = 1});
  gone.tick();
  REQUIRE(gone.even.moving());
  gone.remove("c");
  CHECK(gone.tick().empty());
  CHECK_FALSE(gone.even.moving());

  auto failed = joined({.rate = 1});
  failed.tick();
  REQUIRE(failed.tick() == "a:1");
  failed.accepting("c", false);
  CHECK(failed.tick().empty());
  failed.accepting("c", true);
  failed.tick();
  CHECK(failed.even.moving());
}

TEST_CASE("a weight that still climbs counts for what it is, and is waited for") {
  auto g = joined({.rate = 1000});
  g.place = [&]() -> rebalancer::load& { return g.all.back(); };
  g.climbed("c", 0);
  CHECK(g.settle() == 0);
  g.climbed("c", 0.5);
  CHECK(g.settle() == 24);  // 120 on 2.5
  CHECK(g.tunnels("a") == 48);
  g.climbed("c", 1);
  CHECK(g.settle() == 0);  // 40 are fair: 48 is not above the threshold
  g.set("a", 60);
  CHECK(g.settle() == 16 + 4);  // 132 on 3: 44
  CHECK(g.tunnels("c") == 44);
}

TEST_CASE("a method that places evenly fills the newcomer too") {
  auto g = joined({.rate = 7}, 600);
  g.place = [&]() -> rebalancer::load& { return g.next(); };
  g.settle();
  CHECK(g.tunnels("c") >= 395);
  CHECK(g.tunnels("a") <= 405);
}

TEST_CASE("a method that gives the newcomer nothing is not served for ever") {
  auto g = joined({.rate = 7}, 60);
  g.place = [&]() -> rebalancer::load& { return g.all[0].tunnels < g.all[1].tunnels ? g.all[0] : g.all[1]; };
  CHECK(g.settle() == 40 * 3);
  CHECK(g.settle() == 0);
  g.set("d", 0);  // another one is served anew
  CHECK(g.settle() > 0);
}

TEST_CASE("backends that join while tunnels are moved are served too") {
  auto g = joined({.rate = 5});
  g.place = [&]() -> rebalancer::load& { return g.least(); };
  g.tick();
  g.tick();
  g.set("d", 0);
  g.settle();
  for (const auto& one : g.all) CHECK(one.tunnels == 30);
}

TEST_CASE("it copes with no backends, no tunnels, and a clock that stands still") {
  group g({.rate = 10});
  CHECK(g.tick().empty());
  g.set("a", 0);
  CHECK(g.tick().empty());
  g.set("a", 10);
  g.set("b", 0);
  CHECK(g.tick(0s).empty());
  CHECK(g.tick(0s).empty());
  CHECK(g.tick(1s) == "a:5");
}

TEST_CASE("options that make no sense are refused") {
  CHECK_THROWS_MATCHES(rebalancer({.rate = -1}), std::invalid_argument,
                       Message("rebalance_options: rate is negative or no number"));
  CHECK_THROWS_MATCHES(rebalancer({.rate = 1, .threshold = std::nan("")}), std::invalid_argument,
                       Message("rebalance_options: threshold is negative or no number"));
  CHECK_THROWS_AS(rebalancer({.rate = std::numeric_limits<double>::infinity()}), std::invalid_argument);
}
