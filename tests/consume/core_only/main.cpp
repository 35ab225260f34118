#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/version.hpp>
#include <wsproxy/websocket/handshake.hpp>

#include <iostream>

int main() {
  wsproxy::head_parser parser(wsproxy::head_parser::kind::request);
  if (!parser.feed("GET / HTTP/1.1\r\nHost: a\r\n\r\n").done) return 1;
  if (detect_upgrade(parser.take_request()).kind != wsproxy::request_kind::plain) return 1;
  std::cout << wsproxy::version() << '\n';
}
