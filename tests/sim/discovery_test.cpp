#include <wsproxy/proxy/discovery.hpp>

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <optional>
#include <thread>

#include <wsproxy/upstream/least_connections.hpp>

#include "bench.hpp"
#include "clients.hpp"

using namespace sim;
using namespace wsproxy;

namespace {

using names = std::vector<std::string>;

/// Name servers of the test's making, and what came of their answers.
struct naming {
  explicit naming(std::vector<backend_options> list, resolving_options options = {}) {
    options.world = &w;
    options.lookup = [this](const std::string& host, auto done) {
      asked.push_back(host);
      at.push_back(w.now());
      w.after(delay, [this, host, done = std::move(done)] {
        if (hangs) return;
        std::vector<asio::ip::address> answer;
        for (const auto& each : zone[host]) answer.push_back(asio::ip::make_address(each));
        done(broken ? asio::error::host_not_found_try_again : std::error_code(), std::move(answer));
      });
    };
    source.emplace(w.executor(), std::move(list), std::move(options));
  }
  void start() {
    source->start({.found = [this](std::vector<backend_options> list) { found.push_back(std::move(list)); },
                   .failed = [this](std::string_view why) { failures.emplace_back(why); }});
  }
  names last() const {
    names all;
    for (const auto& each : found.back()) all.push_back(each.name + " at " + each.at.to_string());
    return all;
  }

  world w;
  std::map<std::string, names> zone;
  duration delay{5};
  bool broken = false, hangs = false;
  names asked;
  std::vector<time_point> at;
  std::vector<std::vector<backend_options>> found;
  names failures;
  std::optional<resolving> source;
};

}  // namespace

TEST_CASE("Every address of a name is a backend that has the name's options") {
  naming n({{.name = "chat.test:9000", .weight = 3, .max_conns = 7},
            {.name = "10.9.9.9:1"},
            {.name = "unix:/run/x"}});
  n.zone["chat.test"] = {"10.0.0.2", "2001:db8::1", "10.0.0.1", "10.0.0.2"};
  n.start();
  n.w.run_for(1s);
  CHECK(n.last() == names{"chat.test:9000 at 10.0.0.1:9000", "chat.test:9000 at 10.0.0.2:9000",
                          "chat.test:9000 at [2001:db8::1]:9000", "10.9.9.9:1 at 10.9.9.9:1",
                          "unix:/run/x at unix:/run/x"});
  CHECK(n.found.back()[2].weight == 3);
  CHECK(n.found.back()[2].max_conns == 7);
  CHECK(n.asked == names{"chat.test"});
  CHECK_NOTHROW(upstream(n.found.back()));
}

TEST_CASE("Addresses of a kind that is not wanted are left out") {
  for (const bool wants_v6 : {false, true}) {
    naming n({{.name = "chat.test:9"}}, {.ipv4 = !wants_v6, .ipv6 = wants_v6});
    n.zone["chat.test"] = {"2001:db8::1", "10.0.0.1"};
    n.start();
    n.w.run_for(1s);
    CHECK(n.last() == names{wants_v6 ? "chat.test:9 at [2001:db8::1]:9" : "chat.test:9 at 10.0.0.1:9"});
  }
}

TEST_CASE("A name is looked up again at each interval, and only a change is told") {
  naming n({{.name = "chat.test:1"}}, {.interval = 10s, .jitter = 0});
  n.zone["chat.test"] = {"10.0.0.1", "10.0.0.2"};
  n.start();
  n.w.run_for(25s);
  CHECK(n.asked.size() == 3);
  CHECK(n.at[2] - n.at[1] == 10s + 5ms);
  REQUIRE(n.found.size() == 2);  // the name, then its addresses
  n.zone["chat.test"] = {"10.0.0.2", "10.0.0.1"};
  n.w.run_for(10s);
  CHECK(n.found.size() == 2);
  n.zone["chat.test"] = {"10.0.0.3"};
  n.w.run_for(10s);
  CHECK(n.found.size() == 3);
  CHECK(n.last() == names{"chat.test:1 at 10.0.0.3:1"});
}

TEST_CASE("A resolver that fails, is empty or hangs keeps the last good answer") {
  for (const int kind : {0, 1, 2}) {
    CAPTURE(kind);
    naming n({{.name = "chat.test:1"}, {.name = "other.test:1"}}, {.interval = 10s, .jitter = 0});
    n.zone["chat.test"] = {"10.0.0.1"};
    n.zone["other.test"] = {"10.1.0.1"};
    n.start();
    n.w.run_for(5s);
    const auto before = n.last();
    n.broken = kind == 0;
    n.hangs = kind == 2;
    if (kind == 1) n.zone["chat.test"].clear();
    n.w.run_for(100s);
    CHECK(n.last() == before);
    CHECK(n.failures.size() == (kind == 0 ? 20 : kind == 1 ? 10 : 0));
    if (kind == 2) continue;
    CHECK(n.failures[0].starts_with("chat.test: "));
    n.broken = false;
    n.zone["chat.test"] = {"10.0.0.9"};
    n.w.run_for(10s);
    CHECK(n.last() == names{"chat.test:1 at 10.0.0.9:1", "other.test:1 at 10.1.0.1:1"});
  }
}

TEST_CASE("A name without any answer stays a name, which a dial looks up itself") {
  naming n({{.name = "chat.test:1"}, {.name = "other.test:1"}}, {.interval = 10s});
  n.zone["other.test"] = {"10.1.0.1"};
  n.start();
  n.w.run_for(1s);
  CHECK(n.last() == names{"chat.test:1 at chat.test:1", "other.test:1 at 10.1.0.1:1"});
  CHECK(n.failures == names{"chat.test: it has no address"});
}

TEST_CASE("The interval's jitter is drawn, and stays within its share") {
  naming n({{.name = "chat.test:1"}}, {.interval = 10s, .jitter = 0.5});
  n.zone["chat.test"] = {"10.0.0.1"};
  n.start();
  n.w.run_for(1000s);
  REQUIRE(n.at.size() > 60);
  duration least = 100s, most = 0s;
  for (std::size_t i = 1; i != n.at.size(); ++i) {
    const auto gap = std::chrono::duration_cast<duration>(n.at[i] - n.at[i - 1]) - n.delay;
    least = std::min(least, gap);
    most = std::max(most, gap);
  }
  CHECK(least >= 5s);
  CHECK(least < 7s);
  CHECK(most <= 15s);
  CHECK(most > 13s);
}

TEST_CASE("A source that is destroyed, also by what it tells, asks and tells no more") {
  naming n({{.name = "chat.test:1"}}, {.interval = 10s});
  n.zone["chat.test"] = {"10.0.0.1"};
  n.source->start({.found =
                       [&](std::vector<backend_options> list) {
                         n.found.push_back(std::move(list));
                         if (n.found.size() == 2) n.source.reset();
                       },
                   .failed = {}});
  n.w.run_for(100s);
  CHECK(n.found.size() == 2);
  CHECK(n.asked.size() == 1);
  CHECK(n.w.timers() == 0);

  naming mid({{.name = "chat.test:1"}});
  mid.start();
  mid.w.run_for(2ms);
  mid.source.reset();
  mid.w.run_for(100s);
  CHECK(mid.found.size() == 1);
  CHECK(mid.w.timers() == 0);
}

TEST_CASE("What cannot be resolved is refused") {
  asio::io_context context;
  const auto make = [&](std::string name, resolving_options options) {
    resolving(context.get_executor(), {{.name = std::move(name)}}, options);
  };
  CHECK_THROWS_AS(make("a:b:c", {}), std::invalid_argument);
  CHECK_THROWS_AS(make("a:1", {.interval = 0s}), std::invalid_argument);
  CHECK_THROWS_AS(make("a:1", {.jitter = 1.5}), std::invalid_argument);
  CHECK_THROWS_AS(follower(upstream({{.name = "a:1"}}), nullptr), std::invalid_argument);
}

namespace {

using counts = std::map<std::string, int>;

/// A source that says what the test wants.
class told_by_hand : public discovery {
 public:
  explicit told_by_hand(std::optional<sink>& into) : into_(into) {}
  ~told_by_hand() override { ++ended; }
  void start(sink to) override { into_ = std::move(to); }
  static inline int ended = 0;

 private:
  std::optional<sink>& into_;
};

}  // namespace

TEST_CASE("Tunnels of a backend that left are kept, drained over a window, or closed, as is said") {
  using kind = removal::kind;
  for (const auto how : {kind::keep, kind::drain, kind::close}) {
    CAPTURE(static_cast<int>(how));
    clients c({"b1:1000", "b2:1000"}, least_connections());
    c.open(40);
    REQUIRE(c.spread() == counts{{"b1:1000", 20}, {"b2:1000", 20}});
    const auto began = c.w.now();
    const auto changes =
        replace_backends(c.group, c.list({"b2:1000", "b3:1000"}),
                         {.tunnels = how, .sessions = {c.live}, .how = {.spread = 10s, .code = 1012}});
    CHECK(changes.removed.size() == 1);
    c.w.run_for(5s);
    const auto half = c.told(1012);
    c.w.run_for(6s);
    CHECK(c.spread()["b2:1000"] == 20);
    CHECK(c.spread()["b1:1000"] == (how == kind::keep ? 20 : 0));
    CHECK(c.told(1012) == (how == kind::keep ? 0 : 20));
    CHECK(half == (how == kind::drain ? 10 : c.told(1012)));
    for (const auto& each : c.all)
      if (how == kind::close && each.close_code) CHECK(each.closed_at - began < 100ms);
  }
}

TEST_CASE("A follower brings lists to the upstream, says what changed, and refuses what cannot be used") {
  clients c({"b1:1000"}, least_connections());
  c.open(3);
  std::optional<discovery::sink> source;
  std::vector<std::pair<std::size_t, std::size_t>> changes;
  names failures;
  const auto before = told_by_hand::ended;
  {
    follower f(c.group, std::make_unique<told_by_hand>(source),
               {.removed = {.tunnels = removal::kind::close, .sessions = {c.live}},
                .on_change =
                    [&](const backend_changes& what) {
                      changes.emplace_back(what.added.size(), what.removed.size());
                    },
                .on_failure = [&](std::string_view why) { failures.emplace_back(why); }});
    source->found(c.list({"b1:1000", "b2:1000"}));
    source->found(c.list({"b1:1000", "b2:1000"}));  // nothing new
    CHECK(changes == std::vector<std::pair<std::size_t, std::size_t>>{{1, 0}});
    CHECK(c.group.backends().size() == 2);
    source->found({});
    source->found({{.name = "a:b:c"}});
    source->failed("the network is down");
    REQUIRE(failures.size() == 3);
    CHECK(failures[0].find("no backends") != std::string::npos);
    CHECK(failures[1].find("a:b:c") != std::string::npos);
    CHECK(failures[2] == "the network is down");
    CHECK(c.group.backends().size() == 2);
    source->found(c.list({"b2:1000"}));
    c.w.run_for(1s);
    CHECK(c.told(1012) == 3);
    follower moved = std::move(f);
    source->found(c.list({"b3:1000"}));
    CHECK(changes.size() == 3);
  }
  CHECK(told_by_hand::ended == before + 1);
  source->found(c.list({"b4:1000"}));  // nobody listens
  source->failed("x");
  CHECK(c.group.backends()[0]->name() == "b3:1000");
  CHECK(failures.size() == 3);
}

TEST_CASE("A change may end the follower that tells of it") {
  clients c({"b1:1000"}, nullptr);
  std::optional<discovery::sink> source;
  std::optional<follower> f;
  int calls = 0;
  f.emplace(c.group, std::make_unique<told_by_hand>(source),
            follow_options{.on_change = [&](const backend_changes&) {
              ++calls;
              f.reset();
            }});
  const auto to = *source;
  to.found(c.list({"b2:1000"}));
  to.found(c.list({"b3:1000"}));
  CHECK(calls == 1);
  CHECK(c.group.backends()[0]->name() == "b2:1000");
}
