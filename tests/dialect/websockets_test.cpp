#include <catch2/catch_test_macros.hpp>

#include "fixture.hpp"

using namespace dialect_test;
using namespace std::chrono_literals;
using strings = std::vector<std::string>;

namespace {

const wsproxy::route& route_of(const std::shared_ptr<const wsproxy_gateway::configuration>& config,
                               std::size_t location) {
  return *config->servers.at(0)->locations.at(location)->here.upgrading;
}

/// The route of the only location, with these lines in it and those in its server.
wsproxy::route with(std::string_view in_location, std::string_view in_server = "") {
  return route_of(load(with_server(std::string(in_server) + "location / { proxy_pass http://127.0.0.1:1;" +
                                   std::string(in_location) + "}")),
                  0);
}

/// One line inside the only location, which is line 5 of the file.
strings wrong(std::string_view line) {
  return messages(wsproxy_gateway::load_text(
      with_server("location / {\n" + std::string(line) + "\nproxy_pass http://127.0.0.1:1; }"), "t.conf"));
}

}  // namespace

TEST_CASE(
    "without websocket_ directives a tunnel is what nginx's is: unlimited, and nothing is put into it") {
  const auto r = with("");
  CHECK(r.tunnel.heartbeat == wsproxy::heartbeat{});
  CHECK(r.tunnel.timeouts.max_lifetime == 0s);
  CHECK(r.tunnel.limits.message == 0);
  CHECK(r.tunnel.limits.frame == 0);
  CHECK(r.tunnel.slow_consumer.after == 0s);
  CHECK_FALSE(r.drain);
}

TEST_CASE("each websocket_ directive sets what it is named after") {
  CHECK(with("websocket_heartbeat 20s;").tunnel.heartbeat == wsproxy::heartbeat{.interval = 20s});
  CHECK(with("websocket_heartbeat 20s timeout=3s side=client;").tunnel.heartbeat ==
        wsproxy::heartbeat{.interval = 20s, .timeout = 3s, .downstream = true, .upstream = false});
  CHECK(with("websocket_heartbeat 500ms side=upstream;").tunnel.heartbeat ==
        wsproxy::heartbeat{.interval = 500ms, .downstream = false, .upstream = true});
  CHECK(with("websocket_heartbeat 1 side=both;").tunnel.heartbeat == wsproxy::heartbeat{.interval = 1s});
  const auto lifetime = with("websocket_max_lifetime 4h jitter=10%;").tunnel.timeouts;
  CHECK(lifetime.max_lifetime == 4h);
  CHECK(lifetime.max_lifetime_jitter == 0.1);
  CHECK(with("websocket_max_message_size 1m;").tunnel.limits.message == 1u << 20);
  CHECK(with("websocket_max_frame_size 64k;").tunnel.limits.frame == 1u << 16);
  CHECK(with("websocket_frames enforce;").tunnel.frames == wsproxy::frames::enforce);
  CHECK(with("websocket_frames observe;").tunnel.frames == wsproxy::frames::observe);
  CHECK(with("websocket_frames off;").tunnel.frames == wsproxy::frames::off);
  CHECK(with("websocket_slow_consumer 30s;").tunnel.slow_consumer ==
        wsproxy::slow_consumer{.after = 30s, .close = true});
  const auto drain = with("websocket_drain spread=10s code=1012 reason=restart;").drain;
  CHECK(drain == wsproxy::drain_options{.deadline = 0s, .spread = 10s, .code = 1012, .reason = "restart"});
  CHECK(with("websocket_drain spread=10s;").drain->code == 1001);
}

TEST_CASE("websocket_ directives are inherited whole, and off or 0 undoes them") {
  const std::string_view outer =
      "websocket_heartbeat 20s timeout=3s; websocket_max_lifetime 4h; websocket_max_message_size 1m;"
      "websocket_max_frame_size 64k; websocket_drain spread=10s; websocket_slow_consumer 30s;";
  const auto inherited = with("", outer);
  CHECK(inherited.tunnel.heartbeat.timeout == 3s);
  CHECK(inherited.tunnel.limits.message == 1u << 20);
  CHECK(inherited.drain->spread == 10s);
  CHECK(inherited.tunnel.slow_consumer.after == 30s);
  CHECK(with("websocket_heartbeat 10s;", outer).tunnel.heartbeat == wsproxy::heartbeat{.interval = 10s});
  for (const auto* undone : {"off", "0"}) {
    const std::string value = undone;
    const auto r = with("websocket_heartbeat " + value + "; websocket_max_lifetime " + value +
                            "; websocket_max_message_size " + value + "; websocket_max_frame_size " + value +
                            "; websocket_slow_consumer " + value + "; websocket_drain off;",
                        outer);
    CHECK(r.tunnel.heartbeat.interval == 0s);
    CHECK(r.tunnel.timeouts.max_lifetime == 0s);
    CHECK(r.tunnel.limits.message == 0);
    CHECK(r.tunnel.limits.frame == 0);
    CHECK(r.tunnel.slow_consumer.after == 0s);
    CHECK(r.drain->code == 0);
  }
}

TEST_CASE("frames are found wherever a Close of ours must have its place") {
  CHECK(with("websocket_frames off; websocket_drain spread=1s;").tunnel.frames == wsproxy::frames::observe);
  CHECK(with("websocket_frames off; websocket_max_lifetime 1h;").tunnel.frames == wsproxy::frames::observe);
  CHECK(with("websocket_frames off; websocket_slow_consumer 1s;").tunnel.frames == wsproxy::frames::observe);
  CHECK(with("websocket_frames off; websocket_drain off;").tunnel.frames == wsproxy::frames::off);
}

TEST_CASE("what is wrong in a websocket_ directive is named with its place") {
  CHECK(wrong("websocket_heartbeat soon;") ==
        strings{"t.conf:5:21: error: invalid value \"soon\" in \"websocket_heartbeat\" directive: a time is "
                "60s, 1m30s or 500ms"});
  CHECK(wrong("websocket_heartbeat 1s timeout=x;") ==
        strings{"t.conf:5:24: error: invalid value \"x\" in \"websocket_heartbeat\" directive: a time is "
                "60s, 1m30s or 500ms"});
  CHECK(wrong("websocket_heartbeat 1s side=server;") ==
        strings{"t.conf:5:24: error: invalid value \"server\" in \"websocket_heartbeat\" directive: a side "
                "is both, client or upstream"});
  CHECK(wrong("websocket_heartbeat 1s sides=both;") ==
        strings{"t.conf:5:24: error: invalid parameter \"sides=both\" in \"websocket_heartbeat\" directive"});
  CHECK(wrong("websocket_heartbeat 1s side=both side=both;") ==
        strings{"t.conf:5:34: error: parameter \"side\" is given twice"});
  CHECK(wrong("websocket_max_lifetime 1h jitter=10;") ==
        strings{"t.conf:5:27: error: invalid value \"10\" in \"websocket_max_lifetime\" directive: a jitter "
                "is 0% to 100%"});
  CHECK(wrong("websocket_max_message_size many;") ==
        strings{"t.conf:5:28: error: invalid value \"many\" in \"websocket_max_message_size\" directive: a "
                "size is 64k, 1m or off"});
  CHECK(wrong("websocket_frames on;") ==
        strings{"t.conf:5:18: error: invalid value \"on\" in \"websocket_frames\" directive: it is off, "
                "observe or enforce"});
  CHECK(wrong("websocket_drain 10s;") ==
        strings{"t.conf:5:17: error: invalid parameter \"10s\" in \"websocket_drain\" directive"});
  for (const auto* code : {"1005", "999", "1006", "1015", "2000", "5000", "x"})
    CHECK(wrong("websocket_drain code=" + std::string(code) + ";") ==
          strings{"t.conf:5:17: error: invalid value \"" + std::string(code) +
                  "\" in \"websocket_drain\" directive: a Close code is 1000 to 1003, 1007 to 1014 or 3000 "
                  "to 4999"});
  CHECK(wrong("websocket_slow_consumer;") == strings{"t.conf:5:1: error: invalid number of arguments in "
                                                     "\"websocket_slow_consumer\" directive: it takes 1"});
}
