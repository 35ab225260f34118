#include <wsproxy/proxy/health_check.hpp>

#include <catch2/catch_test_macros.hpp>

#include <map>
#include <optional>

#include "bench.hpp"

using namespace sim;
using namespace wsproxy;

namespace {

using names = std::vector<std::string>;

health_check_options every(duration interval) { return {.interval = interval, .jitter = 0}; }

/// An upstream under watch.
struct watched {
  explicit watched(health_check_options how, names backends = {"b1:1000", "b2:1000"})
      : options(std::move(how)) {
    set(backends);
    options.world = &w;
    if (!options.on_change)
      options.on_change = [this](const health_change& c) {
        changes.push_back(c.which->name() + (c.healthy ? " up" : " down: " + c.last.error.message()));
      };
  }
  void set(const names& backends) {
    std::vector<backend_options> list;
    for (const auto& each : backends) {
      list.push_back({.name = each});
      if (auto& l = w.at(each); !l.on_accept) l.on_accept = websocket_backend();
    }
    if (group) group->set_backends(list);
    else group.emplace(list);
  }
  void start() { checks.emplace(w.executor(), *group, options, sim::dialer(w)); }
  /// Who is picked.
  names picked() {
    names all;
    for (std::size_t i = 0; i != 2 * group->backends().size(); ++i) {
      pick_state state;
      const auto got = group->pick({}, state, w.now());
      if (got && std::ranges::find(all, got.backend()->name()) == all.end())
        all.push_back(got.backend()->name());
    }
    std::ranges::sort(all);
    return all;
  }
  std::size_t probes(const char* at = "b1:1000") { return w.at(at).accepted.size(); }

  world w;
  health_check_options options;
  std::optional<upstream> group;
  names changes;
  std::optional<health_checker> checks;
};

}  // namespace

TEST_CASE("A backend that fails is taken out after fall probes, and is back after rise") {
  watched t({.interval = 10s, .jitter = 0, .rise = 2, .fall = 3});
  t.start();
  t.w.run_for(25s);
  CHECK(t.probes() == 3);
  CHECK(t.changes.empty());
  t.w.at("b1:1000").does = listener::kind::refuses;
  t.w.run_for(20s);  // two failed
  CHECK(t.changes.empty());
  CHECK(t.picked() == names{"b1:1000", "b2:1000"});
  t.w.run_for(10s);
  CHECK(t.changes == names{"b1:1000 down: " + make_error_code(errc::connect_failed).message()});
  CHECK(t.picked() == names{"b2:1000"});
  t.w.at("b1:1000").does = listener::kind::accepts;
  t.w.run_for(10s);
  CHECK(t.picked() == names{"b2:1000"});
  t.w.run_for(10s);
  CHECK(t.changes.size() == 2);
  CHECK(t.changes.back() == "b1:1000 up");
  CHECK(t.picked() == names{"b1:1000", "b2:1000"});
}

TEST_CASE("Every backend has its own probes: one that hangs does not delay the others") {
  watched t({.probe = {.timeout = 4s}, .interval = 5s, .jitter = 0, .fall = 1});
  t.w.at("b1:1000").does = listener::kind::hangs;
  t.start();
  t.w.run_for(52s);
  CHECK(t.probes("b2:1000") == 11);
  CHECK(t.changes == names{"b1:1000 down: " + make_error_code(errc::connect_timeout).message()});
}

TEST_CASE("Every kind of probe takes out a backend that fails it") {
  using kind = probe_options::kind;
  for (const auto how : {kind::tcp, kind::http, kind::websocket}) {
    watched t({.probe = {.how = how}, .interval = 10s, .jitter = 0, .fall = 1});
    t.w.at("b1:1000").on_accept = answering_with(make_response(500, "x"));
    t.w.at("b2:1000").on_accept =
        how == kind::http ? answering_with(make_response(200, "x")) : websocket_backend();
    t.start();
    t.w.run_for(5s);
    CHECK(t.picked() == (how == kind::tcp ? names{"b1:1000", "b2:1000"} : names{"b2:1000"}));
  }
}

TEST_CASE("It follows the list: who comes is probed, who goes is not, who stays keeps his state") {
  watched t({.interval = 10s, .jitter = 0, .fall = 1});
  t.w.at("b1:1000").does = listener::kind::refuses;
  t.start();
  t.w.run_for(1s);
  CHECK(t.picked() == names{"b2:1000"});
  t.set({"b1:1000", "b3:1000"});
  const auto before = t.probes("b2:1000");
  t.w.run_for(10s);
  CHECK(t.probes("b3:1000") == 1);
  CHECK(t.probes("b2:1000") == before);
  CHECK(t.picked() == names{"b3:1000"});
  t.w.run_for(50s);
  CHECK(t.probes("b2:1000") == before);
  CHECK(t.probes("b3:1000") == 6);
  CHECK(t.changes.size() == 1);
}

TEST_CASE("A probe under way is called off when its backend leaves") {
  watched t({.probe = {.timeout = 60s}, .interval = 5s, .jitter = 0});
  t.w.at("b1:1000").on_accept = [](peer&) {};
  t.start();
  t.w.run_for(3s);
  CHECK(t.w.open_streams() == 1);
  t.set({"b2:1000"});
  t.w.run_for(10s);
  CHECK(t.w.open_streams() == 0);
}

TEST_CASE("Probes say which backend they are for") {
  watched t(every(10s), {"b1:1000"});
  std::string host;
  t.w.at("b1:1000").on_accept = answering([&](peer& p, const request_head& head) {
    host = head.fields.joined("Host");
    p.send(accepting(head));
  });
  t.group.emplace(std::vector<backend_options>{{.name = "chat.test:9", .at = address::parse("b1:1000")}});
  t.start();
  t.w.run_for(5s);
  CHECK(host == "chat.test:9");
}

TEST_CASE("The end of a checker, at any moment, closes everything and forgives who was taken out") {
  for (int steps = 0; steps < 400; steps += 3) {
    CAPTURE(steps);
    watched t({.probe = {.ping = true}, .interval = 1s, .jitter = 0.3, .fall = 1});
    t.w.at("b1:1000").does = listener::kind::refuses;
    t.start();
    for (int i = 0; i != steps; ++i) t.w.step();
    if (steps % 2 == 0) t.checks.reset();
    else t.checks->stop();
    t.w.run_for(2s);
    CHECK(t.w.timers() == 0);
    CHECK(t.w.dials() == 0);
    CHECK(t.w.open_streams() == 0);
    CHECK(t.picked() == names{"b1:1000", "b2:1000"});
    const auto probes = t.probes("b2:1000");
    t.w.run_for(10s);
    CHECK(t.probes("b2:1000") == probes);
  }
}

TEST_CASE("A change may end the checker that tells of it") {
  std::optional<watched> t;
  int calls = 0;
  t.emplace(health_check_options{.interval = 1s, .fall = 1, .on_change = [&](const health_change&) {
                                   ++calls;
                                   t->checks.reset();
                                 }});
  t->w.at("b1:1000").does = listener::kind::refuses;
  t->start();
  t->w.run_for(10s);
  CHECK(calls == 1);
  CHECK(t->w.timers() == 0);
  CHECK(t->w.open_streams() == 0);
}

TEST_CASE("The probes of many backends drift apart") {
  watched t({.interval = 10s, .jitter = 0.3});
  t.start();
  t.w.run_for(300s);
  // Ten lengths of the interval, or less, or more; but not the same for both.
  CHECK(t.probes("b1:1000") > 20);
  CHECK(t.probes("b2:1000") > 20);
  CHECK(t.probes("b1:1000") < 40);
  const auto end = [&](const char* at) { return t.w.at(at).accepted.back()->ended_at; };
  CHECK(end("b1:1000") != end("b2:1000"));
}

TEST_CASE("What cannot be checked is refused by name") {
  const auto refusal = [](health_check_options options) {
    world w;
    try {
      health_checker(w.executor(), upstream({{.name = "a:1"}}), std::move(options), sim::dialer(w));
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal({.interval = 0s}).find("interval") != std::string::npos);
  CHECK(refusal({.jitter = 2}).find("jitter") != std::string::npos);
  CHECK(refusal({.rise = 0}).find("rise") != std::string::npos);
  CHECK(refusal({.fall = 0}).find("fall") != std::string::npos);
  CHECK(refusal({.probe = {.target = "x"}}).find("target") != std::string::npos);
}
