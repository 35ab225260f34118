// A balancing method of one's own, in ten lines: of the usable backends, the one with the fewest tunnels.
//
//   5_custom_balancer 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002

#include <iostream>

#include <asio/io_context.hpp>

#include <wsproxy/wsproxy.hpp>

class fewest_tunnels : public wsproxy::balancer {
 public:
  std::optional<std::size_t> pick(wsproxy::pick_request& request) override {
    std::optional<std::size_t> best;
    for (const auto i : request.usable())  // alive, not tried by this request, below its limit
      if (!best || request.at(i).active() < request.at(*best).active()) best = i;
    return best;
  }
};

int main(int argc, char** argv) {
  try {
    if (argc < 3) {
      std::cerr << "usage: 5_custom_balancer LISTEN BACKEND...\n";
      return 2;
    }
    std::vector<wsproxy::backend_options> servers;
    for (int i = 2; i != argc; ++i) servers.push_back({.name = argv[i]});
    const wsproxy::upstream backends(servers, std::make_shared<fewest_tunnels>());

    asio::io_context context(1);
    wsproxy::gateway gateway(context.get_executor(), [&](const wsproxy::inbound&) {
      return wsproxy::pass{.to = backends, .on_end = [](const wsproxy::forward_result& result) {
                             if (result.backend)
                               std::cout << result.backend->name() << " served it" << std::endl;
                           }};
    });
    std::cout << "listening on " << gateway.listen(argv[1]) << std::endl;
    context.run();
  } catch (const std::exception& error) {
    std::cerr << "5_custom_balancer: " << error.what() << '\n';
    return 1;
  }
}
