#include <wsproxy/proxy/detail/health_plan.hpp>

#include <catch2/catch_test_macros.hpp>

using namespace wsproxy;
using namespace std::chrono_literals;
using detail::health_plan;

namespace {

std::shared_ptr<backend> make(const char* name) {
  return std::make_shared<backend>(name, address::parse(name));
}

constexpr time_point start{1h};

/// One backend that is asked and told, over and over.
struct single {
  explicit single(unsigned rise, unsigned fall) : plan({10s, 0, rise, fall}) {
    const std::shared_ptr<backend> list[] = {one};
    plan.set_backends(list, now);
  }
  bool tell(bool passed) {
    now = plan.next();
    REQUIRE(plan.take_due(now) == one);
    return plan.told(*one, passed, now, 0.5);
  }
  std::shared_ptr<backend> one = make("a:1");
  time_point now = start;
  health_plan plan;
};

}  // namespace

TEST_CASE("health_plan: a state changes after rise or fall answers in a row, not before") {
  for (unsigned rise = 1; rise != 4; ++rise) {
    for (unsigned fall = 1; fall != 4; ++fall) {
      CAPTURE(rise, fall);
      single s(rise, fall);
      CHECK_FALSE(s.tell(true));
      for (int round = 0; round != 2; ++round) {
        for (unsigned i = 1; i != fall; ++i) CHECK_FALSE(s.tell(false));
        if (fall > 1) {
          CHECK_FALSE(s.tell(true));  // begins the row anew
          for (unsigned i = 1; i != fall; ++i) CHECK_FALSE(s.tell(false));
        }
        CHECK(s.plan.is_healthy(*s.one));
        CHECK(s.tell(false));
        CHECK_FALSE(s.plan.is_healthy(*s.one));
        CHECK(s.plan.unhealthy() == std::vector{s.one});
        CHECK_FALSE(s.tell(false));
        for (unsigned i = 1; i != rise; ++i) CHECK_FALSE(s.tell(true));
        if (rise > 1) {
          CHECK_FALSE(s.tell(false));
          for (unsigned i = 1; i != rise; ++i) CHECK_FALSE(s.tell(true));
        }
        CHECK(s.tell(true));
        CHECK(s.plan.is_healthy(*s.one));
        CHECK(s.plan.unhealthy().empty());
      }
    }
  }
}

TEST_CASE("health_plan: the interval goes from start to start, and never asks twice at a time") {
  single s(1, 1);
  REQUIRE(s.plan.take_due(start) == s.one);
  CHECK(s.plan.take_due(start + 1h) == nullptr);
  CHECK(s.plan.next() == time_point::max());
  s.plan.told(*s.one, true, start + 4s, 0.5);
  CHECK(s.plan.next() == start + 10s);
  CHECK(s.plan.take_due(start + 9999ms) == nullptr);
  REQUIRE(s.plan.take_due(start + 10s) == s.one);
  s.plan.told(*s.one, true, start + 25s, 0.5);  // slower than the interval: at once
  CHECK(s.plan.next() == start + 25s);
  CHECK_FALSE(s.plan.told(*s.one, false, start + 25s, 0.5));  // nobody asked
  CHECK(s.plan.is_healthy(*s.one));
}

TEST_CASE("health_plan: the jitter is a share of the interval, both ways") {
  const auto one = make("a:1");
  for (const auto& [chance, gap] : {std::pair{0.0, 8s}, {0.5, 10s}, {1.0, 12s}}) {
    health_plan plan({10s, 0.2, 1, 1});
    plan.set_backends(std::span(&one, 1), start);
    plan.take_due(start);
    plan.told(*one, true, start, chance);
    CHECK(plan.next() == start + gap);
  }
}

TEST_CASE(
    "health_plan: a backend that stays keeps its state, one that left is forgotten, one that came is due") {
  const auto a = make("a:1"), b = make("b:1"), c = make("c:1");
  health_plan plan({10s, 0, 2, 1});
  const std::shared_ptr<backend> first[] = {a, b}, second[] = {c, a};
  plan.set_backends(first, start);
  CHECK(plan.take_due(start) == a);
  CHECK(plan.take_due(start) == b);
  CHECK(plan.told(*a, false, start, 0.5));
  plan.set_backends(second, start + 1s);
  CHECK_FALSE(plan.is_healthy(*a));
  CHECK_FALSE(plan.is_known(*b));
  CHECK_FALSE(plan.told(*b, false, start + 2s, 0.5));
  CHECK(plan.take_due(start + 1s) == c);
  CHECK(plan.take_due(start + 1s) == nullptr);
  CHECK(plan.next() == start + 10s);
}
