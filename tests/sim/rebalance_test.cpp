#include <wsproxy/proxy/rebalance.hpp>

#include <catch2/catch_test_macros.hpp>

#include <optional>
#include <stdexcept>

#include <wsproxy/upstream/least_connections.hpp>

#include "clients.hpp"

using namespace sim;
using namespace wsproxy;

namespace {

using counts = std::map<std::string, int>;

}  // namespace

TEST_CASE("A backend that joins gets its share of the live tunnels, a few per second, with Close 1012") {
  clients c({"b1:1000", "b2:1000"}, least_connections());
  c.come_again = true;
  c.open(60);
  std::uint32_t moved = 0;
  rebalancing even(
      c.w.executor(), c.group, {c.live},
      {.how = {.rate = 4}, .on_move = [&](const rebalancer::move& m) { moved += m.tunnels; }, .world = &c.w});
  c.w.run_for(10s);
  CHECK(c.told(1012) == 0);  // nobody joined
  c.group.set_backends(c.list({"b1:1000", "b2:1000", "b3:1000"}));
  const auto began = c.w.now();
  c.w.run_for(2500ms);
  CHECK(c.told(1012) > 0);
  CHECK(c.told(1012) <= 12);
  c.w.run_for(60s);
  CHECK(c.spread() == counts{{"b1:1000", 20}, {"b2:1000", 20}, {"b3:1000", 20}});
  CHECK(c.told(1012) == 20);
  CHECK(moved == 20);
  CHECK(c.live.count() == 60);
  for (const auto& each : c.all)
    if (each.close_code) CHECK(each.closed_at < began + 10s);
}

TEST_CASE("A tunnel that was told to go and lingers is not told again, nor counted") {
  clients c({"b1:1000"}, least_connections());
  c.open(10);
  for (auto& each : c.all) each.who->on_receive = nullptr;  // they never answer the Close
  rebalancing even(c.w.executor(), c.group, {c.live}, {.how = {.rate = 100}, .every = 100ms, .world = &c.w});
  c.w.run_for(1s);
  c.group.set_backends(c.list({"b1:1000", "b2:1000"}));
  c.w.run_for(3s);
  std::size_t told = 0;
  for (const auto& each : c.all) {
    const auto frames =
        read_frames(std::string_view(each.who->received).substr(each.who->received.find("\r\n\r\n") + 4))
            .frames;
    CHECK(frames.size() <= 1);
    told += frames.size();
  }
  CHECK(told == 5);
}

TEST_CASE("The end of a rebalancing ends the moving") {
  clients c({"b1:1000"}, least_connections());
  c.open(20);
  std::optional<rebalancing> even;
  even.emplace(c.w.executor(), c.group, std::vector{c.live},
               rebalancing_options{.how = {.rate = 1}, .world = &c.w});
  c.w.run_for(1s);
  c.group.set_backends(c.list({"b1:1000", "b2:1000"}));
  c.w.run_for(3s);
  even.reset();
  c.w.run_for(100ms);  // what was said arrives
  const auto told = c.told(1012);
  CHECK(told > 0);
  c.w.run_for(30s);
  CHECK(c.told(1012) == told);
}

TEST_CASE("What cannot be rebalanced is refused by name") {
  world w;
  const upstream group({{.name = "a:1"}});
  CHECK_THROWS_AS(rebalancing(w.executor(), group, {}, {.every = 0ms, .world = &w}), std::invalid_argument);
  CHECK_THROWS_AS(rebalancing(w.executor(), group, {}, {.how = {.rate = -1}, .world = &w}),
                  std::invalid_argument);
}
