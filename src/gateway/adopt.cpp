#include <wsproxy/gateway/adopt.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>
#include <unordered_set>
#include <utility>
#include <variant>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <wsproxy/proxy/edge_socket.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/tunnel.hpp>
#include <wsproxy/websocket/handshake.hpp>

#include "listener.hpp"

namespace wsproxy {

namespace detail {

using stream_endpoint = asio::generic::stream_protocol::endpoint;

#ifdef __linux__
using relay_socket = edge_socket;
using relay_dialer = edge_dialer;
std::error_code take(edge_socket& into, int number, int) {
  return into.assign(number);
}
void give_up(edge_socket& from) {
  from.release();
}
#else
using relay_socket = upstream_socket;
using relay_dialer = socket_dialer;
std::error_code take(upstream_socket& into, int number, int family) {
  std::error_code error;
  into.assign(asio::generic::stream_protocol(family, 0), number, error);
  return error;
}
void give_up(upstream_socket& from) {
  std::error_code ignored;
  from.release(ignored);
}
#endif

/// The client's side of a relay: a lent descriptor is let go of where another would be closed.
class client_socket {
  using traits = stream_traits<relay_socket>;

 public:
  client_socket(const asio::any_io_executor& executor, bool lent) : socket_(executor), lent_(lent) {}

  std::error_code assign(int number, int family) { return take(socket_, number, family); }

  asio::any_io_executor get_executor() { return socket_.get_executor(); }
  template <class Handler>
  void async_wait_read(Handler handler) {
    traits::async_wait_read(socket_, std::move(handler));
  }
  template <class Handler>
  void async_wait_write(Handler handler) {
    traits::async_wait_write(socket_, std::move(handler));
  }
  std::size_t try_read(std::span<char> into, std::error_code& ec) {
    return traits::try_read(socket_, into, ec);
  }
  std::size_t try_write(std::span<const asio::const_buffer> from, std::error_code& ec) {
    return traits::try_write(socket_, from, ec);
  }
  void shutdown_send(std::error_code& ec) { traits::shutdown_send(socket_, ec); }
  void cancel() { traits::cancel(socket_); }
  void close() {
    if (lent_)
      give_up(socket_);
    else
      traits::close(socket_);
  }

 private:
  relay_socket socket_;
  bool lent_;
};

// ---- A thread and its context.

class job;

class worker {
 public:
  worker() : context_(std::make_unique<asio::io_context>(1)), work_(asio::make_work_guard(*context_)) {}

  void start() {
    thread_ = std::thread([this] { context_->run(); });
  }
  /// Runs `f` on the thread; drops it once the thread is gone.
  template <class F>
  void post(F f) {
    const std::lock_guard lock(mutex_);
    if (context_) asio::post(*context_, std::move(f));
  }
  /// Nothing is left to be called: ends the thread, and what others still hold of this context is inert.
  void end() {
    context_->stop();
    if (thread_.joinable()) thread_.join();
    const std::lock_guard lock(mutex_);
    work_.reset();
    context_.reset();
  }
  asio::any_io_executor executor() const { return context_->get_executor(); }

  std::atomic<std::size_t> live{0};
  std::unordered_set<job*> jobs;  // touched by the thread only

 private:
  std::mutex mutex_;  // of context_'s end
  std::unique_ptr<asio::io_context> context_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

struct adoption_state {
  explicit adoption_state(std::shared_ptr<worker> on) : where(std::move(on)) {}
  const std::shared_ptr<worker> where;
  std::mutex mutex;
  std::weak_ptr<job> work;
  session_handle session;
};

struct pool_state {
  void add(std::shared_ptr<job> work);
  void done(worker& from) {
    const std::lock_guard lock(mutex);
    --from.live;
    if (--live == 0) ended.notify_all();
  }
  const std::shared_ptr<worker>& least_busy() const {
    return *std::min_element(workers.begin(), workers.end(),
                             [](const auto& a, const auto& b) { return a->live < b->live; });
  }
  void drain_all();
  void stop_all();

  std::vector<std::shared_ptr<worker>> workers;
  std::mutex mutex;
  std::condition_variable ended;
  std::size_t live = 0;
  std::atomic<bool> draining{false}, stopped{false};
  drain_options how;  // set before `draining`
};

// ---- What a worker does for a host: begins, and ends with one callback. The pool outlives it.

class job : public std::enable_shared_from_this<job> {
 public:
  job(pool_state& pool, std::shared_ptr<adoption_state> state) : pool_(pool), state_(std::move(state)) {}
  virtual ~job() = default;

  void enter() {
    state_->where->jobs.insert(this);
    begin();
  }
  void stop() { stop_.emit(asio::cancellation_type::terminal); }
  void drain() {
    const auto tunnel = session();
    if (tunnel.id() != 0) tunnel.drain(pool_.how);
  }
  const std::shared_ptr<adoption_state>& state() const noexcept { return state_; }

 protected:
  virtual void begin() = 0;

  template <class Handler>
  auto stoppable(Handler handler) {
    return asio::bind_cancellation_slot(stop_.slot(), std::move(handler));
  }
  /// The callback's turn.
  template <class Callback>
  void leave(Callback callback) {
    state_->where->jobs.erase(this);
    callback();
    pool_.done(*state_->where);
  }
  /// Puts ours before the host's own.
  auto telling(std::function<void(session_handle)> next) {
    return [this_pool = &pool_, state = state_, next = std::move(next)](const session_handle& session) {
      {
        const std::lock_guard lock(state->mutex);
        state->session = session;
      }
      if (this_pool->draining) session.drain(this_pool->how);
      if (next) next(session);
    };
  }
  session_handle session() const {
    const std::lock_guard lock(state_->mutex);
    return state_->session;
  }
  asio::any_io_executor executor() const { return state_->where->executor(); }
  static forward_result ended_here(std::error_code error, end_cause cause, int status) {
    forward_result result;
    result.error = error;
    result.at = stage::head;
    result.who = side::local;
    result.cause = cause;
    result.status = status;
    result.begun = result.ended = std::chrono::steady_clock::now();
    return result;
  }
  bool stopped() const noexcept { return pool_.stopped; }
  /// Nothing new is begun.
  bool closing() const noexcept { return pool_.draining || pool_.stopped; }
  forward_result turned_away() const {
    return ended_here(errc::cancelled, stopped() ? end_cause::aborted : end_cause::refused, 503);
  }

 private:
  pool_state& pool_;
  const std::shared_ptr<adoption_state> state_;
  asio::cancellation_signal stop_;
};

// From here on only the worker's thread has it: what it is made of must not end on another.
void pool_state::add(std::shared_ptr<job> work) {
  const auto state = work->state();
  {
    const std::lock_guard lock(mutex);
    ++live;
    ++state->where->live;
  }
  {
    const std::lock_guard lock(state->mutex);
    state->work = work;
  }
  state->where->post([work = std::move(work)] { work->enter(); });
}

void pool_state::drain_all() {
  for (const auto& each : workers)
    each->post([each = each.get()] {
      for (auto* work : each->jobs) work->drain();
    });
}

void pool_state::stop_all() {
  for (const auto& each : workers)
    each->post([each = each.get()] {
      std::vector<std::shared_ptr<job>> all;
      for (auto* work : each->jobs) all.push_back(work->shared_from_this());
      for (const auto& work : all) work->stop();
    });
}

struct ready_state {
  std::shared_ptr<adoption_state> state;
  response_head response;
  std::optional<switched<relay_socket>> up;
};

// ---- A client's connection.

namespace {

/// What is to be done with it.
struct exchange_task {
  upstream to;
  exchange what;
};
struct unread_task {
  upstream to;
  unread_request request;
};
struct tunnel_task {
  switched<relay_socket> up;
  std::string early;
};
using task = std::variant<exchange_task, unread_task, tunnel_task>;

class connection final : public job {
 public:
  connection(pool_state& pool, std::shared_ptr<adoption_state> state, descriptor client, task work,
             std::function<void(forward_result)> on_end)
      : job(pool, std::move(state)), client_(client), task_(std::move(work)), on_end_(std::move(on_end)) {}

 private:
  void begin() override {
    if (auto failed = open()) {
      if (!client_.is_lent() && client_.number() >= 0) ::close(client_.number());
      return report(std::move(*failed));
    }
    auto* const ready = std::get_if<tunnel_task>(&task_);
    if (ready != nullptr && stopped())
      report(behind_the_101(turned_away()));
    else if (ready != nullptr)
      relay(std::move(*ready));  // and is drained at once, if all are
    else if (closing())
      finish(turned_away());
    else if (auto* unread = std::get_if<unread_task>(&task_))
      read(std::move(*unread));
    else
      forward(std::move(std::get<exchange_task>(task_)));
  }

  /// The result if it cannot be had.
  std::optional<forward_result> open() {
    socket_.emplace(executor(), client_.is_lent());
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    std::error_code error;
    int status = 0;  // there is nobody to answer
    if (::getsockname(client_.number(), reinterpret_cast<sockaddr*>(&own), &size) != 0)
      error.assign(errno, std::system_category());
    else if ((error = socket_->assign(client_.number(), own.ss_family)))
      status = 503;
    if (!error) return std::nullopt;
    auto failed = ended_here(error, end_cause::failed, status);
    return std::holds_alternative<tunnel_task>(task_) ? behind_the_101(std::move(failed)) : failed;
  }

  static forward_result behind_the_101(forward_result result) {
    result.at = stage::tunnel;
    result.status = 101;
    result.committed = true;
    return result;
  }

  void read(unread_task from) {
    auto& request = from.request;
    prepare(request.what);
    const auto how = request.what.how;
    auto received = std::move(request.received);  // before all of it is moved
    async_read_head(
        *socket_, std::move(received),
        {.limits = request.limits, .head = how->tunnel.timeouts.client_head, .world = request.what.world},
        stoppable([self = self_(), from = std::move(from)](read_head_result read) mutable {
          self->on_head(std::move(from), std::move(read));
        }));
  }

  void on_head(unread_task from, read_head_result read) {
    if (read.error) return finish(headless(read.error, std::move(read.early)));
    from.request.what.head = std::move(read.head);
    from.request.what.early = std::move(read.early);
    forward({std::move(from.to), std::move(from.request.what)});
  }

  static forward_result headless(std::error_code error, std::string early) {
    const bool fired = error == condition::timed_out, ours = error.category() == category();
    const bool gone = !ours || error == errc::downstream_closed;
    auto result = ended_here(error,
                             fired  ? end_cause::timeout
                             : gone ? end_cause::closed
                                    : end_cause::refused,
                             gone ? 0 : status_for(error));
    if (error == errc::cancelled)
      result.cause = end_cause::aborted;
    else if (!fired)
      result.who = side::downstream;
    result.leftover = std::move(early);
    return result;
  }

  auto on_forwarded() {
    return stoppable([self = self_()](forward_result result) { self->finish(std::move(result)); });
  }

  void forward(exchange_task with) {
    auto& what = with.what;
    prepare(what);
    only_head_ = what.head.method == "HEAD";
    // Nothing follows on a connection that was given away: the answer says so.
    if (!client_.is_lent()) what.head.fields.add("Connection", "close");
    what.on_established = telling(std::move(what.on_established));
    async_forward(*socket_, std::move(with.to), std::move(what), relay_dialer{}, on_forwarded());
  }

  void relay(tunnel_task with) {
    async_tunnel(*socket_, std::move(with.up), std::move(with.early), on_forwarded());
  }

  void prepare(exchange& what) {
    if (!what.how) what.how = route::make();
    times_ = what.how->tunnel.timeouts;
    if (what.client.empty()) what.client = ask(::getpeername);
    if (what.local.empty()) what.local = ask(::getsockname);
  }
  template <class Question>
  std::string ask(Question question) const {
    stream_endpoint at;
    socklen_t size = static_cast<socklen_t>(at.capacity());
    if (question(client_.number(), static_cast<sockaddr*>(at.data()), &size) != 0) return {};
    at.resize(std::max<std::size_t>(size, sizeof(sa_family_t)));
    return text_of(at).host;
  }

  void finish(forward_result result) {
    if (client_.is_lent()) return report(std::move(result));
    const bool broken =
        result.status == 0 || result.cause == end_cause::aborted || result.cause == end_cause::reset;
    if (result.at == stage::tunnel || broken) return report(std::move(result));
    std::string answer;
    if (!result.committed) answer = answer_to(result);
    async_send(*socket_, std::move(answer),
               {.send_stall = times_.send_stall, .close = true, .linger = times_.linger},
               stoppable([self = self_(), result = std::move(result)](std::error_code error) mutable {
                 if (!error) result.committed = true;
                 result.keep_alive = false;
                 self->report(std::move(result));
               }));
  }

  std::string answer_to(const forward_result& result) const {
    fields extra{{"Content-Type", "text/plain; charset=utf-8"}};
    if (result.error == errc::bad_websocket_version) extra.add("Sec-WebSocket-Version", "13");
    auto body = std::to_string(result.status) + " " + std::string(reason_phrase(result.status)) + "\n";
    if (result.error.category() == category()) body += result.error.message() + "\n";
    auto answer = make_response(result.status, body, extra, true);
    if (only_head_) answer.resize(answer.size() - body.size());
    return answer;
  }

  // The connection is let go before the host hears of it.
  void report(forward_result result) {
    socket_->close();
    leave([&] {
      if (const auto on_end = std::exchange(on_end_, {})) on_end(std::move(result));
    });
  }

  std::shared_ptr<connection> self_() { return std::static_pointer_cast<connection>(shared_from_this()); }

  const descriptor client_;
  task task_;
  std::function<void(forward_result)> on_end_;
  std::optional<client_socket> socket_;  // made on the worker's thread
  timeouts times_{};
  bool only_head_ = false;
};

// ---- The first half of a hand-over, for a host that sends the 101.

class handshake final : public job {
 public:
  handshake(pool_state& pool, std::shared_ptr<adoption_state> state, upstream to, exchange what,
            std::function<void(ready_result)> on_ready)
      : job(pool, std::move(state)),
        to_(std::move(to)),
        what_(std::move(what)),
        on_ready_(std::move(on_ready)) {}

 private:
  void begin() override {
    ready_result none;
    none.result = turned_away();
    if (closing()) return report(std::move(none));
    what_.on_established = telling(std::move(what_.on_established));
    async_handshake(
        executor(), std::move(to_), std::move(what_), relay_dialer{},
        stoppable([self = std::static_pointer_cast<handshake>(shared_from_this())](
                      handshake_result<relay_socket> found) { self->on_found(std::move(found)); }));
  }

  void on_found(handshake_result<relay_socket> found) {
    ready_result ready{.result = std::move(found.result)};
    if (found.accepted) {
      auto head = make_downstream_response(found.accepted->response(), {}, true, http_version::http_1_1);
      ready.accepted.emplace(
          std::make_unique<ready_state>(ready_state{state(), std::move(head), std::move(found.accepted)}));
    }
    if (found.answer) ready.answer = std::move(found.answer->head);
    report(std::move(ready));
  }

  void report(ready_result ready) {
    leave([&] {
      if (const auto on_ready = std::exchange(on_ready_, {})) on_ready(std::move(ready));
    });
  }

  upstream to_;
  exchange what_;
  std::function<void(ready_result)> on_ready_;
};

}  // namespace

}  // namespace detail

// ---- The handles.

session_handle adoption::session() const {
  if (!state_) return {};
  const std::lock_guard lock(state_->mutex);
  return state_->session;
}

void adoption::abort() const {
  if (!state_) return;
  std::unique_lock lock(state_->mutex);
  auto work = state_->work;
  lock.unlock();
  state_->where->post([work = std::move(work)] {
    if (const auto alive = work.lock()) alive->stop();
  });
}

ready_tunnel::ready_tunnel(std::unique_ptr<detail::ready_state> state) noexcept : state_(std::move(state)) {}
ready_tunnel::ready_tunnel(ready_tunnel&&) noexcept = default;
ready_tunnel& ready_tunnel::operator=(ready_tunnel&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
ready_tunnel::~ready_tunnel() {
  // The connection to the backend belongs to its worker's thread.
  if (state_ && state_->up) state_->state->where->post([up = std::move(*state_->up)] {});
}
const response_head& ready_tunnel::response() const noexcept {
  return state_->response;
}
std::shared_ptr<const wsproxy::backend> ready_tunnel::backend() const noexcept {
  return state_->up->backend();
}

// ---- The pool.

namespace {

/// While it lives, new threads are born with every signal blocked but those of their own faults.
class signals_blocked {
 public:
  signals_blocked() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
      sigdelset(&all, fault);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

worker_pool::worker_pool(unsigned threads) : state_(std::make_shared<detail::pool_state>()) {
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  const signals_blocked during;
  try {
    for (unsigned i = 0; i != threads; ++i) {
      state_->workers.push_back(std::make_shared<detail::worker>());
      state_->workers.back()->start();
    }
  } catch (...) {
    for (const auto& each : state_->workers) each->end();
    throw;
  }
}

worker_pool::~worker_pool() {
  stop();
  {
    std::unique_lock lock(state_->mutex);
    state_->ended.wait(lock, [&] { return state_->live == 0; });
  }
  for (const auto& each : state_->workers) each->end();
}

unsigned worker_pool::threads() const noexcept {
  return static_cast<unsigned>(state_->workers.size());
}

std::size_t worker_pool::live() const noexcept {
  const std::lock_guard lock(state_->mutex);
  return state_->live;
}

namespace {
template <class Job, class... Args>
adoption launch(detail::pool_state& pool, std::shared_ptr<detail::adoption_state> state, Args&&... args) {
  pool.add(std::make_shared<Job>(pool, state, std::forward<Args>(args)...));
  return adoption(std::move(state));
}
std::shared_ptr<detail::adoption_state> new_state(const detail::pool_state& pool) {
  return std::make_shared<detail::adoption_state>(pool.least_busy());
}
}  // namespace

adoption worker_pool::adopt(descriptor client, upstream backends, exchange what,
                            std::function<void(forward_result)> on_end) {
  return launch<detail::connection>(*state_, new_state(*state_), client,
                                    detail::exchange_task{std::move(backends), std::move(what)},
                                    std::move(on_end));
}

adoption worker_pool::adopt(descriptor client, upstream backends, unread_request request,
                            std::function<void(forward_result)> on_end) {
  return launch<detail::connection>(*state_, new_state(*state_), client,
                                    detail::unread_task{std::move(backends), std::move(request)},
                                    std::move(on_end));
}

adoption worker_pool::handshake(upstream backends, exchange what,
                                std::function<void(ready_result)> on_ready) {
  return launch<detail::handshake>(*state_, new_state(*state_), std::move(backends), std::move(what),
                                   std::move(on_ready));
}

adoption worker_pool::adopt(descriptor client, ready_tunnel accepted, std::string early,
                            std::function<void(forward_result)> on_end) {
  detail::tunnel_task work{std::move(*std::exchange(accepted.state_->up, std::nullopt)), std::move(early)};
  return launch<detail::connection>(*state_, accepted.state_->state, client, std::move(work),
                                    std::move(on_end));
}

bool worker_pool::drain(const drain_options& options) {
  auto& pool = *state_;
  if (!pool.draining) {
    pool.how = options;
    pool.how.deadline = duration::zero();  // that of all is watched here
    pool.draining = true;
  }
  pool.drain_all();
  const auto nothing_left = [&] { return pool.live == 0; };
  std::unique_lock lock(pool.mutex);
  if (options.deadline > duration::zero() && !pool.ended.wait_for(lock, options.deadline, nothing_left)) {
    lock.unlock();
    stop();
    lock.lock();
    pool.ended.wait(lock, nothing_left);
    return false;
  }
  pool.ended.wait(lock, nothing_left);
  return true;
}

void worker_pool::stop() {
  state_->stopped = true;
  state_->stop_all();
}

}  // namespace wsproxy
