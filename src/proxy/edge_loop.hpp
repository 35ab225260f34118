// The epoll set behind the edge_sockets of one executor. An edge_context has one for all, and waits for it
// itself; in any other context it is one more descriptor of Asio's, and each strand, which may be on a thread
// of its own, has its own. Private.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <asio/any_io_executor.hpp>
#include <asio/execution_context.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/prefer.hpp>

#include <wsproxy/proxy/detail/submit.hpp>
#include <wsproxy/proxy/detail/target_of.hpp>
#include <wsproxy/proxy/edge_context.hpp>
#include <wsproxy/proxy/edge_socket.hpp>

namespace wsproxy::detail {

class edge_loop;

inline bool is_contexts_own(const asio::any_io_executor& executor) noexcept {
  return target_of<asio::io_context::executor_type>(executor) != nullptr ||
         target_of<edge_context::executor_type>(executor) != nullptr;
}

/// A socket's place in the epoll set. What it can do is remembered until a read or a write says otherwise.
struct edge_state {
  edge_state(std::shared_ptr<const asio::any_io_executor> on, std::shared_ptr<edge_loop> in) noexcept
      : executor(std::move(on)), loop(std::move(in)), direct(is_contexts_own(*executor)) {}

  std::shared_ptr<const asio::any_io_executor> executor;  // one for many sockets
  std::shared_ptr<edge_loop> loop;                        // null once the context is gone
  int descriptor = -1;                                    // closed
  unsigned forks = 0;                                     // see made_descriptor; 0: others may have it
  std::uint32_t turn = 0;  // of the descriptor's number: which of all that bear it in turn this is
  bool direct;             // its executor is the context's own: a handler may run where the event is taken
  bool readable = false;   // as the last event, read or write has shown
  bool writable = false;
  bool urgent = false;   // among the loop's urgent ones
  bool ended = false;    // FIN, reset or error has been seen: reading will not block again
  bool drained = false;  // all was read, up to the FIN
  waiter reader, writer;
  edge_state* next = nullptr;
  edge_state* previous = nullptr;
};

class edge_loop : public std::enable_shared_from_this<edge_loop> {
 public:
  edge_loop() = default;
  edge_loop(const edge_loop&) = delete;
  edge_loop& operator=(const edge_loop&) = delete;
  ~edge_loop() { close_set(); }

  /// The context's thread is going to call turn(): there is no need for Asio. An event of the bell
  /// only ends a turn. Throws std::system_error.
  void drive(int bell_descriptor) {
    open_set();
    add(bell_descriptor, EPOLLIN | EPOLLET, bell);
  }
  /// There is going to be a socket on this executor. Throws std::system_error.
  void begin(const asio::any_io_executor& executor) {
    if (set_ >= 0 || down_) return;
    open_set();
    try {
      watched_.emplace(executor, set_);
    } catch (...) {
      close_set();
      throw;
    }
  }

  bool serves(const asio::any_io_executor& executor) const { return shared_ && *shared_ == executor; }
  /// One copy for all that have the same.
  std::shared_ptr<const asio::any_io_executor> share(asio::any_io_executor executor) {
    if (!shared_ || *shared_ != executor)
      shared_ = std::make_shared<const asio::any_io_executor>(std::move(executor));
    return shared_;
  }

  /// This one is heard between any two full lots of events.
  void hurry(edge_state& s) {
    if (s.urgent) return;
    urgent_.push_back(&s);
    s.urgent = true;
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
    if (s.urgent) std::erase(urgent_, &s);
  }

  void add(edge_state& s) {
    if (s.descriptor < 0) throw std::system_error(EBADF, std::system_category(), "edge_socket");
    const auto number = static_cast<std::size_t>(s.descriptor);
    if (number >= open_.size()) open_.resize(number + 1);
    s.turn = ++turns_;
    add(s.descriptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, name_of(s));
    open_[number] = &s;
  }
  /// It is going to be closed: the kernel takes it out of the set, at the latest when all copies of it are
  /// closed.
  void remove(edge_state& s) noexcept { open_[static_cast<std::size_t>(s.descriptor)] = nullptr; }
  /// It goes on without us.
  void take_out(edge_state& s) noexcept {
    remove(s);
    if (set_ >= 0) ::epoll_ctl(set_, EPOLL_CTL_DEL, s.descriptor, nullptr);
  }

  int waiting() const noexcept { return waiting_; }
  void waits(int more) noexcept { waiting_ += more; }
  /// Called after waits() changed outside of a turn.
  void watch() {
    if (dispatching_ || !watched_) return;
    if (waiting_ > 0 && !watching_) {
      watching_ = true;
      watched_->async_wait(asio::posix::stream_descriptor::wait_read,
                           [self = shared_from_this()](std::error_code ec) {
                             self->watching_ = false;
                             if (!ec) self->take_all();
                             self->watch();
                           });
    } else if (waiting_ == 0 && watching_) {
      watched_->cancel();  // a pending wait would keep the context running for nothing
    }
  }

  /// Waits for events so long (milliseconds; -1: for ever) and calls who waits for them.
  void turn(int timeout) { wait_and_tell(timeout); }

  /// The context ends: what waits is dropped, and the sockets that are left are on their own.
  void shut_down() noexcept {
    const auto self = shared_from_this();
    down_ = true;
    close_set();
    std::vector<waiter> dropped;  // they own operations, which own sockets of this list
    for (auto* s = first_; s != nullptr; s = s->next)
      for (waiter* each : {&s->reader, &s->writer})
        if (*each) dropped.push_back(std::move(*each));
    waiting_ = 0;
    dropped.clear();
    while (first_ != nullptr) {  // nobody is known afterwards: a context may be shut down twice
      auto& left = *first_;
      forget(left);
      left.executor = nobody();
      left.loop.reset();
    }
    shared_.reset();
  }

 private:
  static constexpr int most_events = 128;
  static constexpr std::uint64_t bell = ~std::uint64_t{0};

  static std::shared_ptr<const asio::any_io_executor> nobody() {
    static const auto none = std::make_shared<const asio::any_io_executor>();
    return none;
  }

  void open_set() {
    set_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (set_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  }
  void close_set() noexcept {
    if (set_ >= 0 && !watched_) ::close(set_);
    watched_.reset();
    set_ = -1;
  }
  void add(int descriptor, std::uint32_t events, std::uint64_t name) {
    epoll_event interest{};
    interest.events = events;
    interest.data.u64 = name;
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, descriptor, &interest) == 0) return;
    // Closed here, but not by all who had a copy, and it is back under its old number.
    if (errno != EEXIST || ::epoll_ctl(set_, EPOLL_CTL_MOD, descriptor, &interest) != 0)
      throw std::system_error(errno, std::system_category(), "epoll_ctl");
  }
  /// Null if that one was closed since.
  edge_state* find(std::uint64_t name) const noexcept {
    const auto number = static_cast<std::uint32_t>(name);
    auto* const s = number < open_.size() ? open_[number] : nullptr;
    return s != nullptr && s->turn == name >> 32 ? s : nullptr;
  }

  void take_all() {
    for (int rounds = 0; rounds != 4 && set_ >= 0; ++rounds)
      if (wait_and_tell(0) < most_events) break;  // what came since shows when the wait begins anew
  }
  int wait_and_tell(int timeout) {
    std::array<epoll_event, most_events> events;
    const int count = ::epoll_wait(set_, events.data(), most_events, timeout);
    dispatching_ = true;
    for (int i = 0; i < count; ++i)
      tell(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
    if (count == most_events) tell_urgent();
    dispatching_ = false;
    return count;
  }

  // The kernel tells of events in their order, and many may be before one that cannot wait. By index: the
  // list may change in a handler; one that is missed by that has its event.
  void tell_urgent() {
    for (std::size_t i = 0; i < urgent_.size(); ++i) {
      const auto& s = *urgent_[i];
      pollfd at{s.descriptor, POLLIN, 0};
      if (s.reader && ::poll(&at, 1, 0) > 0) tell(name_of(s), EPOLLIN);
    }
  }
  static std::uint64_t name_of(const edge_state& s) noexcept {
    return std::uint64_t{s.turn} << 32 | static_cast<std::uint32_t>(s.descriptor);
  }

  void tell(std::uint64_t name, std::uint32_t events) {
    auto* s = find(name);
    if (s == nullptr) return;
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) s->ended = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      s->readable = true;
      if (s->reader) {
        call(*s, s->reader);
        s = find(name);  // it may be closed, or gone
      }
    }
    if (s != nullptr && (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) {
      s->writable = true;
      if (s->writer) call(*s, s->writer);
    }
  }
  void call(edge_state& s, waiter& which) {
    --waiting_;
    if (s.direct) try {
        return which({});
      } catch (...) {  // out of the context's run(), as from any handler; the other events go on
        // The socket may have gone with its handler; any executor of this context will do.
        return post_on(*shared_, [thrown = std::current_exception()] { std::rethrow_exception(thrown); });
      }
    post_on(*s.executor, [handler = std::move(which)]() mutable { handler({}); });
  }

  int set_ = -1;
  std::optional<asio::posix::stream_descriptor> watched_;  // owns the set where Asio waits for it
  std::shared_ptr<const asio::any_io_executor> shared_;    // the last socket's
  edge_state* first_ = nullptr;
  std::vector<edge_state*> open_;  // by descriptor
  std::vector<edge_state*> urgent_;
  std::uint32_t turns_ = 0;
  int waiting_ = 0;
  bool watching_ = false;
  bool dispatching_ = false;
  bool down_ = false;
};

/// The loops of a context.
class edge_loops final : public asio::execution_context::service {
 public:
  using key_type = edge_loops;
  inline static asio::execution_context::id id;

  explicit edge_loops(asio::execution_context& context) : service(context) {}

  /// For a context that one thread runs, whatever its strands.
  edge_loop& one_for_all() {
    only_ = std::make_shared<edge_loop>();
    return *only_;
  }
  /// A new state on this executor. From any thread.
  std::unique_ptr<edge_state, edge_state_deleter> make_state(asio::any_io_executor executor) {
    executor =
        asio::prefer(executor, asio::execution::outstanding_work.untracked);  // the copy outlives its socket
    const std::lock_guard lock(mutex_);
    auto loop = only_ ? only_ : loop_of(executor);
    auto shared = loop->share(std::move(executor));
    return std::unique_ptr<edge_state, edge_state_deleter>(
        new edge_state(std::move(shared), std::move(loop)));
  }

 private:
  // The sockets of a strand mostly come one after the other. One that comes much later gets a loop of its
  // own, which is on the same strand and does no harm: looking for it among thousands would.
  std::shared_ptr<edge_loop> loop_of(const asio::any_io_executor& executor) {
    if (own_ && own_->serves(executor)) return own_;
    const auto last = others_.size() - std::min(others_.size(), looked_at);
    for (auto at = others_.size(); at != last; --at)
      if (auto alive = others_[at - 1].lock(); alive && alive->serves(executor)) return alive;
    auto made = std::make_shared<edge_loop>();
    if (is_contexts_own(executor)) return own_ = made;
    if (others_.size() >= cleared_at_) {
      std::erase_if(others_, [](const std::weak_ptr<edge_loop>& each) { return each.expired(); });
      cleared_at_ = 2 * others_.size() + looked_at;
    }
    others_.push_back(made);
    return made;
  }
  void shutdown() noexcept override {
    if (only_) only_->shut_down();
    if (own_) own_->shut_down();
    for (const auto& each : others_)
      if (const auto alive = each.lock()) alive->shut_down();
  }

  static constexpr std::size_t looked_at = 16;

  std::mutex mutex_;
  std::shared_ptr<edge_loop> only_;               // of an edge_context
  std::shared_ptr<edge_loop> own_;                // of the context's own executor
  std::vector<std::weak_ptr<edge_loop>> others_;  // of strands; they are there while they have sockets
  std::size_t cleared_at_ = looked_at;            // so many of them, and those that are gone are forgotten
};

}  // namespace wsproxy::detail
