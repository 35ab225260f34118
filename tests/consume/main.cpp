// What a program must find in the library, linked in whichever way: its version, a server on the program's
// own io_context, its own classes behind the library's interfaces, and the errors and exceptions of one
// process.
#include <asio.hpp>
#include <wsproxy/wsproxy.hpp>

#include <iostream>
#include <stdexcept>

#include <sys/socket.h>
#include <unistd.h>

namespace {

class none_ever : public wsproxy::balancer {
  std::optional<std::size_t> pick(wsproxy::pick_request&) override { return std::nullopt; }
};

void check(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

std::string ask(asio::io_context& context, const std::string& at) {
  const auto port = static_cast<std::uint16_t>(std::stoi(at.substr(at.rfind(':') + 1)));
  asio::ip::tcp::socket socket(context);
  socket.connect({asio::ip::address_v4::loopback(), port});
  asio::write(socket, asio::buffer(std::string("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")));
  std::string answer;
  asio::async_read(socket, asio::dynamic_buffer(answer),
                   [&](std::error_code, std::size_t) { context.stop(); });
  context.run_for(std::chrono::seconds(10));
  context.restart();
  return answer;
}

}  // namespace

int main() try {
  asio::io_context context(1);
  const wsproxy::upstream nobody({{.name = "127.0.0.1:1"}}, std::make_shared<none_ever>());
  std::error_code error;
  wsproxy::gateway gateway(context.get_executor(), [&](const wsproxy::inbound&) {
    return wsproxy::pass{.to = nobody, .on_end = [&](const auto& result) { error = result.error; }};
  });
  check(ask(context, gateway.listen("127.0.0.1:0")).starts_with("HTTP/1.1 502 "),
        "the gateway did not answer");
  check(error == wsproxy::errc::no_backend && error == wsproxy::condition::unavailable,
        "errors are not the same");

  int pair[2];
  check(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "there is no pair of sockets");
  ::close(pair[1]);
  char byte = 0;
  wsproxy::edge_socket(context.get_executor(), pair[0]).try_read({&byte, 1}, error);
  check(error == asio::error::eof, "Asio's errors are not the same");

  try {
    wsproxy::upstream({});
    check(false, "an upstream without backends was made");
  } catch (const std::invalid_argument&) {
  }
  std::cout << wsproxy::version() << '\n';
} catch (const std::exception& fault) {
  std::cout << fault.what() << '\n';
  return 1;
}
