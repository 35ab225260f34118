#include <wsproxy/proxy/discovery.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <wsproxy/upstream/least_connections.hpp>

#include "tests/support/gateway.hpp"

using namespace test;

namespace {

/// Answers every request and every handshake, each on a thread; says at each request how it is called.
class echo_server {
 public:
  echo_server() : thread_([this] { serve(); }) {}
  ~echo_server() {
    over_ = true;
    thread_.join();
  }
  const std::string& name() const { return listener_.name(); }

 private:
  void serve() {
    std::vector<std::thread> all;
    while (!over_)
      if (auto accepted = listener_.accept_within(5ms))
        all.emplace_back([this, p = std::make_shared<peer>(std::move(*accepted))] {
          try {
            treat(*p);
          } catch (const std::exception&) {  // the proxy has gone
          }
        });
    for (auto& each : all) each.join();
  }
  void treat(peer& p) {
    if (field_of(read_head(p), "Upgrade") == "(none)") return p.send(ok(name()));
    p.send(switching());
    for (;;) {
      const auto f = read_frame(p);
      p.send(server_frame(f.code, f.payload));
      if (f.code == close_frame) return;
    }
  }
  listener listener_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

/// Changes the list as fast as it can, on a thread of its own.
class restless : public wsproxy::discovery {
 public:
  restless(std::vector<std::string> names, int times, std::atomic<int>& told)
      : names_(std::move(names)), times_(times), told_(told) {}
  ~restless() override {
    over_ = true;
    thread_.join();
  }
  void start(sink to) override {
    thread_ = std::thread([this, to = std::move(to)] {
      for (int i = 0; i != times_ && !over_; ++i, ++told_) {
        std::vector<wsproxy::backend_options> list{{.name = names_[0]}};  // which always stays
        for (std::size_t n = 1; n != names_.size(); ++n)
          if (static_cast<std::size_t>(i) % names_.size() != n)
            list.push_back({.name = names_[n], .weight = 1 + static_cast<unsigned>(i) % 3});
        to.found(std::move(list));
        std::this_thread::yield();
      }
    });
  }

 private:
  const std::vector<std::string> names_;
  const int times_;
  std::atomic<int>& told_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE(
    "a list that changes 1,000 times from another thread under traffic loses no tunnel and no request") {
  echo_server servers[4];
  std::vector<std::string> names;
  for (const auto& each : servers) names.push_back(each.name());
  proxy p({.backends = {{.name = names[0]}}});
  std::vector<peer> tunnels;
  std::atomic<int> told{0};
  {
    const wsproxy::follower follows(p.to, std::make_unique<restless>(names, 1000, told));
    int requests = 0;
    while (told < 1000 || requests < 50) {
      if (tunnels.size() < 40) {
        tunnels.push_back(p.client());
        tunnels.back().send(handshake());
        REQUIRE(status_of(read_head(tunnels.back())) == 101);
      }
      auto& one = tunnels[static_cast<std::size_t>(requests) % tunnels.size()];
      one.send(client_frame(text, "hello " + std::to_string(requests)));
      REQUIRE(read_frame(one).payload == "hello " + std::to_string(requests));
      auto plain = p.client();
      plain.send(get());
      const auto answer = read_message(plain);
      REQUIRE(answer.status() == 200);
      REQUIRE(std::ranges::find(names, answer.body) != names.end());
      ++requests;
    }
  }
  CHECK(told == 1000);
  for (std::size_t i = 0; i != tunnels.size(); ++i) {
    tunnels[i].send(client_frame(text, "still here"));
    CHECK(read_frame(tunnels[i]).payload == "still here");
  }
  CHECK(p.server().stats().tunnels == tunnels.size());
}

TEST_CASE("a list that changes 1,000 times ends the tunnels of who left, if asked to, and no others") {
  echo_server servers[3];
  std::vector<std::string> names;
  for (const auto& each : servers) names.push_back(each.name());
  proxy p({.backends = {{.name = names[0]}, {.name = names[1]}, {.name = names[2]}}});
  std::vector<peer> tunnels;
  for (int i = 0; i != 30; ++i) {
    tunnels.push_back(p.client());
    tunnels.back().send(handshake());
    REQUIRE(status_of(read_head(tunnels.back())) == 101);
  }
  std::atomic<int> told{0};
  {
    const wsproxy::follower follows(
        p.to, std::make_unique<restless>(names, 1000, told),
        {.removed = {.tunnels = wsproxy::removal::kind::close, .sessions = {p.server().sessions()}}});
    CHECK(eventually([&] { return told == 1000; }));
  }
  int closed = 0;
  CHECK(eventually([&] {
    for (auto& each : tunnels) {
      if (!each.readable(0ms)) continue;
      CHECK(read_frame(each).payload.substr(0, 2) == close_payload(1012));
      std::swap(each, tunnels.back());
      tunnels.pop_back();
      ++closed;
      break;
    }
    return closed == 20;
  }));
  CHECK(eventually([&] { return p.server().stats().tunnels == 10; }));  // those of names[0]
  for (auto& each : tunnels) {
    each.send(client_frame(text, "still here"));
    CHECK(read_frame(each).payload == "still here");
  }
}

TEST_CASE("names are resolved by the system, off the event loop") {
  background loop;
  mailbox<std::vector<wsproxy::backend_options>> lists;
  mailbox<std::string> failures;
  wsproxy::resolving source(loop.context.get_executor(),
                            {{.name = "localhost:8181", .weight = 5}, {.name = "no-such-host.invalid:1"}});
  source.start({.found = [&](std::vector<wsproxy::backend_options> list) { lists.put(std::move(list)); },
                .failed = [&](std::string_view why) { failures.put(std::string(why)); }});
  CHECK(lists.take().size() == 2);  // the names themselves
  const auto found = lists.take();
  REQUIRE(found.size() >= 2);
  for (const auto& each : found) {
    if (each.name != "localhost:8181") continue;
    CHECK(each.at.kind == wsproxy::address::family::ip);
    CHECK((each.at.host == "127.0.0.1" || each.at.host == "::1"));
    CHECK(each.at.port == 8181);
    CHECK(each.weight == 5);
  }
  CHECK(found.back().at.kind == wsproxy::address::family::name);
  CHECK(failures.take().starts_with("no-such-host.invalid: "));
}
