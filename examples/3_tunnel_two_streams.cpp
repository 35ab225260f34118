// A tunnel between any two streams: forwards every TCP connection to a target, bytes untouched, half-close
// passed on both ways, idle connections closed. What WebSockets get is this, with frames.
//
//   3_tunnel_two_streams 127.0.0.1:7000 127.0.0.1:9001
//
// Left out: a limit on connections, and several threads.

#include <iostream>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <wsproxy/wsproxy.hpp>

using asio::ip::tcp;

asio::awaitable<void> relay(tcp::socket client, wsproxy::address target) {
  std::error_code error;
  wsproxy::socket_dialer dial;
  auto server = co_await dial.async_dial(target, client.get_executor(),
                                         asio::redirect_error(asio::use_awaitable, error));
  if (error) {
    std::cerr << "cannot reach " << target.to_string() << ": " << error.message() << '\n';
    co_return;
  }
  const wsproxy::tunnel_policy policy{.timeouts = {.idle = std::chrono::minutes(5)}};
  const auto end =
      co_await wsproxy::async_relay(client, {}, std::move(server), {}, policy, asio::use_awaitable);
  std::cout << end.from_client.bytes << " bytes up, " << end.from_upstream.bytes
            << " down, ended: " << to_string(end.cause) << " by " << to_string(end.who) << std::endl;
}

asio::awaitable<void> serve(tcp::acceptor& listener, wsproxy::address target) {
  for (;;) {
    auto client = co_await listener.async_accept(asio::use_awaitable);
    asio::co_spawn(listener.get_executor(), relay(std::move(client), target), asio::detached);
  }
}

int main(int argc, char** argv) {
  try {
    if (argc != 3) {
      std::cerr << "usage: 3_tunnel_two_streams LISTEN TARGET\n";
      return 2;
    }
    const auto at = wsproxy::address::parse(argv[1]);
    asio::io_context context(1);
    tcp::acceptor listener(context, {asio::ip::make_address(at.host), at.port});
    std::cout << "listening on " << listener.local_endpoint() << std::endl;
    asio::co_spawn(context, serve(listener, wsproxy::address::parse(argv[2])), asio::detached);
    context.run();
  } catch (const std::exception& error) {
    std::cerr << "3_tunnel_two_streams: " << error.what() << '\n';
    return 1;
  }
}
