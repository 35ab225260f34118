// Inside a server that exists already: it accepts, reads and parses its requests itself, serves its own page,
// and hands over the upgrades on one path. wsproxy borrows the socket for as long as the tunnel lives.
//
//   6_embed_in_your_server 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//
// Left out: what makes a real HTTP server. The parser here is a stand-in for yours.

#include <iostream>
#include <sstream>

#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/read_until.hpp>
#include <asio/use_awaitable.hpp>
#include <asio/write.hpp>

#include <wsproxy/wsproxy.hpp>

using asio::ip::tcp;

// The host's own idea of a request, and how it becomes ours: start line, then the fields in their order.
wsproxy::request_head parse(const std::string& text) {
  std::istringstream lines(text);
  wsproxy::request_head head;
  std::string line, version;
  lines >> head.method >> head.target >> version;
  std::getline(lines, line);
  while (std::getline(lines, line) && line != "\r") {
    const auto colon = line.find(':');
    if (colon != std::string::npos)
      head.fields.add(line.substr(0, colon), line.substr(colon + 1, line.size() - colon - 2));
  }
  return head;
}

asio::awaitable<void> serve(tcp::socket client, wsproxy::upstream chat) {
  std::string buffer;
  const auto size = co_await asio::async_read_until(client, asio::dynamic_buffer(buffer, 16384), "\r\n\r\n",
                                                    asio::use_awaitable);
  auto head = parse(buffer.substr(0, size));

  if (head.target != "/chat") {  // the server's own business, as before
    const auto page =
        wsproxy::make_response(200, "Hello. The chat is at /chat.\n", {{"Content-Type", "text/plain"}}, true);
    co_await asio::async_write(client, asio::buffer(page), asio::use_awaitable);
    co_return;
  }

  // The hand-over: the parsed head, what was read behind it, and the client's address.
  wsproxy::exchange what{.head = std::move(head),
                         .early = buffer.substr(size),
                         .client = client.remote_endpoint().address().to_string()};
  const auto result = co_await wsproxy::async_forward(client, chat, std::move(what), asio::use_awaitable);
  if (!result.committed && result.status != 0) {  // nothing was sent: the answer is ours
    const auto sorry = wsproxy::make_response(result.status, result.error.message() + "\n", {}, true);
    co_await asio::async_write(client, asio::buffer(sorry), asio::use_awaitable);
  }
  std::cout << "ended: " << to_string(result.cause) << " by " << to_string(result.who) << ", "
            << result.from_client.messages << " messages up, " << result.from_upstream.messages << " down"
            << std::endl;
}

asio::awaitable<void> listen(tcp::acceptor& listener, wsproxy::upstream chat) {
  for (;;) {
    auto client = co_await listener.async_accept(asio::use_awaitable);
    asio::co_spawn(listener.get_executor(), serve(std::move(client), chat), asio::detached);
  }
}

int main(int argc, char** argv) {
  try {
    if (argc < 3) {
      std::cerr << "usage: 6_embed_in_your_server LISTEN BACKEND...\n";
      return 2;
    }
    std::vector<wsproxy::backend_options> servers;
    for (int i = 2; i != argc; ++i) servers.push_back({.name = argv[i]});
    const auto at = wsproxy::address::parse(argv[1]);
    asio::io_context context(1);
    tcp::acceptor listener(context, {asio::ip::make_address(at.host), at.port});
    std::cout << "listening on " << listener.local_endpoint() << std::endl;
    asio::co_spawn(context, listen(listener, wsproxy::upstream(servers, wsproxy::consistent_hash())),
                   asio::detached);
    context.run();
  } catch (const std::exception& error) {
    std::cerr << "6_embed_in_your_server: " << error.what() << '\n';
    return 1;
  }
}
