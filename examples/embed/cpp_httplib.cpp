// wsproxy inside a cpp-httplib server: blocking, a thread per connection. The library hands no connection
// over once it has read a request, so a look at the first line (MSG_PEEK) decides before it reads: a request
// for /chat goes over unread. Everything else is served by the library, through the Stream that it asks for.
//
//   embed_cpp_httplib 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002

#include <poll.h>

#include <httplib.h>

#include <iostream>

#include <wsproxy/gateway/adopt.hpp>

namespace {

/// A blocking socket as the library wants it; it has one too, but keeps that to itself.
class connection : public httplib::Stream {
 public:
  explicit connection(socket_t socket) : socket_(socket) {}
  bool is_readable() const override { return ready(POLLIN); }
  bool is_writable() const override { return ready(POLLOUT); }
  ssize_t read(char* into, size_t size) override {
    return is_readable() ? ::recv(socket_, into, size, 0) : -1;
  }
  ssize_t write(const char* from, size_t size) override { return ::send(socket_, from, size, MSG_NOSIGNAL); }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return socket_; }

  /// The beginning of the first line, as far as one look shows it; it stays unread.
  std::string look() const {
    std::string line(64, '\0');
    const ssize_t n = is_readable() ? ::recv(socket_, line.data(), line.size(), MSG_PEEK) : 0;
    return line.substr(0, n > 0 ? static_cast<size_t>(n) : 0);
  }

 private:
  bool ready(short events) const {
    pollfd what{socket_, events, 0};
    return ::poll(&what, 1, 5000) == 1;
  }
  socket_t socket_;
};

/// A server whose upgrades go to the backends.
class server : public httplib::Server {
 public:
  explicit server(wsproxy::upstream chat) : chat_(std::move(chat)) {}

 private:
  bool process_and_close_socket(socket_t socket) override {
    connection stream(socket);
    if (stream.look().starts_with("GET /chat ")) {
      pool_.adopt(wsproxy::descriptor::given(socket), chat_, wsproxy::unread_request{},
                  [](const wsproxy::forward_result& end) {
                    std::cout << "ended: " << to_string(end.cause) << std::endl;
                  });
      return true;
    }
    bool closed = false;  // one request per connection, to be short
    const bool served = process_request(stream, true, closed, nullptr);
    ::close(socket);
    return served;
  }

  wsproxy::upstream chat_;
  wsproxy::worker_pool pool_{1};
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: embed_cpp_httplib LISTEN BACKEND...");
  std::vector<wsproxy::backend_options> backends;
  for (int i = 2; i != argc; ++i) backends.push_back({.name = argv[i]});
  server host{wsproxy::upstream(backends)};
  host.Get("/", [](const httplib::Request&, httplib::Response& answer) {
    answer.set_content("Hello. The chat is at /chat.\n", "text/plain");
  });
  host.Get("/api", [](const httplib::Request&, httplib::Response& answer) {
    answer.set_content("{\"answer\": 42}\n", "application/json");
  });

  const auto at = wsproxy::address::parse(argv[1]);
  const int port = at.port == 0                          ? host.bind_to_any_port(at.host)
                   : host.bind_to_port(at.host, at.port) ? at.port
                                                         : -1;
  if (port < 0) throw std::runtime_error(std::string("cannot listen on ") + argv[1]);
  std::cout << "listening on " << at.host << ':' << port << std::endl;
  host.listen_after_bind();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
