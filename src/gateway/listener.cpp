#include "listener.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <stdexcept>

#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>

#include <fmt/format.h>

#include <wsproxy/upstream/backend.hpp>

namespace wsproxy::detail {

using generic = asio::generic::stream_protocol;

address_text text_of(const generic::endpoint& endpoint) {
  const sockaddr* const any = static_cast<const sockaddr*>(endpoint.data());
  if (any->sa_family == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(any);
    const auto bytes = std::bit_cast<std::array<unsigned char, 4>>(ip->sin_addr.s_addr);
    std::array<char, 16> text;
    char* at = text.data();
    for (const unsigned part : bytes) {  // for each connection: inet_ntop would go through printf
      if (at != text.data()) *at++ = '.';
      at = std::to_chars(at, text.data() + text.size(), part).ptr;
    }
    return {std::string(text.data(), at), ntohs(ip->sin_port)};
  }
  if (any->sa_family == AF_INET6) {
    const auto* ip = reinterpret_cast<const sockaddr_in6*>(any);
    char text[INET6_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET6, &ip->sin6_addr, text, sizeof text);
    return {text, ntohs(ip->sin6_port)};
  }
  return {"unix:", 0};
}

namespace {

[[noreturn]] void fail(std::string_view at, std::error_code error) {
  throw std::system_error(error, fmt::format("cannot listen on {}", at));
}

address parse(std::string_view text) {
  try {
    return address::parse(text);
  } catch (const std::invalid_argument& wrong) {
    throw std::system_error(make_error_code(std::errc::invalid_argument),
                            fmt::format("cannot listen on {} ({})", text, wrong.what()));
  }
}

// A socket file that nobody listens on any more is left by a process that was killed.
void remove_stale(const std::string& path, const generic::endpoint& at) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return;
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return;
  if (::connect(probe, static_cast<const sockaddr*>(at.data()), static_cast<socklen_t>(at.size())) != 0 &&
      errno == ECONNREFUSED)
    ::unlink(path.c_str());
  ::close(probe);
}

generic::endpoint endpoint_of(std::string_view text, const address& at) {
  if (at.kind == address::family::unix_socket) return asio::local::stream_protocol::endpoint(at.host);
  std::error_code error;
  const auto ip = asio::ip::make_address(at.host == "*" ? "0.0.0.0" : at.host, error);
  if (error) fail(text, error);
  return asio::ip::tcp::endpoint(ip, at.port);
}

std::shared_ptr<const address_text> fixed_text(const generic::endpoint& at) {
  auto text = text_of(at);
  if (text.host == "0.0.0.0" || text.host == "::") return nullptr;
  return std::make_shared<const address_text>(std::move(text));
}

}  // namespace

gateway_socket make_socket(const asio::any_io_executor& executor, const generic& protocol,
                           made_descriptor descriptor) {
  gateway_socket made(executor);
#ifdef __linux__
  static_cast<void>(protocol);
  if (const auto error = made.assign(descriptor)) throw std::system_error(error);
#else
  made.assign(protocol, descriptor.number);
#endif
  return made;
}

namespace {

gateway_socket make_listening(const asio::any_io_executor& executor, const generic& protocol,
                              int descriptor) {
  auto made = make_socket(executor, protocol, {descriptor});
#ifdef __linux__
  made.hurry();
#endif
  return made;
}

/// A descriptor until it is somebody's.
class owned {
 public:
  explicit owned(int descriptor) noexcept : number(descriptor) {}
  ~owned() {
    if (number >= 0) ::close(number);
  }
  owned(const owned&) = delete;
  owned& operator=(const owned&) = delete;
  int number;
};

generic::endpoint bound_to(int descriptor, std::error_code& error) {
  sockaddr_storage at{};
  socklen_t size = sizeof at;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&at), &size) != 0)
    error.assign(errno, std::system_category());
  return error ? generic::endpoint() : generic::endpoint(&at, size);
}

}  // namespace

listener open_listener(const asio::any_io_executor& executor, std::string_view text, int backlog,
                       bool reuse_port, bool ipv6_only) {
  const auto at = parse(text);
  const auto wanted = endpoint_of(text, at);
  const bool is_unix = at.kind == address::family::unix_socket;
  const auto check = [&](int result) {
    if (result < 0) fail(text, {errno, std::system_category()});
  };
  owned socket(::socket(wanted.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  check(socket.number);
  const auto set = [&](int level, int name, int value) {
    check(::setsockopt(socket.number, level, name, &value, sizeof value));
  };
  if (is_unix) {
    remove_stale(at.host, wanted);
  } else {
    set(SOL_SOCKET, SO_REUSEADDR, 1);
    set(IPPROTO_TCP, TCP_NODELAY, 1);  // connections inherit it
    if (reuse_port) set(SOL_SOCKET, SO_REUSEPORT, 1);
    if (wanted.protocol().family() == AF_INET6) set(IPPROTO_IPV6, IPV6_V6ONLY, ipv6_only);
  }
  check(::bind(socket.number, static_cast<const sockaddr*>(wanted.data()),
               static_cast<socklen_t>(wanted.size())));
  check(::listen(socket.number, backlog));
  std::error_code error;
  const auto bound = bound_to(socket.number, error);
  if (error) fail(text, error);
  listener opened{make_listening(executor, bound.protocol(), socket.number), bound, fixed_text(bound)};
  socket.number = -1;
  if (is_unix) opened.unlink = at.host;
  return opened;
}

listener adopt_listener(const asio::any_io_executor& executor, int descriptor) {
  std::error_code error;
  const auto at = bound_to(descriptor, error);
  if (error) throw std::system_error(error, fmt::format("not a listening socket: descriptor {}", descriptor));
  const int flags = ::fcntl(descriptor, F_GETFL);
  if (flags < 0 || ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) != 0)
    throw std::system_error(errno, std::system_category(), fmt::format("descriptor {}", descriptor));
  int no_delay = 1;
  socklen_t size = sizeof no_delay;
  if (at.protocol().family() != AF_UNIX) ::getsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
  listener adopted{make_listening(executor, at.protocol(), descriptor), at, fixed_text(at)};
  adopted.delays = no_delay == 0;  // of who waits in the queue too, so that it is too late to set it here
  return adopted;
}

std::shared_ptr<const address_text> local_text(const listener& from, int descriptor) {
  if (from.local) return from.local;
  std::error_code error;
  const auto at = bound_to(descriptor, error);
  return std::make_shared<const address_text>(text_of(error ? from.at : at));
}

made_descriptor accept_one(listener& from, generic::endpoint& peer, std::error_code& error) noexcept {
  const auto before = forks();
  const int on = 1;
  for (;;) {
    socklen_t size = static_cast<socklen_t>(peer.capacity());
    const int fd = ::accept4(from.socket.native_handle(), static_cast<sockaddr*>(peer.data()), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      peer.resize(size < sizeof(sa_family_t) ? sizeof(sa_family_t) : size);
      error.clear();
      if (from.delays) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      return {fd, before};
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    error.assign(errno, std::system_category());
#ifdef __linux__
    if (errno == EAGAIN || errno == EWOULDBLOCK) from.socket.exhausted();
#endif
    return {};
  }
}

}  // namespace wsproxy::detail
