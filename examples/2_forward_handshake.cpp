// The handshake by itself: asks a backend for a WebSocket, verifies its answer, and says goodbye.
// A host that sends its client the 101 itself begins like this and goes on with async_tunnel.
//
//   2_forward_handshake 127.0.0.1:9001 /chat
//
// Left out: a client. The request that a real host has parsed is made up here.

#include <iostream>

#include <asio/io_context.hpp>
#include <asio/write.hpp>

#include <wsproxy/wsproxy.hpp>

int main(int argc, char** argv) {
  try {
    if (argc != 3) {
      std::cerr << "usage: 2_forward_handshake BACKEND TARGET\n";
      return 2;
    }
    wsproxy::exchange what;
    what.head = {.method = "GET",
                 .target = argv[2],
                 .fields = {{"Host", argv[1]},
                            {"Upgrade", "websocket"},
                            {"Connection", "Upgrade"},
                            {"Sec-WebSocket-Version", "13"},
                            {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}}};
    what.how = wsproxy::route::make({.tunnel = {.timeouts = {.connect = std::chrono::seconds(4)}}});

    asio::io_context context(1);
    int status = 1;
    wsproxy::async_handshake(
        context.get_executor(), wsproxy::upstream({{.name = argv[1]}}), std::move(what),
        [&](wsproxy::handshake_result<> found) {
          if (found.accepted) {
            std::cout << "switched by " << found.accepted->backend()->name() << ", "
                      << found.accepted->early().size() << " bytes of frames came with the 101\n";
            const auto goodbye = wsproxy::make_close(1000, "done", wsproxy::frame_sender::client, 0x5eed5eed);
            asio::write(found.accepted->stream(), asio::buffer(goodbye.bytes, goodbye.size));
            status = 0;
          } else if (found.answer) {
            std::cout << "answered " << found.answer->head.status << ' ' << found.answer->head.reason << '\n';
          } else {
            std::cout << "failed at " << to_string(found.result.at) << ": " << found.result.error.message()
                      << '\n';
          }
        });
    context.run();
    return status;
  } catch (const std::exception& error) {
    std::cerr << "2_forward_handshake: " << error.what() << '\n';
    return 1;
  }
}
