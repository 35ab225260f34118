// Hand over a file descriptor: for hosts with an event loop of their own, or with a thread per connection.
//
//   wsproxy::worker_pool pool(2);                                  // threads of the library's own
//   wsproxy::upstream chat({{.name = "127.0.0.1:9001"}, {.name = "127.0.0.1:9002"}});
//
//   // Where the host has read a request for /chat from `fd`:
//   wsproxy::exchange what{.head = head, .early = bytes_read_behind_the_head};
//   pool.adopt(wsproxy::descriptor::given(fd), chat, std::move(what),
//              [](wsproxy::forward_result end) { std::cout << to_string(end.cause) << '\n'; });
//
// What it does with the request is what async_forward does (proxy/forward.hpp). This header needs no Asio.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <wsproxy/export.hpp>
#include <wsproxy/http/head_parser.hpp>
#include <wsproxy/http/message.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/proxy/exchange.hpp>
#include <wsproxy/proxy/session.hpp>
#include <wsproxy/upstream/upstream.hpp>

namespace wsproxy {

namespace detail {
struct adoption_state;
struct pool_state;
struct ready_state;
}  // namespace detail

/// A client's connection (a connected stream socket), and whose it is afterwards. The host neither reads nor
/// writes it, nor waits for it, until the callback has been called. Blocking or not, O_NONBLOCK is neither
/// needed nor changed (it would change for every duplicate of the descriptor), except where there is no
/// epoll.
class descriptor {
 public:
  /// Given away: wsproxy closes it in every case, before the callback is called. A refusal, and a failure
  /// before anything was sent, is answered to the client by wsproxy, and a plain answer is the connection's
  /// last.
  static descriptor given(int number) noexcept { return {number, false}; }
  /// Lent: wsproxy never closes it and answers nothing of its own; when the callback is called it is the
  /// host's again. After a tunnel (`result.at == stage::tunnel`) nothing is left but to close it. Else, where
  /// `result.committed` is false, the host may answer (`result.status`), and where `result.keep_alive` is
  /// true the connection can carry another request, whose first bytes may be in `result.leftover`.
  static descriptor lent(int number) noexcept { return {number, true}; }

  int number() const noexcept { return number_; }  ///< the file descriptor
  bool is_lent() const noexcept { return lent_; }  ///< whose it is afterwards

 private:
  descriptor(int number, bool lent) noexcept : number_(number), lent_(lent) {}
  int number_;
  bool lent_;
};

/// A request that the host has not read, or not to the end of its head.
struct unread_request {
  std::string received{};  ///< all that was read from the connection; often nothing
  head_limits limits{};    ///< of its head
  /// How to treat it: everything but `head` and `early`. The timer is its route's timeouts::client_head.
  exchange what{};
};

/// An adopted connection, seen from outside. It keeps nothing open, may be copied, and every member may be
/// called from any thread at any time, also after the end (then nothing happens).
class WSPROXY_EXPORT adoption {
 public:
  adoption() = default;
  /// For the library, which makes them.
  explicit adoption(std::shared_ptr<detail::adoption_state> state) noexcept : state_(std::move(state)) {}

  /// The tunnel; an empty handle before its 101, and where there is none.
  session_handle session() const;
  /// Ends it now, at whatever stage it is.
  void abort() const;

 private:
  std::shared_ptr<detail::adoption_state> state_;
};

/// A verified 101 that waits for its client's side, in the pool whose `handshake` made it. Move-only; counts
/// on its backend while it lives; may be destroyed on any thread, which closes the connection to the backend.
class WSPROXY_EXPORT ready_tunnel {
 public:
  /// For the library, which makes them.
  explicit ready_tunnel(std::unique_ptr<detail::ready_state> state) noexcept;
  ready_tunnel(ready_tunnel&&) noexcept;             ///< the other can only be assigned to or destroyed
  ready_tunnel& operator=(ready_tunnel&&) noexcept;  ///< the same; closes what this one was
  ~ready_tunnel();

  /// The 101 that a host is to send to its client, hop-by-hop fields as they must be: Connection, Upgrade,
  /// Sec-WebSocket-Accept, -Protocol and -Extensions, and what else the backend sent.
  const response_head& response() const noexcept;
  /// Which backend accepted.
  std::shared_ptr<const wsproxy::backend> backend() const noexcept;

 private:
  friend class worker_pool;
  std::unique_ptr<detail::ready_state> state_;
};

/// What `worker_pool::handshake` found. Exactly one of `accepted` and `answer` is set, unless `result.error`
/// is.
struct ready_result {
  /// `status` is what to answer the client with, where nothing was accepted.
  forward_result result{};
  std::optional<ready_tunnel> accepted{};  ///< a verified 101
  /// The head of any other final answer; its body has not been read.
  std::optional<response_head> answer{};
};

/// Threads that relay for a host; the only ones this library starts. They block every signal but those of
/// the thread's own faults, so SIGPIPE too: the host's handlers run on the host's threads.
///
/// Every member may be called from any thread, but `drain` and the destructor from no callback. Callbacks run
/// on the thread that has the connection; they must not block or throw, and may call every other member. Each
/// is called exactly once, never inside the call that it was given to, whatever happens.
class WSPROXY_EXPORT worker_pool {
 public:
  /// Zero threads: one for each processor. Throws std::system_error if one cannot be started.
  explicit worker_pool(unsigned threads = 0);
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;
  /// Ends what is left as `stop` does, and returns when every callback has returned.
  ~worker_pool();

  /// How many it has.
  unsigned threads() const noexcept;
  /// Connections and handshakes whose callback has not returned.
  std::size_t live() const noexcept;

  /// Takes a connection whose request the host has read, to its very end. `what.early` are the bytes that
  /// were read behind the head: mandatory, often none. Where `what.client` or `what.local` is empty, the
  /// descriptor is asked. The descriptor changes hands in this call whatever follows, also if the number is
  /// none of a socket: the result says so.
  adoption adopt(descriptor client, upstream backends, exchange what,
                 std::function<void(forward_result)> on_end = {});

  /// The same, of a connection whose request is still to be read, or to be read on.
  /// A head that is refused, or does not come in time, is a result with stage::head.
  adoption adopt(descriptor client, upstream backends, unread_request request,
                 std::function<void(forward_result)> on_end = {});

  /// For a host that sends the 101 itself: the handshake with a backend, before anything is said to the
  /// client. `what.early` is left empty; what comes of the client meanwhile belongs into `adopt`. The
  /// returned handle's `session` is that of the tunnel it becomes.
  adoption handshake(upstream backends, exchange what, std::function<void(ready_result)> on_ready);

  /// The second half: the client's connection, behind the 101 that the host has sent. `early` are the bytes
  /// that the host has read from it behind the request's head: mandatory, often none. Throws
  /// std::invalid_argument, and the descriptor stays the host's, where `accepted` was moved from or is
  /// another pool's.
  adoption adopt(descriptor client, ready_tunnel accepted, std::string early,
                 std::function<void(forward_result)> on_end = {});

  /// Closes every tunnel politely, lets other requests end, and refuses new ones (status 503); at the
  /// deadline ends what is left. Returns when nothing is; false if the deadline was needed. A second call
  /// waits for the first one's drain, with a deadline of its own.
  bool drain(const drain_options& options = {});
  /// Ends everything now, without a Close, and whatever is still handed over. Returns at once.
  void stop();

 private:
  std::shared_ptr<detail::pool_state> state_;
};

}  // namespace wsproxy
