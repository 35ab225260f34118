#include <wsproxy/proxy/edge_socket.hpp>

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/error.hpp>
#include <asio/query.hpp>

#include <wsproxy/proxy/detail/submit.hpp>

#include "edge_loop.hpp"

namespace wsproxy {

namespace detail {

namespace {

void post_to(edge_state& s, waiter handler, std::error_code ec) {
  post_on(*s.executor, [handler = std::move(handler), ec]() mutable { handler(ec); });
}

// Ends both waits; the handlers are called later.
void abort_waits(edge_state& s) {
  for (waiter* each : {&s.reader, &s.writer}) {
    if (!*each) continue;
    s.loop->waits(-1);
    post_to(s, std::move(*each), asio::error::operation_aborted);
  }
  s.loop->watch();
}

// The descriptor, which is the caller's to close; -1 for none.
int take_to_close(edge_state& s) noexcept {
  if (s.descriptor >= 0 && s.loop != nullptr) {
    abort_waits(s);
    s.loop->remove(s);
  }
  return std::exchange(s.descriptor, -1);
}

void close_state(edge_state& s) noexcept {
  if (const int descriptor = take_to_close(s); descriptor >= 0) ::close(descriptor);
}

}  // namespace

void edge_state_deleter::operator()(edge_state* s) const noexcept {
  const std::unique_ptr<edge_state> gone(s);
  close_state(*s);
  if (s->loop != nullptr) s->loop->forget(*s);
}

std::error_code begin_connect(edge_socket& socket, const void* address, std::size_t size) noexcept {
  const auto before = forks();
  const auto* to = static_cast<const sockaddr*>(address);
  const int fd = ::socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {errno, std::system_category()};
  const int on = 1;
  if (to->sa_family != AF_UNIX) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::error_code error;
  if (::connect(fd, to, static_cast<socklen_t>(size)) == 0 || errno == EINPROGRESS)
    error = socket.assign(made_descriptor{fd, before});
  else error.assign(errno, std::system_category());
  if (error) ::close(fd);
  return error;
}

}  // namespace detail

edge_socket::edge_socket(asio::any_io_executor executor) {
  auto& loops = asio::use_service<detail::edge_loops>(asio::query(executor, asio::execution::context));
  state_ = loops.make_state(std::move(executor));
  state_->loop->know(*state_);
}

edge_socket::edge_socket(asio::any_io_executor executor, int descriptor) : edge_socket(std::move(executor)) {
  if (const auto error = assign(descriptor)) {
    ::close(descriptor);
    throw std::system_error(error, "edge_socket");
  }
}

std::error_code edge_socket::assign(int descriptor) noexcept { return assign({descriptor, 0}); }

std::error_code edge_socket::assign(detail::made_descriptor made) noexcept {
  auto& s = *state_;
  close();
  s.readable = s.writable = s.ended = s.drained = false;
  try {
    s.loop->begin(*s.executor);
    s.descriptor = made.number;
    s.forks = made.forks;
    s.loop->add(s);
    return {};
  } catch (const std::system_error& error) {
    s.descriptor = -1;
    return error.code();
  }
}

int edge_socket::release() noexcept {
  auto& s = *state_;
  if (s.descriptor >= 0 && s.loop != nullptr) {
    detail::abort_waits(s);
    s.loop->take_out(s);
  }
  return std::exchange(s.descriptor, -1);
}

edge_socket::executor_type edge_socket::get_executor() const noexcept { return *state_->executor; }
int edge_socket::native_handle() const noexcept { return state_ ? state_->descriptor : -1; }

void edge_socket::wait(bool to_write, detail::waiter handler) {
  auto& s = *state_;
  if (s.descriptor < 0) return detail::post_to(s, std::move(handler), asio::error::bad_descriptor);
  if (to_write ? s.writable : s.readable) return detail::post_to(s, std::move(handler), {});
  (to_write ? s.writer : s.reader) = std::move(handler);
  s.loop->waits(1);
  s.loop->watch();
}

std::error_code edge_socket::connected() const noexcept {
  if (!state_->ended) return {};  // a failure comes with EPOLLERR and EPOLLHUP
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(state_->descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return {error, std::system_category()};
}

std::size_t edge_socket::try_read(std::span<char> into, std::error_code& ec) noexcept {
  auto& s = *state_;
  const auto n = detail::receive_some(s.descriptor, into, ec);
  if (n == 0 && ec == asio::error::eof) s.drained = true;
  // A short read has emptied the socket: asking again would only say so (epoll(7)).
  if (n < into.size() && !s.ended && (!ec || ec == asio::error::would_block)) s.readable = false;
  return n;
}

std::size_t edge_socket::try_write(std::span<const asio::const_buffer> from, std::error_code& ec) noexcept {
  return write(from, ec, 0);
}

std::size_t edge_socket::try_write_last(std::span<const asio::const_buffer> from,
                                        std::error_code& ec) noexcept {
  return write(from, ec, detail::more_follows);
}

std::size_t edge_socket::write(std::span<const asio::const_buffer> from, std::error_code& ec,
                               int flags) noexcept {
  auto& s = *state_;
  const auto n = detail::send_some(s.descriptor, from, ec, flags);
  std::size_t total = 0;
  for (const auto& part : from) total += part.size();
  if (n < total) s.writable = false;
  return n;
}

void edge_socket::hurry() {
  if (state_->loop != nullptr) state_->loop->hurry(*state_);
}

void edge_socket::exhausted() noexcept {
  if (!state_->ended) state_->readable = false;
}

void edge_socket::shutdown_send(std::error_code& ec) noexcept {
  ec.clear();
  if (::shutdown(state_->descriptor, SHUT_WR) != 0) ec.assign(errno, std::system_category());
}

void edge_socket::close() noexcept { detail::close_state(*state_); }

void edge_socket::shutdown_send_and_close() noexcept {
  // With something unread, close() alone would be a reset, and what was written last would not go.
  const unsigned forks = state_->drained ? state_->forks : 0;
  if (const int descriptor = detail::take_to_close(*state_); descriptor >= 0)
    detail::close_for_all({descriptor, forks});
}

void edge_socket::cancel() noexcept {
  if (state_->descriptor >= 0 && state_->loop != nullptr) detail::abort_waits(*state_);
}

}  // namespace wsproxy
