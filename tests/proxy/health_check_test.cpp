#include <wsproxy/proxy/health_check.hpp>

#include <catch2/catch_test_macros.hpp>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/websocket/handshake.hpp>

#include "tests/support/gateway.hpp"

using namespace test;
using wsproxy::errc;
using kind = wsproxy::probe_options::kind;

namespace {

/// A backend with a thread of its own that treats each connection as it is told, until it is told otherwise.
class server {
 public:
  enum class manner { good, silent, lying, slow, refusing_status, closing };

  explicit server(manner first = manner::good) : does(first), thread_([this] { serve(); }) {}
  ~server() {
    over_ = true;
    thread_.join();
  }
  const std::string& name() const { return listener_.name(); }

  std::atomic<manner> does;
  std::atomic<int> connections{0};
  std::atomic<int> treated_well{0};  ///< of these
  std::atomic<int> open{0};

 private:
  void serve() {
    std::vector<std::thread> all;
    while (!over_)
      if (auto accepted = listener_.accept_within(5ms)) {
        ++connections;
        all.emplace_back([this, p = std::make_shared<peer>(std::move(*accepted))] {
          ++open;
          try {
            treat(*p);
          } catch (const std::exception&) {  // it was broken off
          }
          --open;
        });
      }
    for (auto& each : all) each.join();
  }
  void treat(peer& p) {
    const auto m = does.load();
    if (m == manner::closing) return;
    if (m == manner::good) ++treated_well;
    const auto head = read_head(p);
    if (m == manner::silent) return void(p.end());
    if (m == manner::slow) std::this_thread::sleep_for(300ms);
    if (m == manner::refusing_status) return p.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    const auto key = field_of(head, "Sec-WebSocket-Key");
    if (key == "(none)") return p.send(ok("fine"));
    const auto accept = m == manner::lying ? std::string(sample_accept) : wsproxy::accept_key(key);
    p.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
        "Upgrade\r\nSec-WebSocket-Accept: " +
        accept + "\r\n\r\n");
    for (;;) {
      const auto f = read_frame(p);
      if (f.code == ping) p.send(server_frame(pong, f.payload));
      if (f.code == close_frame) return p.send(server_frame(close_frame, f.payload));
    }
  }

  listener listener_;
  std::atomic<bool> over_{false};
  std::thread thread_;
};
using manner = server::manner;

wsproxy::probe_result ask(background& loop, const std::string& at, const wsproxy::probe_options& how) {
  std::promise<wsproxy::probe_result> answer;
  wsproxy::async_probe(loop.context.get_executor(), wsproxy::address::parse(at), how,
                       [&](const wsproxy::probe_result& result) { answer.set_value(result); });
  auto told = answer.get_future();
  if (told.wait_for(patience) != std::future_status::ready) throw gave_up("no answer");
  return told.get();
}

}  // namespace

TEST_CASE("probes of every kind over real sockets, of backends of every kind") {
  background loop;
  struct sample {
    manner does;
    kind how;
    bool ping;
    std::error_code error;
  };
  const std::error_code fine;
  const sample samples[] = {
      {manner::good, kind::tcp, false, fine},
      {manner::good, kind::http, false, fine},
      {manner::good, kind::websocket, false, fine},
      {manner::good, kind::websocket, true, fine},
      {manner::slow, kind::websocket, true, fine},
      {manner::slow, kind::http, false, fine},
      {manner::silent, kind::tcp, false, fine},
      {manner::silent, kind::http, false, errc::response_timeout},
      {manner::silent, kind::websocket, false, errc::response_timeout},
      {manner::lying, kind::websocket, false, errc::bad_accept},
      {manner::refusing_status, kind::http, false, errc::unexpected_status},
      {manner::refusing_status, kind::websocket, false, errc::unexpected_status},
      {manner::closing, kind::http, false, errc::upstream_closed},
      {manner::closing, kind::websocket, false, errc::upstream_closed},
  };
  for (const auto& each : samples) {
    CAPTURE(static_cast<int>(each.does), static_cast<int>(each.how), each.ping);
    server backend(each.does);
    // Only the silent ones are waited for.
    const auto timeout = each.error == errc::response_timeout ? 200ms : patience;
    CHECK(ask(loop, backend.name(), {.how = each.how, .ping = each.ping, .timeout = timeout}).error ==
          each.error);
    CHECK(eventually([&] { return backend.connections == 1 && backend.open == 0; }));
  }
}

TEST_CASE("probes of an address where nobody listens, and of a Unix socket") {
  background loop;
  std::string nobody;
  {
    const listener gone;
    nobody = gone.name();
  }
  for (const auto how : {kind::tcp, kind::http, kind::websocket})
    CHECK(ask(loop, nobody, {.how = how}).error == errc::connect_failed);
  CHECK(ask(loop, "unix:/nowhere/at/all", {.how = kind::tcp}).error == errc::connect_failed);
}

TEST_CASE("a backend that falls ill is left out, and used again when rise probes have found it well") {
  server one, other;
  background loop;
  const wsproxy::upstream group({{.name = one.name()}, {.name = other.name()}});
  mailbox<wsproxy::health_change> changes;
  std::optional<wsproxy::health_checker> checks;
  checks.emplace(
      loop.context.get_executor(), group,
      wsproxy::health_check_options{.probe = {.ping = true, .timeout = 5s},
                                    .interval = 20ms,
                                    .rise = 2,
                                    .fall = 2,
                                    .on_change = [&](const wsproxy::health_change& c) { changes.put(c); }});
  const auto picked_one = [&] {
    bool found = false;
    for (int i = 0; i != 4; ++i) {
      wsproxy::pick_state state;
      const auto got = group.pick({}, state, clock::now());
      found = found || (got && got.backend()->name() == one.name());
    }
    return found;
  };
  CHECK(eventually([&] { return one.connections > 2 && other.connections > 2; }));
  CHECK(picked_one());
  one.does = manner::lying;
  auto change = changes.take();
  CHECK(change.which->name() == one.name());
  CHECK_FALSE(change.healthy);
  CHECK(change.last.error == errc::bad_accept);
  CHECK_FALSE(picked_one());
  const int before = one.treated_well;
  one.does = manner::good;
  change = changes.take();
  CHECK(change.healthy);
  CHECK(one.treated_well - before >= 2);
  CHECK(picked_one());
  checks.reset();
  loop.finish();  // nothing keeps it
  CHECK(eventually([&] { return one.open == 0 && other.open == 0; }));
}

TEST_CASE("a checker destroyed from another thread, in the middle of probes, closes them") {
  server backend(manner::silent);
  for (int round = 0; round != 30; ++round) {
    background loop;
    const int before = backend.connections;
    std::optional<wsproxy::health_checker> checks;
    checks.emplace(loop.context.get_executor(), wsproxy::upstream({{.name = backend.name()}}),
                   wsproxy::health_check_options{.probe = {.timeout = 30s}});
    if (round % 3 != 0) CHECK(eventually([&] { return backend.connections > before; }));
    if (round % 3 == 2) CHECK(eventually([&] { return backend.open > 0; }));
    checks.reset();
    loop.finish();
  }
  CHECK(eventually([&] { return backend.open == 0; }));
}

TEST_CASE("a context of several threads may run the probes") {
  server backends[3];
  asio::io_context context;
  std::vector<wsproxy::backend_options> list;
  for (auto& each : backends) list.push_back({.name = each.name()});
  const wsproxy::upstream group(list);
  std::optional<wsproxy::health_checker> checks;
  checks.emplace(context.get_executor(), group, wsproxy::health_check_options{.interval = 5ms});
  std::vector<std::thread> threads;
  for (int i = 0; i != 3; ++i) threads.emplace_back([&] { context.run(); });
  CHECK(eventually([&] { return backends[0].connections > 20 && backends[2].connections > 20; }));
  for (const auto& each : group.status(clock::now())) CHECK(each.checks_pass);
  checks.reset();
  for (auto& each : threads) each.join();
}
