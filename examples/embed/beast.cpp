// wsproxy inside a Boost.Beast server. Boost's sockets and requests are other types than standalone Asio's,
// so the connection goes over as a descriptor, and the request by the adapter below. Beast stays what it is:
// here its synchronous server with a thread per connection; with its asynchronous one the hand-over is the
// same.
//
//   embed_beast 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/websocket.hpp>

#include <iostream>
#include <thread>

// wsproxy: no Asio of its own is in these headers.
#include <wsproxy/gateway/adopt.hpp>

namespace beast = boost::beast;
namespace http = beast::http;
using boost::asio::ip::tcp;
using request = http::request<http::string_body>;

// wsproxy: Beast's request as ours. Fields keep their order, but lines of one name stand together.
wsproxy::request_head head_of(const request& from) {
  auto text = [](auto view) { return std::string_view(view.data(), view.size()); };
  wsproxy::request_head head{.method = std::string(text(from.method_string())),
                             .target = std::string(text(from.target()))};
  if (from.version() == 10) head.version = wsproxy::http_version::http_1_0;
  for (const auto& field : from) head.fields.add(text(field.name_string()), text(field.value()));
  return head;
}

http::response<http::string_body> page(const request& from) {
  http::response<http::string_body> answer(http::status::ok, from.version());
  if (from.target() == "/") answer.body() = "Hello. The chat is at /chat.\n";
  else if (from.target() == "/api") answer.body() = "{\"answer\": 42}\n";
  else answer.result(http::status::not_found);
  answer.keep_alive(from.keep_alive());
  answer.prepare_payload();
  return answer;
}

void serve(tcp::socket socket, wsproxy::worker_pool& pool, const wsproxy::upstream& chat) try {
  beast::flat_buffer buffer;
  for (;;) {
    request from;
    http::read(socket, buffer, from);
    if (from.target() == "/chat" && beast::websocket::is_upgrade(from)) {
      // wsproxy: the head, what Beast has read behind it, and the descriptor.
      wsproxy::exchange what{.head = head_of(from), .early = beast::buffers_to_string(buffer.data())};
      pool.adopt(wsproxy::descriptor::given(socket.release()), chat, std::move(what),
                 [](const wsproxy::forward_result& end) {
                   std::cout << "ended: " << to_string(end.cause) << std::endl;
                 });
      return;
    }
    const auto answer = page(from);
    http::write(socket, answer);
    if (!answer.keep_alive()) return;
  }
} catch (const beast::system_error&) {  // the client is gone
}

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: embed_beast LISTEN BACKEND...");
  std::vector<wsproxy::backend_options> backends;
  for (int i = 2; i != argc; ++i) backends.push_back({.name = argv[i]});
  const wsproxy::upstream chat(backends);
  wsproxy::worker_pool pool(1);

  const auto at = wsproxy::address::parse(argv[1]);
  boost::asio::io_context context;
  tcp::acceptor acceptor(context, {boost::asio::ip::make_address(at.host), at.port});
  std::cout << "listening on " << acceptor.local_endpoint() << std::endl;
  for (;;) std::thread(serve, acceptor.accept(), std::ref(pool), std::cref(chat)).detach();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
