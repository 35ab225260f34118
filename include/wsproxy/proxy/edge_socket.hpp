// A socket whose readiness is watched once: registered edge-triggered in an epoll set of the context's own,
// so that waiting costs no system call. The gateway relays over these; any host that accepts descriptors
// itself can. Linux.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/buffer.hpp>

#include <wsproxy/export.hpp>
#include <wsproxy/proxy/detail/made_descriptor.hpp>
#include <wsproxy/proxy/stream.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

namespace detail {

/// A stored handler `void(std::error_code)`: move-only, small ones without an allocation. Called once.
class waiter {
 public:
  waiter() = default;
  waiter(waiter&& from) noexcept : ops_(std::exchange(from.ops_, nullptr)) {
    if (ops_ != nullptr) ops_->move(from.place_, place_);
  }
  waiter& operator=(waiter&& from) noexcept {
    if (this != &from) {
      reset();
      ops_ = std::exchange(from.ops_, nullptr);
      if (ops_ != nullptr) ops_->move(from.place_, place_);
    }
    return *this;
  }
  ~waiter() { reset(); }

  template <class Handler> static waiter of(Handler handler) {
    waiter w;
    if constexpr (sizeof(Handler) <= sizeof(w.place_) && alignof(Handler) <= alignof(void*) &&
                  std::is_nothrow_move_constructible_v<Handler>) {
      new (w.place_) Handler(std::move(handler));
      w.ops_ = &inline_operations<Handler>;
    } else {
      w = of([kept = std::make_unique<Handler>(std::move(handler))](std::error_code ec) { (*kept)(ec); });
    }
    return w;
  }

  explicit operator bool() const noexcept { return ops_ != nullptr; }
  void operator()(std::error_code ec) {
    waiter self = std::move(*this);
    self.ops_->call(self.place_, ec);
  }

 private:
  struct operations {
    void (*call)(void*, std::error_code);
    void (*move)(void*, void*) noexcept;
    void (*destroy)(void*) noexcept;
  };
  template <class Handler>
  static constexpr operations inline_operations{
      [](void* at, std::error_code ec) { (*static_cast<Handler*>(at))(ec); },
      [](void* from, void* to) noexcept {
        new (to) Handler(std::move(*static_cast<Handler*>(from)));
        static_cast<Handler*>(from)->~Handler();
      },
      [](void* at) noexcept { static_cast<Handler*>(at)->~Handler(); }};
  void reset() noexcept {
    if (const auto* ops = std::exchange(ops_, nullptr)) ops->destroy(place_);
  }

  const operations* ops_ = nullptr;
  alignas(void*) unsigned char place_[24];
};

class edge_connector;
struct edge_state;
struct WSPROXY_EXPORT edge_state_deleter {
  void operator()(edge_state*) const noexcept;
};

}  // namespace detail

/// A readiness_stream over a descriptor. Move-only; closes it at the end. One wait in each direction at a
/// time. All members on the executor, which is a context that one thread runs, or a strand. Sockets of one
/// strand share an epoll set (a descriptor), those of another have another; an edge_context has one for all.
class WSPROXY_EXPORT edge_socket {
 public:
  using executor_type = asio::any_io_executor;  ///< as Asio names it

  /// Takes over a connected, connecting or listening stream socket; also when it throws std::system_error (no
  /// room in the epoll set). O_NONBLOCK is neither needed nor changed.
  edge_socket(asio::any_io_executor executor, int descriptor);
  /// A closed one.
  explicit edge_socket(asio::any_io_executor executor);
  edge_socket(edge_socket&&) noexcept = default;  ///< the other can only be assigned to or destroyed
  edge_socket& operator=(edge_socket&&) noexcept = default;  ///< the same; closes what this one was

  executor_type get_executor() const noexcept;  ///< as given to the constructor
  /// Takes over a descriptor in place of the present one; not if there is an error, which is returned: then
  /// it is still the caller's, and this is closed.
  std::error_code assign(int descriptor) noexcept;
  std::error_code assign(detail::made_descriptor) noexcept;  ///< the same of one that wsproxy has made
  /// Gives the descriptor up without closing it; pending waits end with asio::error::operation_aborted. -1 if
  /// closed.
  int release() noexcept;
  int native_handle() const noexcept;  ///< the descriptor, which stays its own; -1 if closed
  /// It has a descriptor.
  bool is_open() const noexcept { return native_handle() >= 0; }

  // What stream_traits calls (proxy/stream.hpp).

  /// `handler(std::error_code)` once there may be something to read, or asio::error::operation_aborted.
  template <class Handler> void async_wait_read(Handler handler) {
    wait(false, detail::waiter::of(std::move(handler)));
  }
  /// The same of writing.
  template <class Handler> void async_wait_write(Handler handler) {
    wait(true, detail::waiter::of(std::move(handler)));
  }
  /// Reads what is there, without blocking. 0 with asio::error::would_block, asio::error::eof, or another
  /// error.
  std::size_t try_read(std::span<char> into, std::error_code& ec) noexcept;
  /// Writes what is taken at once. 0 with asio::error::would_block, or another error; raises no SIGPIPE.
  std::size_t try_write(std::span<const asio::const_buffer> from, std::error_code& ec) noexcept;
  /// The same where shutdown_send() follows once all is taken: the last bytes may be kept back for its segment.
  std::size_t try_write_last(std::span<const asio::const_buffer> from, std::error_code& ec) noexcept;
  /// Somebody else's call on the descriptor (accept, recvmsg) has found nothing to read: the next wait waits.
  void exhausted() noexcept;
  /// From now on, whatever its descriptor, it is told of what there is to read among any hundred or so others
  /// that are told something, and not behind all of them: for a listening socket, whose queue must not run
  /// over while a thousand connections end. It costs a system call in every such hundred.
  void hurry();
  void shutdown_send(std::error_code& ec) noexcept;  ///< FIN; reading goes on
  void close() noexcept;                             ///< waits end with asio::error::operation_aborted
  /// Both at once: in one system call, if the peer's end was read, wsproxy has made the descriptor by dialling or
  /// accepting, and the process has not forked since. Else something may be unread, which would make a reset of
  /// it, or something may have a copy, which would withhold the FIN; as one does that the host makes itself.
  void shutdown_send_and_close() noexcept;
  void cancel() noexcept;  ///< the same, and it stays open

 private:
  friend class detail::edge_connector;
  void wait(bool to_write, detail::waiter handler);
  std::size_t write(std::span<const asio::const_buffer> from, std::error_code& ec, int flags) noexcept;
  // How connecting went, once it is writable.
  std::error_code connected() const noexcept;
  std::unique_ptr<detail::edge_state, detail::edge_state_deleter> state_;
};

/// Dials as socket_dialer does, into edge_sockets.
class edge_dialer {
 public:
  using stream_type = edge_socket;  ///< what it makes

  /// Completion signature: void(std::error_code, edge_socket). Any cancellation type ends it.
  template <asio::completion_token_for<void(std::error_code, edge_socket)> Token =
                default_token<asio::any_io_executor>>
  auto async_dial(const address& to, asio::any_io_executor executor,
                  Token&& token = default_token<asio::any_io_executor>());
};

}  // namespace wsproxy

#include <wsproxy/proxy/impl/edge_socket.hpp>
