// Blocking sockets with a deadline on every call, for playing a client or a backend byte by byte.
#pragma once

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace test {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

/// Only a test that fails waits this long.
inline constexpr std::chrono::milliseconds patience = 30s;

/// Nothing came within `patience`.
struct gave_up : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The connection ended where bytes were expected.
struct ended : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail_with_errno(const char* what) {
  throw std::system_error(errno, std::system_category(), what);
}

/// How a connection was ended by the other side.
enum class ending { fin, reset };

/// One connected socket.
class peer {
 public:
  explicit peer(int descriptor) : fd_(descriptor) {}
  peer(peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)), unread_(std::move(other.unread_)) {}
  peer& operator=(peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(unread_, other.unread_);
    return *this;
  }
  ~peer() { close(); }

  static peer connect(std::uint16_t port, int receive_buffer = 0) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(reinterpret_cast<sockaddr*>(&to), sizeof to, receive_buffer);
  }
  static peer connect_unix(const std::string& path) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strncpy(to.sun_path, path.c_str(), sizeof to.sun_path - 1);
    return connect(reinterpret_cast<sockaddr*>(&to), sizeof to, 0);
  }

  int descriptor() const noexcept { return fd_; }

  /// Sends all of it.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n >= 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      else if (errno == EAGAIN) await(POLLOUT, patience, "send");
      else fail_with_errno("send");
    }
  }
  /// Sends what is taken within that time; returns how much that was.
  std::size_t send_some(std::string_view bytes, std::chrono::milliseconds within) {
    const auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EAGAIN) fail_with_errno("send");
    return ready(POLLOUT, within) ? send_some(bytes, within) : 0;
  }

  /// Sends for as long as the other side has not ended the connection.
  void flood() {
    const std::string chunk(256 * 1024, 'x');
    try {
      for (const auto until = clock::now() + patience; clock::now() < until;) send(chunk);
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::connection_reset && error.code() != std::errc::broken_pipe) throw;
      return;
    }
    throw gave_up("everything is taken");
  }

  /// What comes next; empty at FIN.
  std::string read_some() {
    if (!unread_.empty()) return std::exchange(unread_, {});
    std::string bytes(64 * 1024, '\0');
    bytes.resize(receive(bytes.data(), bytes.size()));
    return bytes;
  }
  /// Exactly so many bytes.
  std::string read(std::size_t size) {
    while (unread_.size() < size) more();
    auto bytes = unread_.substr(0, size);
    unread_.erase(0, size);
    return bytes;
  }
  /// Up to and with `mark`.
  std::string read_until(std::string_view mark) {
    std::size_t at;
    while ((at = unread_.find(mark)) == std::string::npos) more();
    return read(at + mark.size());
  }
  /// Everything up to FIN.
  std::string read_all() {
    std::string all;
    for (auto bytes = read_some(); !bytes.empty(); bytes = read_some()) all += bytes;
    return all;
  }
  /// Everything up to the end, of whatever kind: who sends to a connection that ends meanwhile is reset.
  std::string read_to_end() {
    std::string all = std::exchange(unread_, {});
    try {
      for (auto bytes = read_some(); !bytes.empty(); bytes = read_some()) all += bytes;
    } catch (const std::system_error& error) {
      if (error.code() != std::errc::connection_reset) throw;
    }
    return all;
  }
  /// Returns when everything sent, FIN included, is in the other side's kernel.
  void await_delivery() {
    for (const auto until = clock::now() + patience; clock::now() < until; ::usleep(500)) {
      int unacknowledged = 0;
      if (::ioctl(fd_, SIOCOUTQ, &unacknowledged) != 0) fail_with_errno("SIOCOUTQ");
      if (unacknowledged == 0) return;
    }
    throw gave_up("what was sent is not taken");
  }
  /// Drops what still comes and tells how it ends.
  ending end() {
    try {
      read_all();
      return ending::fin;
    } catch (const std::system_error& error) {
      if (error.code() == std::errc::connection_reset || error.code() == std::errc::broken_pipe)
        return ending::reset;
      throw;
    }
  }
  /// Something can be read, or the end has come.
  bool readable(std::chrono::milliseconds within) { return !unread_.empty() || ready(POLLIN, within); }

  void shutdown_send() { ::shutdown(fd_, SHUT_WR); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// Ends the connection with RST.
  void reset() {
    const linger none{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close();
  }

 private:
  static peer connect(const sockaddr* to, socklen_t size, int receive_buffer) {
    peer made(::socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (made.fd_ < 0) fail_with_errno("socket");
    if (receive_buffer != 0)
      ::setsockopt(made.fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (::connect(made.fd_, to, size) != 0) fail_with_errno("connect");
    const int on = 1;
    if (to->sa_family == AF_INET) ::setsockopt(made.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return made;
  }
  bool ready(short events, std::chrono::milliseconds within) const {
    pollfd what{fd_, events, 0};
    const auto until = clock::now() + within;
    for (;;) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
      const int n = ::poll(&what, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
      if (n >= 0) return n > 0;
      if (errno != EINTR) fail_with_errno("poll");
    }
  }
  void await(short events, std::chrono::milliseconds within, const char* what) const {
    if (!ready(events, within)) throw gave_up(std::string(what) + ": nothing happened; unread: " + unread_);
  }
  std::size_t receive(char* into, std::size_t size) {
    await(POLLIN, patience, "read");
    const auto n = ::recv(fd_, into, size, 0);
    if (n < 0) fail_with_errno("read");
    return static_cast<std::size_t>(n);
  }
  void more() {
    char bytes[16 * 1024];
    const auto n = receive(bytes, sizeof bytes);
    if (n == 0) throw ended("the connection ended; unread: " + unread_);
    unread_.append(bytes, n);
  }

  int fd_;
  std::string unread_;
};

/// A listening socket on a port of the system's choice.
class listener {
 public:
  explicit listener(int backlog = 1024) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    auto* const any = reinterpret_cast<sockaddr*>(&at);
    if (fd_ < 0 || ::bind(fd_, any, size) != 0 || ::listen(fd_, backlog) != 0) fail_with_errno("listen");
    if (::getsockname(fd_, any, &size) != 0) fail_with_errno("getsockname");
    port_ = ntohs(at.sin_port);
    name_ = "127.0.0.1:" + std::to_string(port_);
  }
  explicit listener(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strncpy(at.sun_path, path.c_str(), sizeof at.sun_path - 1);
    if (fd_ < 0 || ::bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 || ::listen(fd_, 1024) != 0)
      fail_with_errno("listen");
    name_ = "unix:" + path;
  }
  listener(const listener&) = delete;
  listener& operator=(const listener&) = delete;
  ~listener() { close(); }

  std::uint16_t port() const noexcept { return port_; }
  const std::string& name() const noexcept { return name_; }
  int descriptor() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }

  peer accept() {
    auto accepted = accept_within(patience);
    if (!accepted) throw gave_up("accept: nobody connected");
    return std::move(*accepted);
  }
  std::optional<peer> accept_within(std::chrono::milliseconds within) {
    pollfd what{fd_, POLLIN, 0};
    if (::poll(&what, 1, static_cast<int>(within.count())) <= 0) return std::nullopt;
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) fail_with_errno("accept");
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return peer(fd);
  }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_;
  std::uint16_t port_ = 0;
  std::string name_;
};

/// An address where connecting is refused.
inline std::string refusing_address() {
  listener gone;
  return gone.name();
}

/// An address where connecting neither succeeds nor fails: its listen queue is full.
class stalling_listener {
 public:
  stalling_listener() : at_(0) {
    for (int i = 0; i != 4; ++i) {
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) fail_with_errno("socket");
      fill_[i] = fd;
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(at_.port());
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to);
    }
  }
  ~stalling_listener() {
    for (const int fd : fill_) ::close(fd);
  }
  const std::string& name() const noexcept { return at_.name(); }

 private:
  listener at_;
  int fill_[4];
};

}  // namespace test
