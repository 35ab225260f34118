#include <wsproxy/upstream/balancer.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "group.hpp"

using namespace wsproxy::test;
using wsproxy::make_balancer;
using wsproxy::pick_request;
using wsproxy::pick_state;
using wsproxy::upstream;

namespace {

/// The last usable backend, from a class.
class last_usable : public wsproxy::balancer {
 public:
  std::optional<std::size_t> pick(pick_request& request) override {
    std::optional<std::size_t> last;
    for (const auto i : request.usable()) last = i;
    return last;
  }
};

std::optional<std::size_t> first_usable(pick_request& request) {
  for (const auto i : request.usable()) return i;
  return std::nullopt;
}

}  // namespace

TEST_CASE("a balancer may be a class") {
  const upstream group({server("a"), server("b"), server("c")}, std::make_shared<last_usable>());
  CHECK(attempts(group) == std::vector<std::string>{"c", "b", "a"});
}

TEST_CASE("a balancer may be a function, with a memory of its own") {
  std::size_t turn = 0;
  const upstream group({server("a"), server("b"), server("c")},
                       make_balancer([turn](pick_request& request) mutable -> std::optional<std::size_t> {
                         return turn++ * 2 % request.size();
                       }));
  CHECK(picks(group, 4) == "a c b a");
}

TEST_CASE("a balancer needs a function") {
  CHECK_THROWS_MATCHES(make_balancer(nullptr), std::invalid_argument,
                       Catch::Matchers::Message("make_balancer: no function"));
}

TEST_CASE("the usable backends are those not down, not tried, not failed out and not full") {
  auto down = server("down"), full = server("full"), bad = server("bad");
  down.down = true;
  full.max_conns = 1;
  std::vector<std::string> seen;
  const upstream group({server("a"), down, full, bad, server("z")}, make_balancer([&](pick_request& request) {
                         seen.clear();
                         for (const auto i : request.usable()) seen.push_back(request.at(i).name());
                         return first_usable(request);
                       }));
  fail_once(group, "bad", start);
  pick_state holder;
  const auto on_a = group.pick({}, holder, start);
  const auto on_full = group.pick({}, holder, start);
  REQUIRE(on_full.backend()->name() == "full");

  pick_state state;
  const auto first = group.pick({}, state, start);
  CHECK(seen == std::vector<std::string>{"a", "z"});
  const auto second = group.pick({}, state, start);
  CHECK(seen == std::vector<std::string>{"z"});
  CHECK_FALSE(group.pick({}, state, start));
  CHECK(seen.empty());
}

TEST_CASE("an answer that is not usable is no answer") {
  auto down = server("a");
  down.down = true;
  const auto always = [](std::size_t i) {
    return make_balancer([i](pick_request&) { return std::optional<std::size_t>(i); });
  };
  CHECK(pick_once(upstream({down, server("b")}, always(0))) == "-");
  CHECK(pick_once(upstream({down, server("b")}, always(2))) == "-");
  CHECK(attempts(upstream({down, server("b")}, always(1))) == std::vector<std::string>{"b"});
}

TEST_CASE("a balancer sees what the pick is for") {
  wsproxy::request_head head;
  head.target = "/chat";
  std::string seen;
  const upstream group({server("a", 7)}, make_balancer([&](pick_request& request) {
                         seen = request.head->target + " " + std::string(request.client) + " " +
                                std::string(request.hash_key) + " " + std::to_string(request.random) + " " +
                                std::to_string(request.options(0).weight);
                         CHECK(request.now == start);
                         return first_usable(request);
                       }));
  pick_state state;
  CHECK(group.pick({.head = &head, .client = "10.0.0.9", .hash_key = "user", .random = 42}, state, start));
  CHECK(seen == "/chat 10.0.0.9 user 42 7");
}

TEST_CASE("a method's memory lasts for a request, and starts anew with the backups") {
  std::vector<std::pair<unsigned, unsigned>> seen;
  auto backup = server("backup");
  backup.backup = true;
  const upstream group({server("a"), server("b"), backup}, make_balancer([&](pick_request& request) {
                         seen.emplace_back(request.state.steps, request.state.tries);
                         ++request.state.steps;
                         request.state.tries += 2;
                         return first_usable(request);
                       }));
  CHECK(attempts(group) == std::vector<std::string>{"a", "b", "backup"});
  // a, b, none of the primaries, the backup, none of the backups
  CHECK(seen == std::vector<std::pair<unsigned, unsigned>>{{0, 0}, {1, 2}, {2, 4}, {0, 0}, {1, 2}});
}

TEST_CASE("the version names a list and a tier") {
  std::vector<std::uint64_t> versions;
  auto backup = server("backup");
  backup.backup = true;
  upstream group({server("a"), backup}, make_balancer([&](pick_request& request) {
                   versions.push_back(request.version);
                   return first_usable(request);
                 }));
  pick_state first;
  group.pick({}, first, start);
  group.pick({}, first, start);  // a is used up, then the backup
  pick_once(group);
  group.set_backends({server("a"), backup});
  pick_once(group);
  REQUIRE(versions.size() == 5);
  CHECK(versions[0] == versions[1]);
  CHECK(versions[1] != versions[2]);
  CHECK(versions[3] == versions[0]);
  CHECK(versions[4] != versions[0]);
  CHECK(versions[4] != versions[2]);
}

TEST_CASE("what a balancer throws reaches the caller, and the upstream goes on") {
  bool broken = true;
  const upstream group({server("a")}, make_balancer([&](pick_request& request) {
                         if (broken) throw std::runtime_error("mine");
                         return first_usable(request);
                       }));
  CHECK_THROWS_AS(pick_once(group), std::runtime_error);
  broken = false;
  CHECK(pick_once(group) == "a");
}
