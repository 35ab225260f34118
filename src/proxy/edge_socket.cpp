#include <wsproxy/proxy/edge_socket.hpp>

#include <array>
#include <cerrno>
#include <exception>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <asio/error.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/query.hpp>

namespace wsproxy {

namespace detail {

class edge_loop;

/// A socket's place in the epoll set. What it can do is remembered until a read or a write says otherwise.
struct edge_state {
  edge_state(asio::any_io_executor on, edge_loop* in, int fd) noexcept
      : executor(std::move(on)), loop(in), descriptor(fd) {}

  asio::any_io_executor executor;
  edge_loop* loop;        // null once the context is gone
  int descriptor;         // -1: closed
  waiter reader, writer;
  edge_state* next = nullptr;
  edge_state* previous = nullptr;
  bool direct = false;    // its executor is the context's own: a handler may run where the event is taken
  bool readable = false;  // as the last event, read or write has shown
  bool writable = false;
  bool ended = false;     // FIN, reset or error has been seen: reading will not block again
};

/// One epoll set per context, nested in the context's own; it runs while somebody waits.
class edge_loop final : public asio::execution_context::service {
 public:
  using key_type = edge_loop;
  inline static asio::execution_context::id id;

  explicit edge_loop(asio::execution_context& context) : service(context) {}

  void begin(const asio::any_io_executor& executor) {
    if (set_ || down_) return;
    const int fd = ::epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
    set_ = std::make_unique<asio::posix::stream_descriptor>(executor, fd);
  }

  /// Every state is known from its beginning to its end, open or not.
  void know(edge_state& s) noexcept {
    s.next = first_;
    if (first_ != nullptr) first_->previous = &s;
    first_ = &s;
  }
  void forget(edge_state& s) noexcept {
    (s.previous != nullptr ? s.previous->next : first_) = s.next;
    if (s.next != nullptr) s.next->previous = s.previous;
    s.next = s.previous = nullptr;
  }

  void add(edge_state& s) {
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    interest.data.ptr = &s;
    if (::epoll_ctl(set_->native_handle(), EPOLL_CTL_ADD, s.descriptor, &interest) != 0)
      throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
  void remove(edge_state& s) noexcept {
    if (set_) ::epoll_ctl(set_->native_handle(), EPOLL_CTL_DEL, s.descriptor, nullptr);
  }

  /// Frees it once no event that was taken already can name it.
  void bury(edge_state* s) {
    forget(*s);
    if (dispatching_) graves_.emplace_back(s);
    else delete s;
  }

  void waits(int more) noexcept { waiting_ += more; }
  /// Called after waits() changed outside of a turn.
  void watch() {
    if (dispatching_ || !set_) return;
    if (waiting_ > 0 && !watching_) {
      watching_ = true;
      set_->async_wait(asio::posix::stream_descriptor::wait_read, [this](std::error_code ec) {
        watching_ = false;
        if (!ec) turn();
        else watch();
      });
    } else if (waiting_ == 0 && watching_) {
      set_->cancel();  // a pending wait would keep the context running for nothing
    }
  }

 private:
  void shutdown() noexcept override {
    down_ = true;
    set_.reset();
    std::vector<waiter> dropped;  // they own operations, which own sockets of this list
    for (auto* s = first_; s != nullptr; s = s->next)
      for (waiter* each : {&s->reader, &s->writer})
        if (*each) dropped.push_back(std::move(*each));
    dropped.clear();
    for (auto* s = first_; s != nullptr; s = s->next) {
      s->loop = nullptr;
      s->executor = {};
    }
  }

  void turn() {
    std::array<epoll_event, 128> events;
    dispatching_ = true;
    for (int rounds = 0; rounds != 4 && set_; ++rounds) {
      const int count = ::epoll_wait(set_->native_handle(), events.data(), static_cast<int>(events.size()), 0);
      for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        tell(*static_cast<edge_state*>(event.data.ptr), event.events);
      }
      if (count < static_cast<int>(events.size())) break;  // what came since shows when the wait begins anew
    }
    dispatching_ = false;
    graves_.clear();
    watch();
  }

  void tell(edge_state& s, std::uint32_t events) {
    if (s.descriptor < 0) return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) s.ended = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      s.readable = true;
      if (s.reader) call(s, s.reader);
    }
    if (s.descriptor < 0) return;  // closed by the reader
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
      s.writable = true;
      if (s.writer) call(s, s.writer);
    }
  }
  void call(edge_state& s, waiter& which) {
    --waiting_;
    if (s.direct) try {
      return which({});
    } catch (...) {  // out of the context's run(), as from any handler; the other events go on
      return asio::post(s.executor, [thrown = std::current_exception()] { std::rethrow_exception(thrown); });
    }
    asio::post(s.executor, [handler = std::move(which)]() mutable { handler({}); });
  }

  std::unique_ptr<asio::posix::stream_descriptor> set_;
  edge_state* first_ = nullptr;
  std::vector<std::unique_ptr<edge_state>> graves_;
  int waiting_ = 0;
  bool watching_ = false;
  bool dispatching_ = false;
  bool down_ = false;
};

namespace {

void post_to(edge_state& s, waiter handler, std::error_code ec) {
  asio::post(s.executor, [handler = std::move(handler), ec]() mutable { handler(ec); });
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

int release_state(edge_state& s) noexcept {
  if (s.descriptor >= 0 && s.loop != nullptr) {
    abort_waits(s);
    s.loop->remove(s);
  }
  return std::exchange(s.descriptor, -1);
}

void close_state(edge_state& s) noexcept {
  if (const int descriptor = release_state(s); descriptor >= 0) ::close(descriptor);
}

}  // namespace

void edge_state_deleter::operator()(edge_state* s) const noexcept {
  close_state(*s);
  if (s->loop != nullptr) s->loop->bury(s);
  else delete s;
}

int begin_connect(const void* address, std::size_t size, std::error_code& error) noexcept {
  const auto* to = static_cast<const sockaddr*>(address);
  const int fd = ::socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    error.assign(errno, std::system_category());
    return -1;
  }
  const int on = 1;
  if (to->sa_family != AF_UNIX) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd, to, static_cast<socklen_t>(size)) != 0 && errno != EINPROGRESS) {
    error.assign(errno, std::system_category());
    ::close(fd);
    return -1;
  }
  return fd;
}

std::error_code finish_connect(int descriptor) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  return {error, std::system_category()};
}

}  // namespace detail

edge_socket::edge_socket(asio::any_io_executor executor) {
  auto& loop = asio::use_service<detail::edge_loop>(asio::query(executor, asio::execution::context));
  state_.reset(new detail::edge_state(std::move(executor), &loop, -1));
  loop.know(*state_);
}

edge_socket::edge_socket(asio::any_io_executor executor, int descriptor) : edge_socket(std::move(executor)) {
  if (const auto error = assign(descriptor)) {
    ::close(descriptor);
    throw std::system_error(error, "edge_socket");
  }
}

std::error_code edge_socket::assign(int descriptor) noexcept {
  auto& s = *state_;
  close();
  s.direct = s.executor.target<asio::io_context::executor_type>() != nullptr;
  s.readable = s.writable = s.ended = false;
  try {
    s.loop->begin(s.executor);
    s.descriptor = descriptor;
    s.loop->add(s);
    return {};
  } catch (const std::system_error& error) {
    s.descriptor = -1;
    return error.code();
  }
}

int edge_socket::release() noexcept { return detail::release_state(*state_); }

edge_socket::executor_type edge_socket::get_executor() const noexcept { return state_->executor; }
int edge_socket::native_handle() const noexcept { return state_ ? state_->descriptor : -1; }

void edge_socket::wait(bool to_write, detail::waiter handler) {
  auto& s = *state_;
  if (s.descriptor < 0) return detail::post_to(s, std::move(handler), asio::error::bad_descriptor);
  if (to_write ? s.writable : s.readable) return detail::post_to(s, std::move(handler), {});
  (to_write ? s.writer : s.reader) = std::move(handler);
  s.loop->waits(1);
  s.loop->watch();
}

std::size_t edge_socket::try_read(std::span<char> into, std::error_code& ec) noexcept {
  auto& s = *state_;
  const auto n = detail::receive_some(s.descriptor, into, ec);
  // A short read has emptied the socket: asking again would only say so (epoll(7)).
  if (n < into.size() && !s.ended && (!ec || ec == asio::error::would_block)) s.readable = false;
  return n;
}

std::size_t edge_socket::try_write(std::span<const asio::const_buffer> from, std::error_code& ec) noexcept {
  auto& s = *state_;
  const auto n = detail::send_some(s.descriptor, from, ec);
  std::size_t total = 0;
  for (const auto& part : from) total += part.size();
  if (n < total) s.writable = false;
  return n;
}

void edge_socket::shutdown_send(std::error_code& ec) noexcept {
  ec.clear();
  if (::shutdown(state_->descriptor, SHUT_WR) != 0) ec.assign(errno, std::system_category());
}

void edge_socket::close() noexcept { detail::close_state(*state_); }

void edge_socket::cancel() noexcept {
  if (state_->descriptor >= 0 && state_->loop != nullptr) detail::abort_waits(*state_);
}

}  // namespace wsproxy
