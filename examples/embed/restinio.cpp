// wsproxy inside a RESTinio server. Both are built on standalone Asio, so async_forward runs on RESTinio's
// own socket, in its own event loop: no other thread, no descriptor.
//
//   embed_restinio 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//
// RESTinio 0.6 gives its connection away only to its own WebSocket code, so this uses the same two functions
// of restinio::impl. They hand over no bytes that were read behind the head. A client may send none before it
// has seen the 101 (RFC 6455 section 4.1), and browsers and the usual libraries do not; frames of one that
// does all the same, in the same segment as its request, are lost.

#include <iostream>

#include <restinio/all.hpp>
#include <restinio/websocket/websocket.hpp>

#include <wsproxy/wsproxy.hpp>

namespace {

using traits = restinio::default_single_thread_traits_t;
using restinio::request_handle_t;
using restinio::request_handling_status_t;

// wsproxy: RESTinio's request as ours.
wsproxy::request_head head_of(const restinio::http_request_header_t& from) {
  wsproxy::request_head head{.method = from.method().c_str(), .target = from.request_target()};
  from.for_each_field([&](const auto& field) { head.fields.add(field.name(), field.value()); });
  return head;
}

// wsproxy: RESTinio's connection, given away; its lifetime monitor keeps counting it.
using connection = restinio::impl::connection_t<traits>::upgrade_internals_t;
std::shared_ptr<connection> take(restinio::request_t& from) {
  const auto held = std::move(restinio::impl::access_req_connection(from));
  return std::make_shared<connection>(
      dynamic_cast<restinio::impl::connection_t<traits>&>(*held).move_upgrade_internals());
}

// wsproxy: borrows the socket to the end of the tunnel. Where nothing was sent, the answer is ours.
request_handling_status_t forward(const request_handle_t& from, const wsproxy::upstream& chat) {
  wsproxy::exchange what{.head = head_of(from->header()),
                         .client = from->remote_endpoint().address().to_string()};
  auto client = take(*from);
  auto& socket = client->m_socket;
  wsproxy::async_forward(socket, chat, std::move(what), [client](const wsproxy::forward_result& end) {
    std::cout << "ended: " << to_string(end.cause) << std::endl;
    if (end.committed || end.status == 0) return;
    wsproxy::async_send(client->m_socket,
                        wsproxy::make_response(end.status, end.error.message() + "\n", {}, true),
                        {.close = true}, [client](std::error_code) {});
  });
  return restinio::request_accepted();
}

request_handling_status_t serve(const request_handle_t& from, const wsproxy::upstream& chat) {
  const auto target = from->header().request_target();
  if (target == "/chat" && from->header().connection() == restinio::http_connection_header_t::upgrade)
    return forward(from, chat);
  if (target == "/") return from->create_response().set_body("Hello. The chat is at /chat.\n").done();
  if (target == "/api") return from->create_response().set_body("{\"answer\": 42}\n").done();
  return from->create_response(restinio::status_not_found()).done();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: embed_restinio LISTEN BACKEND...");
  std::vector<wsproxy::backend_options> backends;
  for (int i = 2; i != argc; ++i) backends.push_back({.name = argv[i]});
  const wsproxy::upstream chat(backends);

  const auto at = wsproxy::address::parse(argv[1]);
  restinio::http_server_t<traits> server(restinio::own_io_context(), [&](auto& settings) {
    settings.address(at.host).port(at.port).request_handler(
        [&](const request_handle_t& from) { return serve(from, chat); });
    settings.acceptor_post_bind_hook([](asio::ip::tcp::acceptor& acceptor) {
      std::cout << "listening on " << acceptor.local_endpoint() << std::endl;
    });
  });
  server.open_sync();
  server.io_context().run();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
