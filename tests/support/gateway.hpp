// A gateway on its own thread, in front of a backend that the test plays itself.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <wsproxy/gateway/gateway.hpp>

#include "tests/support/messages.hpp"

namespace test {

/// Counts and sizes of the big tests are divided by this.
inline std::size_t scale() {
  const char* const text = std::getenv("WSPROXY_TEST_SCALE");
  return text != nullptr ? std::max<std::size_t>(std::strtoul(text, nullptr, 10), 1) : 1;
}

/// Values from another thread, in order.
template <class T> class mailbox {
 public:
  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();
  }
  T take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, patience, [&] { return !values_.empty(); })) throw gave_up("no value came");
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
};

/// Waits until `holds()`, asking again and again.
template <class Condition> bool eventually(Condition holds) {
  for (const auto until = clock::now() + patience; clock::now() < until;) {
    if (holds()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return holds();
}

/// An io_context that a thread of its own runs.
class background {
 public:
  background() : thread_([this] { context.run(); }) {}
  ~background() { finish(); }

  /// Runs `f` on that thread and returns what it returns.
  template <class F> auto call(F f) {
    std::packaged_task<decltype(f())()> task(std::move(f));
    auto done = task.get_future();
    asio::post(context, [task = std::move(task)]() mutable { task(); });
    if (done.wait_for(patience) != std::future_status::ready) throw gave_up("the context's thread hangs");
    return done.get();
  }
  /// Returns when the context has dealt with everything that has reached its sockets so far: between two
  /// handlers that follow each other it asks the kernel.
  void settle(int rounds = 6) {
    std::promise<void> done;
    hop(rounds, done);
    if (done.get_future().wait_for(patience) != std::future_status::ready)
      throw gave_up("the context's thread hangs");
  }
  /// Returns after that time of the context's own: whatever timer of its was due before then has fired.
  void pause(std::chrono::milliseconds length) {
    asio::steady_timer timer(context);
    std::promise<void> done;
    asio::post(context, [&] {
      timer.expires_after(length);
      timer.async_wait([&](std::error_code) { done.set_value(); });
    });
    if (done.get_future().wait_for(length + patience) != std::future_status::ready)
      throw gave_up("the context's thread hangs");
    settle();
  }
  /// Waits until everything has ended by itself.
  void finish() {
    work_.reset();
    if (thread_.joinable()) thread_.join();
  }
  /// Stops wherever it is.
  void abandon() {
    context.stop();
    finish();
  }

  asio::io_context context{1};

 private:
  void hop(int left, std::promise<void>& done) {
    asio::post(context, [this, left, &done] { left == 0 ? done.set_value() : hop(left - 1, done); });
  }
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(context);
  std::thread thread_;
};

/// What a proxy is made of, beside its backend.
struct setup {
  wsproxy::route how{};
  wsproxy::gateway_options options{};
  wsproxy::gateway::selector select{};               // empty: everything is passed on
  std::vector<wsproxy::backend_options> backends{};  // empty: `backend`
};

/// Gateway and backend. Every exchange leaves its result in `results`.
class proxy {
 public:
  explicit proxy(setup with = {})
      : to(with.backends.empty() ? std::vector<wsproxy::backend_options>{{.name = backend.name()}}
                                 : with.backends),
        route_(wsproxy::route::make(std::move(with.how))) {
    auto select = with.select ? std::move(with.select) : [this](const wsproxy::inbound&) { return pass(); };
    server_ = std::make_unique<wsproxy::gateway>(loop.context.get_executor(), std::move(select),
                                                 std::move(with.options));
    const auto at = loop.call([&] { return server_->listen("127.0.0.1:0"); });
    port_ = static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
  }
  ~proxy() {
    server_.reset();
    loop.finish();
  }

  /// What the selector answers.
  wsproxy::decision pass() {
    return wsproxy::pass{.to = to,
                         .how = route_,
                         .on_established =
                             [this](wsproxy::session_handle session) {
                               ++established;
                               sessions.put(session);
                             },
                         .on_end =
                             [this](const wsproxy::forward_result& result) {
                               if (result.established != wsproxy::time_point{}) ++closed;
                               results.put(result);
                             }};
  }

  peer client(int receive_buffer = 0) { return peer::connect(port_, receive_buffer); }
  std::uint16_t port() const noexcept { return port_; }
  wsproxy::gateway& server() { return *server_; }
  void settle(int rounds = 6) { loop.settle(rounds); }
  wsproxy::forward_result result() { return results.take(); }
  /// The gateway's end, as the test wants to see it.
  void destroy_server() { server_.reset(); }

  struct tunnel {
    peer client, backend;
  };
  /// A tunnel, both ends behind the 101.
  tunnel open(std::string_view more = {}) {
    tunnel ends{client(), peer(-1)};
    ends.client.send(handshake(more));
    ends.backend = backend.accept();
    read_head(ends.backend);
    ends.backend.send(switching());
    read_head(ends.client);
    return ends;
  }

  listener backend;
  background loop;
  wsproxy::upstream to;
  mailbox<wsproxy::forward_result> results;
  mailbox<wsproxy::session_handle> sessions;
  std::atomic<int> established{0}, closed{0};

 private:
  std::shared_ptr<const wsproxy::route> route_;
  std::unique_ptr<wsproxy::gateway> server_;
  std::uint16_t port_ = 0;
};

/// Sends on a tunnel whose other side reads nothing, until the proxy holds what it cannot pass on and takes
/// no more.
inline void get_stuck(peer& source, wsproxy::side which, const wsproxy::session_handle& tunnel) {
  const std::string chunk(1 << 20, 'x');
  const auto is_parked = [&] {
    const auto now = tunnel.stats();
    return (which == wsproxy::side::downstream ? now.from_client : now.from_upstream).parked != 0;
  };
  for (std::size_t sent = 0, n = 1; n != 0 || !is_parked(); sent += n) {
    if (sent > 256 * chunk.size()) throw gave_up("everything is taken");
    n = source.send_some(chunk, 10ms);
  }
}

/// A route with these timers.
inline wsproxy::route with_timeouts(const wsproxy::timeouts& times) {
  return {.tunnel = {.timeouts = times}};
}

}  // namespace test
