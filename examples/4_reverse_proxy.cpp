// A reverse proxy: every request, WebSocket or not, goes to one of the backends named on the command line;
// the same client address goes to the same backend. SIGINT and SIGTERM drain it: tunnels get a Close frame.
//
//   4_reverse_proxy 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//
// Left out: several routes, rewriting, more than one thread (one gateway per thread, with reuse_port).

#include <iostream>

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>

#include <wsproxy/wsproxy.hpp>

int main(int argc, char** argv) {
  try {
    if (argc < 3) {
      std::cerr << "usage: 4_reverse_proxy LISTEN BACKEND...\n";
      return 2;
    }
    std::vector<wsproxy::backend_options> servers;
    for (int i = 2; i != argc; ++i) servers.push_back({.name = argv[i]});
    const wsproxy::upstream backends(servers, wsproxy::consistent_hash());
    // What is not set keeps nginx's default. Pings keep tunnels open that have nothing to say.
    const auto how = wsproxy::route::make({.tunnel = {.heartbeat = {.interval = std::chrono::seconds(20)}}});

    asio::io_context context(1);
    wsproxy::gateway gateway(context.get_executor(), [&](const wsproxy::inbound&) {
      return wsproxy::pass{.to = backends, .how = how};
    });
    std::cout << "listening on " << gateway.listen(argv[1]) << std::endl;

    asio::signal_set signals(context, SIGINT, SIGTERM);
    signals.async_wait([&](std::error_code error, int) {
      if (error) return;
      gateway.drain({.deadline = std::chrono::seconds(10), .code = 1001});
    });
    context.run();
  } catch (const std::exception& error) {
    std::cerr << "4_reverse_proxy: " << error.what() << '\n';
    return 1;
  }
}
