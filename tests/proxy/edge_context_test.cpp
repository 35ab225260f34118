#include <wsproxy/proxy/edge_context.hpp>

#include <atomic>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <asio/dispatch.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <catch2/catch_test_macros.hpp>

#include <wsproxy/proxy/environment.hpp>

namespace {

using namespace std::chrono_literals;
using wsproxy::edge_context;

/// Says when it expired, on the executor.
struct ringing final : wsproxy::timer {
  explicit ringing(asio::any_io_executor on)
      : executor(std::move(on)), work(asio::make_work_guard(executor)) {}
  void expired() override {
    asio::post(executor, [this] {
      ++rings;
      work.reset();
    });
  }
  asio::any_io_executor executor;
  asio::executor_work_guard<asio::any_io_executor> work;
  int rings = 0;
};

}  // namespace

TEST_CASE("an edge_context calls what is posted in its order, and ends when nothing is left") {
  edge_context context;
  std::string order;
  asio::post(context, [&] {
    order += 'a';
    asio::post(context, [&] { order += 'd'; });
    asio::dispatch(context, [&] { order += 'b'; });
  });
  asio::post(context, [&] { order += 'c'; });
  asio::dispatch(context, [&] { order += 'x'; });  // nobody runs it: later, as if posted
  CHECK(order.empty());
  context.run();
  CHECK(order == "abcxd");
  context.run();
  CHECK(order == "abcxd");
}

TEST_CASE("an edge_context waits for work that others hold, and for what they post") {
  edge_context context;
  std::atomic<int> calls{0};
  auto work = asio::make_work_guard(context);
  std::vector<std::thread> others;
  std::atomic<int> left{4};
  for (int i = 0; i != 4; ++i)
    others.emplace_back([&] {
      for (int j = 0; j != 1000; ++j) asio::post(context, [&] { ++calls; });
      if (--left == 0) work.reset();
    });
  context.run();
  for (auto& each : others) each.join();
  context.run();  // what was posted as the last one let go
  CHECK(calls == 4000);
}

TEST_CASE("a type-erased executor keeps an edge_context running while it is tracked") {
  edge_context context;
  const asio::any_io_executor plain = context.get_executor();
  auto tracked = asio::prefer(plain, asio::execution::outstanding_work.tracked);
  bool called = false;
  std::thread other([&, held = std::move(tracked)]() mutable {
    asio::post(held, [&] { called = true; });
    held = asio::any_io_executor();
  });
  context.run();
  other.join();
  context.run();
  CHECK(called);
  CHECK(&asio::query(plain, asio::execution::context) == &context);
}

TEST_CASE("stop ends an edge_context until it is restarted") {
  edge_context context;
  const auto work = asio::make_work_guard(context);
  int calls = 0;
  std::thread other([&] { context.stop(); });
  context.run();
  other.join();
  CHECK(context.stopped());
  asio::post(context, [&] {
    ++calls;
    context.stop();
  });
  context.run();
  CHECK(calls == 0);
  context.restart();
  context.run();
  CHECK(calls == 1);
}

TEST_CASE("an exception leaves run() of an edge_context, and the rest is called by the next") {
  edge_context context;
  bool called = false;
  asio::post(context, [] { throw std::runtime_error("host"); });
  asio::post(context, [&] { called = true; });
  CHECK_THROWS_AS(context.run(), std::runtime_error);
  CHECK(!called);
  context.run();
  CHECK(called);
}

TEST_CASE("an edge_context that goes drops what is posted, and what that posts as it goes") {
  auto held = std::make_shared<int>(1);
  struct posts_at_its_end {
    explicit posts_at_its_end(asio::any_io_executor on, std::shared_ptr<int> what)
        : executor(std::move(on)), kept(std::move(what)) {}
    posts_at_its_end(posts_at_its_end&&) = default;
    ~posts_at_its_end() {
      if (kept) asio::post(executor, [kept = kept] {});
    }
    void operator()() const {}
    asio::any_io_executor executor;
    std::shared_ptr<int> kept;
  };
  {
    edge_context context;
    asio::post(context, posts_at_its_end(context.get_executor(), held));
    CHECK(held.use_count() > 1);
  }
  CHECK(held.use_count() == 1);
}

TEST_CASE("the environment of an edge_context wakes it, from its own thread and from another") {
  edge_context context;
  auto& world = wsproxy::environment_of(asio::make_strand(context));
  CHECK(&world == &wsproxy::environment_of(context.get_executor()));
  ringing soon(context.get_executor()), moved(context.get_executor());
  asio::post(context, [&] { world.arm(soon, world.now() + 1ms); });
  world.arm(moved, world.now() + 1h);
  std::thread other([&] { world.arm(moved, world.now() + 2ms); });
  context.run();
  other.join();
  CHECK(soon.rings == 1);
  CHECK(moved.rings == 1);
}

TEST_CASE("an armed timer keeps an edge_context running until it is disarmed") {
  struct counting final : wsproxy::timer {
    void expired() override { ++rings; }
    int rings = 0;
  } first, never;
  edge_context context;
  auto& world = wsproxy::environment_of(context.get_executor());
  world.arm(first, world.now() + 20ms);
  context.run();
  CHECK(first.rings == 1);
  world.arm(never, world.now() + 1h);
  std::thread other([&] {
    std::this_thread::sleep_for(10ms);
    world.disarm(never);
  });
  context.run();
  other.join();
  CHECK(never.rings == 0);
}

TEST_CASE("Asio's own timers work in an edge_context") {
  edge_context context;
  asio::steady_timer timer(context, 1ms);
  std::thread::id where;
  timer.async_wait([&](std::error_code error) {
    if (!error) where = std::this_thread::get_id();
  });
  context.run();
  CHECK(where == std::this_thread::get_id());
}
