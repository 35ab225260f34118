#include "listener.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <stdexcept>

#include <asio/error.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/ip/v6_only.hpp>
#include <asio/local/stream_protocol.hpp>

#include <wsproxy/upstream/backend.hpp>

namespace wsproxy::detail {

using generic = asio::generic::stream_protocol;

address_text text_of(const generic::endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "";
  const sockaddr* const any = static_cast<const sockaddr*>(endpoint.data());
  if (any->sa_family == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(any);
    ::inet_ntop(AF_INET, &ip->sin_addr, text, sizeof text);
    return {text, ntohs(ip->sin_port)};
  }
  if (any->sa_family == AF_INET6) {
    const auto* ip = reinterpret_cast<const sockaddr_in6*>(any);
    ::inet_ntop(AF_INET6, &ip->sin6_addr, text, sizeof text);
    return {text, ntohs(ip->sin6_port)};
  }
  return {"unix:", 0};
}

namespace {

[[noreturn]] void fail(std::string_view at, std::error_code error, const std::string& why = {}) {
  throw std::system_error(error, "cannot listen on " + std::string(at) + (why.empty() ? "" : " (" + why + ")"));
}

address parse(std::string_view text) {
  try {
    return address::parse(text);
  } catch (const std::invalid_argument& wrong) {
    fail(text, make_error_code(std::errc::invalid_argument), wrong.what());
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

bool is_wildcard(const generic::endpoint& at) {
  const auto host = text_of(at).host;
  return host == "0.0.0.0" || host == "::";
}

}  // namespace

listener open_listener(const asio::any_io_executor& executor, std::string_view text, int backlog, bool reuse_port,
                       bool ipv6_only) {
  const auto at = parse(text);
  auto endpoint = endpoint_of(text, at);
  listener opened{acceptor(executor), endpoint, is_wildcard(endpoint)};
  std::error_code error;
  auto& socket = opened.socket;
  socket.open(endpoint.protocol(), error);
  if (error) fail(text, error);
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  if (at.kind == address::family::unix_socket) {
    remove_stale(at.host, endpoint);
  } else {
    const int on = 1;
    socket.set_option(asio::socket_base::reuse_address(true), error);
    if (reuse_port) ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (endpoint.protocol().family() == AF_INET6) socket.set_option(asio::ip::v6_only(ipv6_only), error);
    if (error) fail(text, error);
  }
  socket.bind(endpoint, error);
  if (!error) socket.listen(backlog, error);
  if (!error) socket.native_non_blocking(true, error);  // not every Asio does it for a wait
  if (error) fail(text, error);
  if (at.kind == address::family::unix_socket) opened.unlink = at.host;
  opened.at = socket.local_endpoint(error);
  if (error) fail(text, error);
  return opened;
}

listener adopt_listener(const asio::any_io_executor& executor, int descriptor) {
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    throw std::system_error(errno, std::system_category(), "not a listening socket: descriptor " + std::to_string(descriptor));
  generic::endpoint at(&bound, size);
  listener adopted{acceptor(executor), at, is_wildcard(at)};
  adopted.socket.assign(at.protocol(), descriptor);
  adopted.socket.native_non_blocking(true);
  return adopted;
}

int accept_one(listener& from, generic::endpoint& peer, std::error_code& error) noexcept {
  for (;;) {
    socklen_t size = static_cast<socklen_t>(peer.capacity());
    const int fd = ::accept4(from.socket.native_handle(), static_cast<sockaddr*>(peer.data()), &size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      peer.resize(size < sizeof(sa_family_t) ? sizeof(sa_family_t) : size);
      error.clear();
      return fd;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    error.assign(errno, std::system_category());
    return -1;
  }
}

}  // namespace wsproxy::detail
