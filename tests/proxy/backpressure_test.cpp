#include <wsproxy/proxy/forward.hpp>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include <thread>

#include "tests/support/gateway.hpp"
#include "tests/support/process.hpp"

using namespace test;

// The gateway is a process of its own, so that the memory measured is its alone.
TEST_CASE("a slow reader slows its source, and the proxy's memory stays bounded") {
  const bool to_client = GENERATE(true, false);
  const std::uint64_t total = (1ull << 30) / scale();
  listener backend_at;
  child gateway([&](peer& parent) {
    asio::io_context context(1);
    const wsproxy::upstream to({{.name = backend_at.name()}});
    wsproxy::gateway server(context.get_executor(),
                            [&](const wsproxy::inbound& request) -> wsproxy::decision {
                              if (request.head.target == "/turn") return wsproxy::respond{};
                              return wsproxy::pass{.to = to};
                            });
    const auto at = server.listen("127.0.0.1:0");
    parent.send(at.substr(at.rfind(':') + 1) + "\n");
    std::thread until_told([&] {
      parent.read_some();
      server.stop();
    });
    context.run();
    until_told.join();
  });
  const auto port = static_cast<std::uint16_t>(std::stoul(gateway.control.read_until("\n")));
  auto client = peer::connect(port, 64 * 1024);
  client.send(handshake());
  auto backend = backend_at.accept();
  read_head(backend);
  backend.send(switching());
  read_head(client);
  auto& source = to_client ? backend : client;
  auto& sink = to_client ? client : backend;
  const std::string chunk(256 * 1024, 'x');
  const auto before = gateway.resident();

  // The gateway has had its turn at everything that could be read, and has read what it wanted.
  auto other = peer::connect(port);
  const auto turn = [&] {
    other.send(get("/turn"));
    read_message(other);
  };

  // Nobody reads: the source gets stuck.
  const auto header = frame_header(binary, total, !to_client) + (to_client ? "" : "mask");
  source.send(header);
  std::uint64_t sent = 0;
  const auto send_some = [&](std::chrono::milliseconds within) {
    const auto n = source.send_some(
        std::string_view(chunk).substr(0, std::min<std::uint64_t>(chunk.size(), total - sent)), within);
    sent += n;
    return n != 0;
  };
  for (int stuck = 0; stuck != 3 && sent != total;) {
    if (send_some(10ms)) {
      stuck = 0;
    } else {
      turn();
      stuck = send_some(0ms) ? 0 : stuck + 1;
    }
  }
  CHECK(sent < std::min<std::uint64_t>(total, 64 << 20));  // the kernel's buffers of four sockets
  if (memory_is_measurable) CHECK(gateway.resident() < before + 512 * 1024);

  // Now somebody does, and all of it arrives.
  auto rest = std::async(std::launch::async, [&] {
    while (sent != total) {
      const auto n = std::min<std::uint64_t>(chunk.size(), total - sent);
      source.send(std::string_view(chunk).substr(0, n));
      sent += n;
    }
  });
  CHECK(sink.read(header.size()) == header);
  std::size_t most = 0;
  std::uint64_t received = 0;
  for (int i = 0; received != total; ++i) {
    const auto bytes = sink.read_some();
    REQUIRE_FALSE(bytes.empty());
    received += bytes.size();
    if (i % 256 == 0) most = std::max(most, gateway.resident());
  }
  rest.get();
  if (memory_is_measurable) CHECK(most < before + 512 * 1024);
  CHECK(gateway.wait() == 0);
}
