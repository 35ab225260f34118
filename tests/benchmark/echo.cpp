// A WebSocket echo server that costs as little as it can, so that the proxy before it is what is measured.
//
//   echo PORT
//
// Frames go back as they come, in pieces, without their mask; a Close is answered and the connection closed.
#include <csignal>
#include <string>

#include "net.hpp"

namespace {

using namespace bench;

char input[256 * 1024];
char output[sizeof input];  // never longer than the input: headers lose their mask

struct connection {
  int fd;
  bool open = false;     // the handshake is done
  bool closing = false;  // a Close went back
  bool waiting = false;  // for the peer to take what is unsent
  unsigned char have = 0;
  bool ping = false;  // the present frame is one: it goes back as a pong
  char part[14]{};    // of a header
  char mask[4]{};
  std::uint64_t left = 0;  // of the present frame's payload
  std::uint64_t done = 0;
  std::string unsent{};
};

int set;

void end(connection* c) {
  ::close(c->fd);
  delete c;
}

/// False: the connection is gone.
bool send_all(connection* c, const char* at, std::size_t n) {
  while (c->unsent.empty() && n != 0) {
    const auto sent = ::send(c->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) break;
    if (sent < 0) return end(c), false;
    at += sent;
    n -= static_cast<std::size_t>(sent);
  }
  c->unsent.append(at, n);
  if (c->unsent.empty() == !c->waiting) return true;
  c->waiting = !c->unsent.empty();
  epoll_event interest{};
  interest.events = c->waiting ? EPOLLOUT : EPOLLIN;
  interest.data.ptr = c;
  ::epoll_ctl(set, EPOLL_CTL_MOD, c->fd, &interest);
  return true;
}

bool answer_handshake(connection* c, std::string_view request, std::size_t& taken) {
  const auto blank = request.find("\r\n\r\n");  // a head comes in one piece here
  if (blank == std::string_view::npos || request.substr(0, blank).find(key) == std::string_view::npos)
    return end(c), false;
  taken = blank + 4;
  c->open = true;
  static const std::string answer =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: " +
      std::string(accept_value) + "\r\n\r\n";
  return send_all(c, answer.data(), answer.size());
}

void on_readable(connection* c) {
  const auto got = ::recv(c->fd, input, sizeof input, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return end(c);
  const auto n = static_cast<std::size_t>(got);
  std::size_t at = 0, out = 0;
  if (!c->open && !answer_handshake(c, {input, n}, at)) return;
  while (at != n && !c->closing) {
    if (c->left == 0) {
      c->part[c->have++] = input[at++];
      const auto h = parse(c->part, c->have);
      if (h.size == 0) continue;
      c->left = h.length;
      c->done = 0;
      c->closing = h.close();
      c->ping = h.first == 0x89;
      std::memcpy(c->mask, c->part + c->have - 4, 4);
      c->have = 0;
      out += make_header(output + out, c->ping ? 0x8a : h.first, h.length, false);
      if (c->closing) {  // its few bytes come with it
        std::memcpy(output + out, input + at, n - at);
        out += n - at;
      }
    } else {
      const auto take = n - at < c->left ? n - at : static_cast<std::size_t>(c->left);
      std::memcpy(output + out, input + at, take);
      for (std::size_t i = 0; c->ping && i != take; ++i) output[out + i] ^= c->mask[(c->done + i) % 4];
      c->done += take;
      at += take;
      out += take;
      c->left -= take;
    }
  }
  if (out != 0 && !send_all(c, output, out)) return;
  if (c->closing) end(c);
}

void on_writable(connection* c) {
  std::string rest;
  rest.swap(c->unsent);
  send_all(c, rest.data(), rest.size());
}

}  // namespace

int main(int count, char** values) {
  if (count != 2) return std::fprintf(stderr, "usage: echo PORT\n"), 2;
  std::signal(SIGPIPE, SIG_IGN);
  raise_descriptor_limit();
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto at = loopback(std::atoi(values[1]));
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener, 16384) != 0)
    die("echo: cannot listen");
  set = ::epoll_create1(EPOLL_CLOEXEC);
  watch(set, listener, EPOLLIN, nullptr);
  for (;;) {
    epoll_event events[256];
    const int n = ::epoll_wait(set, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      auto* c = static_cast<connection*>(events[i].data.ptr);
      if (c == nullptr) {
        for (int fd; (fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          no_delay(fd);
          watch(set, fd, EPOLLIN, new connection{fd});
        }
      } else if ((events[i].events & EPOLLOUT) != 0) {
        on_writable(c);
      } else {
        on_readable(c);
      }
    }
  }
}
