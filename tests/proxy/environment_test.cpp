#include <wsproxy/proxy/environment.hpp>

#include <atomic>
#include <thread>
#include <vector>

#include <asio/io_context.hpp>
#include <catch2/catch_test_macros.hpp>

using namespace std::chrono_literals;

namespace {

struct counting_timer final : wsproxy::timer {
  void expired() override { ++fired; }
  std::atomic<int> fired{0};
};

}  // namespace

TEST_CASE("a timer armed anew for the time of a cancelled wait waits, and does not spin") {
  asio::io_context io;
  auto& world = wsproxy::environment_of(io.get_executor());
  counting_timer t;
  const auto at = world.now() + 100ms;
  world.arm(t, at);
  io.poll();
  world.disarm(t);  // the last one: its wait is cancelled, and its handler not yet run
  world.arm(t, at);
  const auto handlers = io.run();
  CHECK(t.fired == 1);
  CHECK(world.now() >= at);
  CHECK(handlers <= 3);
}

TEST_CASE("the environment keeps a context running for as long as a timer is armed") {
  asio::io_context io;
  auto& world = wsproxy::environment_of(io.get_executor());
  CHECK(&world == &wsproxy::environment_of(io.get_executor()));
  counting_timer early, late, never;
  world.arm(never, world.now() + 1h);
  world.arm(late, world.now() + 20ms);
  world.arm(early, world.now() + 10ms);
  world.disarm(never);
  io.run();
  CHECK(early.fired == 1);
  CHECK(late.fired == 1);
  CHECK(never.fired == 0);
}

TEST_CASE("timers can be armed and disarmed from any thread") {
  asio::io_context io;
  auto& world = wsproxy::environment_of(io.get_executor());
  counting_timer last;
  world.arm(last, world.now() + 1h);
  std::thread runner([&] { io.run(); });
  std::vector<std::thread> threads;
  std::atomic<int> fired{0};
  for (int i = 0; i != 4; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round != 200; ++round) {
        counting_timer mine;
        world.arm(mine, world.now() + (round % 2 == 0 ? 0ms : 1h));
        if (round % 2 == 0)
          while (mine.fired == 0 && !io.stopped()) std::this_thread::yield();
        world.disarm(mine);
        fired += mine.fired;
      }
    });
  for (auto& each : threads) each.join();
  CHECK_FALSE(io.stopped());
  CHECK(fired == 400);
  world.disarm(last);
  runner.join();
}
