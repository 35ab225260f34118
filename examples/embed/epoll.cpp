// wsproxy inside a server that is nothing but epoll: only wsproxy::core, the layer without I/O and without
// Asio. The host does every read and write; the library decides what they mean.
//
//   embed_epoll 127.0.0.1:8080 127.0.0.1:9001 127.0.0.1:9002
//
// Left out: timers, failover to the next backend, limits of connections; async_forward and adopt have them.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <map>
#include <memory>
#include <utility>

#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/upstream/upstream.hpp>
#include <wsproxy/version.hpp>
#include <wsproxy/websocket/frame.hpp>
#include <wsproxy/websocket/handshake.hpp>

namespace {

constexpr std::size_t most_unsent = 256 * 1024;  // then the other side is no longer read

sockaddr_in ipv4(const wsproxy::address& at) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(at.port);
  if (::inet_pton(AF_INET, at.host.c_str(), &to.sin_addr) != 1)
    throw std::invalid_argument("not IPv4: " + at.host);
  return to;
}

/// A socket and what it has not taken yet.
struct end {
  int fd = -1;
  std::string unsent{};
  bool read_ended = false;
  bool fin_wanted = false, fin_sent = false;
};

/// A client, and its backend once it has one.
struct exchange {
  end client, backend;
  wsproxy::head_parser request{wsproxy::head_parser::kind::request};
  wsproxy::head_parser response{wsproxy::head_parser::kind::response};
  wsproxy::request_head sent{};  // to the backend
  std::string early{};           // from the client, behind its head: not sent before the 101
  wsproxy::pick_state memory{};
  wsproxy::lease held{};
  wsproxy::frame_tracker frames{wsproxy::frame_sender::client};
  std::size_t messages = 0;
  enum class step { request, response, tunnel, closing } at = step::request;
};

class server {
 public:
  server(const wsproxy::address& at, wsproxy::upstream chat)
      : chat_(std::move(chat)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    auto address = ipv4(at);
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, size) != 0 || ::listen(listener_, 511) != 0 ||
        ::getsockname(listener_, any, &size) != 0)
      throw std::system_error(errno, std::system_category(), "cannot listen on " + at.to_string());
    std::cout << "listening on " << at.host << ':' << ntohs(address.sin_port) << std::endl;
    watch(listener_, EPOLLIN, EPOLL_CTL_ADD);
  }

  void run() {
    epoll_event events[64];
    for (;;) {
      const int count = ::epoll_wait(epoll_, events, 64, -1);
      for (int i = 0; i < count; ++i) {
        const int fd = events[i].data.fd;
        if (fd == listener_) accept_one();
        else if (const auto found = owners_.find(fd); found != owners_.end())
          serve(found->second, fd, events[i].events);
      }
    }
  }

 private:
  using step = exchange::step;
  using owned = std::shared_ptr<exchange>;

  void watch(int fd, std::uint32_t events, int how) {
    epoll_event what{};
    what.events = events;
    what.data.fd = fd;
    ::epoll_ctl(epoll_, how, fd, &what);
  }

  void accept_one() {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    auto x = std::make_shared<exchange>();
    x->client.fd = fd;
    owners_[fd] = x;
    watch(fd, EPOLLIN, EPOLL_CTL_ADD);
  }

  void serve(owned x, int fd, std::uint32_t events) {
    auto& self = fd == x->client.fd ? x->client : x->backend;
    auto& peer = fd == x->client.fd ? x->backend : x->client;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !self.read_ended &&
        peer.unsent.size() < most_unsent)
      read(x, self);
    flush(x);
  }

  void read(const owned& x, end& from) {
    char bytes[16 * 1024];
    const ssize_t n = ::recv(from.fd, bytes, sizeof bytes, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n > 0) return take(x, from, {bytes, static_cast<std::size_t>(n)});
    from.read_ended = true;
    if (x->at == step::tunnel && n == 0) (&from == &x->client ? x->backend : x->client).fin_wanted = true;
    else if (&from == &x->backend && x->at == step::response) fail(*x, wsproxy::errc::upstream_closed);
    else if (x->at != step::closing) close(x);
  }

  void take(const owned& x, end& from, std::string_view bytes) {
    const bool of_client = &from == &x->client;
    if (x->at == step::tunnel) {
      if (of_client) count_messages(*x, bytes);
      (of_client ? x->backend : x->client).unsent.append(bytes);
    } else if (of_client && x->at == step::request) {
      const auto parsed = x->request.feed(bytes);
      if (parsed.error) return refuse(*x, parsed.error);
      if (!parsed.done) return;
      x->early = bytes.substr(parsed.consumed);
      on_request(x, x->request.take_request());
    } else if (of_client) {
      x->early.append(bytes);
      if (x->early.size() > wsproxy::limits{}.early_bytes) close(x);
    } else if (x->at == step::response) {
      on_response(*x, bytes);
    }
  }

  void on_request(const owned& x, const wsproxy::request_head& head) {
    if (const auto error = wsproxy::check_request(head)) return refuse(*x, error);
    if (head.target == "/") return answer(*x, 200, "Hello. The chat is at /chat.\n");
    if (head.target == "/api") return answer(*x, 200, "{\"answer\": 42}\n");
    if (head.target != "/chat") return answer(*x, 404, "Nothing here.\n");
    const auto verdict = wsproxy::detect_upgrade(head);
    if (verdict.kind == wsproxy::request_kind::refused) return refuse(*x, verdict.error);
    if (verdict.kind == wsproxy::request_kind::plain) return answer(*x, 426, "Only WebSockets here.\n");
    x->sent = wsproxy::make_upstream_request(head, verdict.kind);
    if (!connect(x)) return answer(*x, 502, "No backend can be reached.\n");
    wsproxy::serialize(x->sent, x->backend.unsent);
    x->at = step::response;
  }

  bool connect(const owned& x) {
    x->held = chat_.pick({.head = &x->sent}, x->memory, std::chrono::steady_clock::now());
    if (!x->held) return false;
    const auto to = ipv4(x->held.backend()->address());
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS)
      return ::close(fd), false;
    x->backend.fd = fd;
    owners_[fd] = x;
    watch(fd, EPOLLOUT, EPOLL_CTL_ADD);
    return true;
  }

  void on_response(exchange& x, std::string_view bytes) {
    using verdict = wsproxy::response_verdict::kind;
    while (x.at == step::response && !bytes.empty()) {
      const auto parsed = x.response.feed(bytes);
      bytes.remove_prefix(parsed.consumed);
      if (parsed.error) return fail(x, parsed.error);
      if (!parsed.done) return;
      const auto head = x.response.take_response();
      const auto checked = wsproxy::check_response(x.sent, wsproxy::request_kind::websocket, head);
      if (checked.is == verdict::interim) continue;
      if (checked.is == verdict::broken) return fail(x, checked.error);
      if (checked.is == verdict::final) return answer(x, head.status, "The backend declined.\n");
      x.held.succeeded(std::chrono::steady_clock::now());
      wsproxy::serialize(make_downstream_response(head, {}, true, wsproxy::http_version::http_1_1),
                         x.client.unsent);
      x.frames = wsproxy::frame_tracker(wsproxy::frame_sender::client, wsproxy::negotiated_rsv(head.fields));
      count_messages(x, x.early);
      x.backend.unsent.append(x.early);
      x.at = step::tunnel;
      x.client.unsent.append(bytes);
    }
  }

  // What a relay of bytes does not know, the tracker does: where frames and messages begin and end.
  static void count_messages(exchange& x, std::string_view bytes) {
    while (!bytes.empty() && x.frames.violation().empty()) {
      const auto step = x.frames.next(bytes);
      bytes.remove_prefix(step.consumed);
      const auto& frame = x.frames.header();
      if (step.what == wsproxy::frame_tracker::event::header && frame.fin && !frame.control()) ++x.messages;
    }
  }

  void fail(exchange& x, const std::error_code& error) {
    x.held.failed(std::chrono::steady_clock::now());
    answer(x, wsproxy::status_for(error), error.message() + "\n");
  }
  void refuse(exchange& x, const std::error_code& error) { last_words(x, wsproxy::make_refusal(error)); }
  void answer(exchange& x, int status, std::string_view body) {
    last_words(x, wsproxy::make_response(status, body, {}, true));
  }
  void last_words(exchange& x, const std::string& bytes) {
    x.client.unsent.append(bytes);
    x.client.fin_wanted = true;
    x.at = step::closing;
  }

  void flush(const owned& x) {
    if (x->backend.fd >= 0 && x->at != step::closing && !send(x->backend)) {
      if (x->at == step::tunnel) return close(x);
      fail(*x, wsproxy::errc::connect_failed);
    }
    if (x->client.fd < 0 || !send(x->client)) return close(x);
    const bool through = x->client.fin_sent && (x->at == step::closing || x->backend.fin_sent);
    if (through) return close(x);
    listen_for(x->client, x->backend);
    if (x->backend.fd >= 0 && x->at != step::closing) listen_for(x->backend, x->client);
    else if (x->backend.fd >= 0) watch(x->backend.fd, 0, EPOLL_CTL_DEL);
  }

  static bool send(end& to) {
    while (!to.unsent.empty()) {
      const ssize_t n = ::send(to.fd, to.unsent.data(), to.unsent.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == ENOTCONN;
      to.unsent.erase(0, static_cast<std::size_t>(n));
    }
    if (to.fin_wanted && !to.fin_sent) to.fin_sent = ::shutdown(to.fd, SHUT_WR) == 0;
    return true;
  }

  void listen_for(const end& self, const end& peer) {
    const bool may_read = !self.read_ended && peer.unsent.size() < most_unsent;
    watch(self.fd, (may_read ? EPOLLIN : 0u) | (self.unsent.empty() ? 0u : EPOLLOUT), EPOLL_CTL_MOD);
  }

  void close(const owned& x) {
    if (x->at == step::tunnel) std::cout << "ended: " << x->messages << " messages up" << std::endl;
    for (end* each : {&x->client, &x->backend}) {
      if (each->fd < 0) continue;
      owners_.erase(each->fd);
      ::close(std::exchange(each->fd, -1));
    }
  }

  const wsproxy::upstream chat_;
  const int epoll_;
  int listener_ = -1;
  std::map<int, owned> owners_;
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: embed_epoll LISTEN BACKEND...");
  std::vector<wsproxy::backend_options> backends;
  for (int i = 2; i != argc; ++i) backends.push_back({.name = argv[i]});
  server(wsproxy::address::parse(argv[1]), wsproxy::upstream(backends)).run();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
