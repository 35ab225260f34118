#include <wsproxy/gateway/gateway.hpp>

#include <catch2/catch_test_macros.hpp>

#include <malloc.h>
#include <sys/resource.h>

#include <asio/generic/stream_protocol.hpp>

#include "tests/support/gateway.hpp"
#include "tests/support/process.hpp"

// Gateways in processes of their own, where descriptors and memory can be limited and counted.

using namespace test;

namespace {

std::uint16_t port_of(const std::string& at) {
  return static_cast<std::uint16_t>(std::stoul(at.substr(at.rfind(':') + 1)));
}

void limit_descriptors(rlim_t most) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = most;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail_with_errno("setrlimit");
}

/// Serves until `parent` closes; writes the address it listens on, and a line for each warning.
void serve(peer& parent, wsproxy::gateway::selector select, wsproxy::gateway_options options = {}) {
  asio::io_context context(1);
  options.on_warning = [&](std::string_view message) { parent.send(std::string(message) + "\n"); };
  wsproxy::gateway server(context.get_executor(), std::move(select), std::move(options));
  parent.send(server.listen("127.0.0.1:0", {.backlog = 4096}) + "\n");
  asio::generic::stream_protocol::socket until(context, asio::generic::stream_protocol(AF_UNIX, 0),
                                               ::dup(parent.descriptor()));
  until.async_wait(decltype(until)::wait_read, [&](std::error_code) { server.stop(); });
  context.run();
}

}  // namespace

TEST_CASE("without descriptors accepting pauses, does not spin, and loses nobody") {
  if (sanitizer_needs_descriptors) SKIP("the sanitizer opens a pipe to check a pointer");
  child gateway([](peer& parent) {
    limit_descriptors(64);
    serve(parent,
          [](const wsproxy::inbound&) -> wsproxy::decision { return wsproxy::respond{.body = "served"}; });
  });
  const auto port = port_of(gateway.control.read_until("\n"));
  std::vector<peer> clients;
  const auto connect = [&] {
    clients.push_back(peer::connect(port));
    clients.back().send(get());
  };
  connect();
  CHECK(read_message(clients[0]).body == "served");
  const auto with_one = gateway.descriptors();
  while (clients.size() != 150) connect();
  CHECK(gateway.control.read_until("\n").find("accepting is paused") != std::string::npos);

  // As many as there were descriptors are served; the others wait, and waiting costs no time.
  const auto served = 1 + gateway.descriptors() - with_one;
  CHECK(served > 30);
  REQUIRE(served < 64);
  for (std::size_t i = 1; i != served; ++i) CHECK(read_message(clients[i]).body == "served");
  const auto used = gateway.cpu_time();
  CHECK_FALSE(clients[served].readable(1200ms));
  CHECK(gateway.cpu_time() - used <= 200ms);

  // Whoever ends makes room for the next.
  for (std::size_t i = 0; i != clients.size(); ++i) {
    INFO("client " << i);
    if (i >= served) CHECK(read_message(clients[i]).body == "served");
    clients[i].close();
  }
  CHECK(gateway.wait() == 0);
}

TEST_CASE("a gateway without descriptors for a backend does not blame the backend") {
  if (sanitizer_needs_descriptors) SKIP("the sanitizer opens a pipe to check a pointer");
  listener backend;
  child gateway([&](peer& parent) {
    limit_descriptors(64);
    const wsproxy::upstream to({{.name = backend.name()}});
    serve(parent, [to](const wsproxy::inbound& request) -> wsproxy::decision {
      if (request.head.target == "/failed")
        return wsproxy::respond{.body = std::to_string(to.backends().front()->failed())};
      return wsproxy::pass{to};
    });
  });
  const auto port = port_of(gateway.control.read_until("\n"));
  std::vector<peer> idle;
  auto client = peer::connect(port);
  client.send(get("/failed"));
  CHECK(read_message(client).body == "0");
  for (int i = 0; i != 100; ++i) idle.push_back(peer::connect(port));
  CHECK(gateway.control.read_until("\n").find("accepting is paused") != std::string::npos);
  client.send(get());
  const auto answer = read_message(client);
  CHECK(answer.status() == 500);
  CHECK(answer.field("Connection") == "close");  // which gives a descriptor back
  idle.clear();
  client = peer::connect(port);
  client.send(get("/failed"));
  CHECK(read_message(client).body == "0");
  client.send(get());
  auto accepted = backend.accept();
  accepted.send(ok("works"));
  CHECK(read_message(client).body == "works");
  CHECK(gateway.wait() == 0);
}

TEST_CASE("ten thousand idle tunnels cost little, and leave nothing behind") {
  const std::size_t limit = raise_descriptor_limit();
  const std::size_t count = std::min<std::size_t>(10'000 / scale(), limit / 2 - 50);
  listener backend_at(4096);
  // The backend: accepts, answers, and when told so resets everything.
  child backend([&](peer& parent) {
    std::vector<peer> all;
    for (std::size_t round = 0; round != 2; ++round) {
      for (std::size_t i = 0; i != count; ++i) {
        all.push_back(backend_at.accept());
        read_head(all.back());
        all.back().send(switching());
      }
      parent.read(1);
      for (auto& each : all) each.reset();
      all.clear();
      parent.send("r");
    }
  });
  child gateway([&](peer& parent) {
    const wsproxy::upstream to({{.name = backend_at.name()}});
    const auto how =
        wsproxy::route::make({.tunnel = {.timeouts = {.idle = 0ms, .close_wait = 100ms, .linger = 100ms},
                                         .heartbeat = {.interval = std::chrono::hours(1)}}});
    serve(parent, [&](const wsproxy::inbound& request) -> wsproxy::decision {
      if (request.head.target != "/in-use") return wsproxy::pass{.to = to, .how = how};
      return wsproxy::respond{.body = std::to_string(::mallinfo2().uordblks)};
    });
  });
  backend_at.close();
  const auto port = port_of(gateway.control.read_until("\n"));
  // What is allocated; a process seldom gives back to the system what it has freed.
  const auto memory_in_use = [&] {
    auto client = peer::connect(port);
    client.send(get("/in-use"));
    const auto answer = read_message(client);
    client.shutdown_send();
    client.end();  // the gateway has closed it
    return std::stoul(answer.body);
  };
  const auto memory = memory_in_use();
  const auto descriptors = gateway.descriptors();
  const auto resident = gateway.resident();
  std::size_t full = 0, after[2] = {};
  for (std::size_t round = 0; round != 2; ++round) {
    std::vector<peer> clients;
    for (std::size_t i = 0; i != count; ++i) {
      clients.push_back(peer::connect(port));
      clients.back().send(handshake());
      if (status_of(read_head(clients.back())) != 101) FAIL("no tunnel " << i);
    }
    CHECK(gateway.descriptors() == descriptors + 2 * count);
    full = gateway.resident();
    // One side at once, then the other.
    if (round == 0) {
      for (auto& each : clients) each.reset();
      backend.control.send("r");
    } else {
      backend.control.send("r");
      backend.control.read(1);
      for (auto& each : clients) each.reset();
    }
    if (round == 0) backend.control.read(1);
    CHECK(eventually([&] { return gateway.descriptors() == descriptors; }));
    after[round] = memory_in_use();
  }
  const auto per_tunnel = (full - resident) / count;
  INFO(count << " tunnels, " << per_tunnel << " bytes each; in use " << memory << " before, " << after[0]
             << " and " << after[1] << " after");
  if (memory_is_measurable) {
    CHECK(per_tunnel < 4096);
    CHECK(after[0] < memory + 64 * 1024 + 32 * count);  // tables that have grown
    CHECK(after[1] < after[0] + 64 * 1024);
  }
  CHECK(gateway.wait() == 0);
  CHECK(backend.wait() == 0);
}
