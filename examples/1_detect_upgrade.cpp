// Is it a WebSocket? Reads a request's head from standard input and says what wsproxy makes of it.
// No I/O of the library's own, no Asio: it links wsproxy::core alone.
//
//   printf 'GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n
//   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' | 1_detect_upgrade

#include <iostream>
#include <iterator>
#include <string>

#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/websocket/handshake.hpp>
#include <wsproxy/websocket/upgrade.hpp>

int main() {
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});

  wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
  const auto parsed = parser.feed(input);  // in a server: again and again, with whatever has arrived
  if (!parsed.done && !parsed.error) {
    std::cout << "incomplete: the head has not ended yet\n";
    return 1;
  }
  std::error_code error = parsed.error;
  const auto request = error ? wsproxy::request_head{} : parser.take_request();
  if (!error) error = wsproxy::check_request(request);
  if (error) {
    std::cout << "refused: " << wsproxy::status_for(error) << ", " << error.message() << '\n';
    return 1;
  }

  const auto verdict = wsproxy::detect_upgrade(request);
  switch (verdict.kind) {
  case wsproxy::request_kind::plain:
    std::cout << "plain HTTP: " << request.method << ' ' << request.target << '\n';
    break;
  case wsproxy::request_kind::websocket:
    std::cout << "WebSocket: " << request.target << "\naccept it with Sec-WebSocket-Accept: "
              << wsproxy::accept_key(request.fields.value_or_empty("Sec-WebSocket-Key")) << '\n';
    break;
  case wsproxy::request_kind::refused: std::cout << wsproxy::make_refusal(verdict.error); break;
  }
  const std::string early = input.substr(parsed.consumed);  // a body, or the first frames: never to be lost
  std::cout << early.size() << " bytes follow the head\n";
}
