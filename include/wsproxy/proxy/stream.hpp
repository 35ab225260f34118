// What a connection must be able to do for wsproxy to relay over it.
//
// Two tiers. A `readiness_stream` can be waited for and then read and written without blocking: an idle
// tunnel over two of them holds no buffer. Asio's TCP, Unix and generic stream sockets are readiness
// streams as they are. Everything else that has async_read_some and async_write_some (TLS, a host's own
// stream) is an `async_stream`; a buffer is held while it is read.
//
// To make a type of your own fit, give it the members that `stream_traits` calls, or specialise
// `stream_traits` for it. A stream without a way to close its sending side does not compile: half-close is a
// decision, not an accident.
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include <asio/any_io_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/basic_stream_socket.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/post.hpp>

namespace wsproxy {

namespace detail {

/// recv and sendmsg without blocking, whatever O_NONBLOCK says, and without SIGPIPE.
template <class Count> std::size_t transferred(Count n, bool end, std::error_code& ec) noexcept {
  if (ec) ec.clear();  // which asks another library for its category
  if (end) ec = asio::error::eof;
  else if (n >= 0) return static_cast<std::size_t>(n);
  else if (errno == EAGAIN || errno == EWOULDBLOCK) ec = asio::error::would_block;
  else ec.assign(errno, std::system_category());
  return 0;
}

inline std::size_t receive_some(int descriptor, std::span<char> into, std::error_code& ec) noexcept {
  for (;;) {
    const auto n = ::recv(descriptor, into.data(), into.size(), MSG_DONTWAIT);
    if (n >= 0 || errno != EINTR) return transferred(n, n == 0 && !into.empty(), ec);
  }
}

#ifdef MSG_MORE
inline constexpr int more_follows = MSG_MORE;
#else
inline constexpr int more_follows = 0;
#endif

inline std::size_t send_some(int descriptor, std::span<const asio::const_buffer> from, std::error_code& ec,
                             int flags = 0) noexcept {
#ifdef MSG_NOSIGNAL
  flags |= MSG_DONTWAIT | MSG_NOSIGNAL;
#else
  flags |= MSG_DONTWAIT;  // Asio sets SO_NOSIGPIPE where there is no flag
#endif
  if (from.size() == 1) {
    for (;;) {
      const auto n = ::send(descriptor, from.front().data(), from.front().size(), flags);
      if (n >= 0 || errno != EINTR) return transferred(n, false, ec);
    }
  }
  iovec vector[16];
  msghdr message{};
  message.msg_iov = vector;
  for (const auto& buffer : from.first(from.size() < 16 ? from.size() : 16))
    vector[message.msg_iovlen++] = {const_cast<void*>(buffer.data()), buffer.size()};
  for (;;) {
    const auto n = ::sendmsg(descriptor, &message, flags);
    if (n >= 0 || errno != EINTR) return transferred(n, false, ec);
  }
}

}  // namespace detail

/// How wsproxy uses a stream. The primary template calls members of the same names.
template <class Stream> struct stream_traits {
  /// handler(error_code) once a read may make progress, or the stream was cancelled or closed.
  template <class Handler> static void async_wait_read(Stream& s, Handler&& handler) requires requires {
    s.async_wait_read(std::forward<Handler>(handler));
  }
  { s.async_wait_read(std::forward<Handler>(handler)); }
  /// The same of a write.
  template <class Handler> static void async_wait_write(Stream& s, Handler&& handler) requires requires {
    s.async_wait_write(std::forward<Handler>(handler));
  }
  { s.async_wait_write(std::forward<Handler>(handler)); }
  /// Reads what is there. 0 and asio::error::would_block, asio::error::eof, or another error.
  static std::size_t try_read(Stream& s, std::span<char> into, std::error_code& ec) requires requires {
    s.try_read(into, ec);
  }
  { return s.try_read(into, ec); }
  /// Writes what is taken at once; never raises a signal. 0 and asio::error::would_block for nothing.
  static std::size_t try_write(Stream& s, std::span<const asio::const_buffer> from,
                               std::error_code& ec) requires requires {
    s.try_write(from, ec);
  }
  { return s.try_write(from, ec); }
  /// The same where shutdown_send() follows as soon as all is taken: the last bytes may be kept back to be
  /// sent with the FIN. Optional: try_write is called of a stream without it.
  static std::size_t try_write_last(Stream& s, std::span<const asio::const_buffer> from,
                                    std::error_code& ec) requires requires {
    s.try_write_last(from, ec);
  }
  { return s.try_write_last(from, ec); }

  /// Closes the sending side (FIN): what was written is still delivered, and reading goes on.
  static void shutdown_send(Stream& s, std::error_code& ec) requires requires { s.shutdown_send(ec); }
  { s.shutdown_send(ec); }
  /// Closes the stream; operations on it end with an error.
  static void close(Stream& s) requires requires { s.close(); }
  { s.close(); }
  /// shutdown_send() and close() at once, for a peer of which nothing more is expected. Optional: a stream
  /// without it gets both calls.
  static void shutdown_send_and_close(Stream& s) requires requires { s.shutdown_send_and_close(); }
  { s.shutdown_send_and_close(); }
  /// Ends pending waits, reads and writes with asio::error::operation_aborted; the stream stays open.
  static void cancel(Stream& s) requires requires { s.cancel(); }
  { s.cancel(); }
};

/// Asio's sockets. Reading and writing need no O_NONBLOCK (though some versions of Asio set it, for all who
/// share the descriptor, when a wait begins; edge_socket never does), and SIGPIPE is never raised.
template <class Protocol, class Executor>
struct stream_traits<asio::basic_stream_socket<Protocol, Executor>> {
  using socket = asio::basic_stream_socket<Protocol, Executor>;

  template <class Handler> static void async_wait_read(socket& s, Handler&& handler) {
    s.async_wait(socket::wait_read, std::forward<Handler>(handler));
  }
  template <class Handler> static void async_wait_write(socket& s, Handler&& handler) {
    s.async_wait(socket::wait_write, std::forward<Handler>(handler));
  }
  static std::size_t try_read(socket& s, std::span<char> into, std::error_code& ec) {
    return detail::receive_some(s.native_handle(), into, ec);
  }
  static std::size_t try_write(socket& s, std::span<const asio::const_buffer> from, std::error_code& ec) {
    return detail::send_some(s.native_handle(), from, ec);
  }
  static std::size_t try_write_last(socket& s, std::span<const asio::const_buffer> from,
                                    std::error_code& ec) {
    return detail::send_some(s.native_handle(), from, ec, detail::more_follows);
  }
  static void shutdown_send(socket& s, std::error_code& ec) { s.shutdown(socket::shutdown_send, ec); }
  static void close(socket& s) {
    std::error_code ignored;
    s.close(ignored);
  }
  static void cancel(socket& s) {
    std::error_code ignored;
    s.cancel(ignored);
  }
};

namespace detail {
struct probe_handler {
  void operator()(std::error_code, std::size_t = 0) const {}
};
template <class S>
concept closable = requires(S& s, std::error_code& ec) {
  { s.get_executor() } -> std::convertible_to<asio::any_io_executor>;
  stream_traits<S>::shutdown_send(s, ec);
  stream_traits<S>::close(s);
  stream_traits<S>::cancel(s);
};

/// As the stream does it, or one after the other.
template <class S> void shutdown_send_and_close(S& s) {
  if constexpr (requires { stream_traits<S>::shutdown_send_and_close(s); }) {
    stream_traits<S>::shutdown_send_and_close(s);
  } else {
    std::error_code ignored;
    stream_traits<S>::shutdown_send(s, ignored);
    stream_traits<S>::close(s);
  }
}
}  // namespace detail

/// Can be waited for, and then read and written without blocking.
template <class S>
concept readiness_stream = detail::closable<S> &&
    requires(S& s, std::span<char> into, std::span<const asio::const_buffer> from, std::error_code& ec) {
  stream_traits<S>::async_wait_read(s, detail::probe_handler{});
  stream_traits<S>::async_wait_write(s, detail::probe_handler{});
  { stream_traits<S>::try_read(s, into, ec) } -> std::same_as<std::size_t>;
  { stream_traits<S>::try_write(s, from, ec) } -> std::same_as<std::size_t>;
};

/// Asio's AsyncReadStream and AsyncWriteStream, with a half-close.
template <class S>
concept async_stream = detail::closable<S> &&
    requires(S& s, asio::mutable_buffer into, asio::const_buffer from) {
  s.async_read_some(into, detail::probe_handler{});
  s.async_write_some(from, detail::probe_handler{});
};

/// Any of the two. All operations on one exchange's streams run on the downstream stream's executor, which
/// must not run two handlers at a time: a context that one thread runs, or a strand.
template <class S>
concept stream_like = readiness_stream<S> || async_stream<S>;

namespace detail {
template <class T> struct executor_of { using type = T; };
template <class S>
requires requires(S& s) { s.get_executor(); }
struct executor_of<S> {
  using type = std::remove_cvref_t<decltype(std::declval<S&>().get_executor())>;
};
template <class T> using executor_of_t = typename executor_of<T>::type;
}  // namespace detail

/// The completion token of an operation that is given none: what the stream's executor, or this executor,
/// says (asio::use_awaitable_t<>::as_default_on and its kin). Where that says nothing, Asio 1.31 and newer
/// take asio::deferred; with an older one a token must be given.
template <class S> using default_token = asio::default_completion_token_t<detail::executor_of_t<S>>;

}  // namespace wsproxy
