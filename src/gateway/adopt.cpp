#include <wsproxy/gateway/adopt.hpp>

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <variant>

#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <wsproxy/proxy/edge_socket.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/proxy/tunnel.hpp>
#include <wsproxy/websocket/handshake.hpp>

#include "listener.hpp"
#include "pool.hpp"

namespace wsproxy {

namespace detail {

using stream_endpoint = asio::generic::stream_protocol::endpoint;

#ifdef __linux__
using relay_socket = edge_socket;
using relay_dialer = edge_dialer;
std::error_code take(edge_socket& into, int number, int) { return into.assign(number); }
void give_up(edge_socket& from) { from.release(); }
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
  template <class Handler> void async_wait_read(Handler handler) {
    traits::async_wait_read(socket_, std::move(handler));
  }
  template <class Handler> void async_wait_write(Handler handler) {
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
    if (lent_) give_up(socket_);
    else traits::close(socket_);
  }

 private:
  relay_socket socket_;
  bool lent_;
};

struct ready_state {
  std::shared_ptr<adoption_state> state;
  response_head response;
  switched<relay_socket> up;
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
    if (ready != nullptr && stopped()) report(behind_the_101(turned_away()));
    else if (ready != nullptr) relay(std::move(*ready));  // and is drained at once, if all are
    else if (closing()) finish(turned_away());
    else if (auto* unread = std::get_if<unread_task>(&task_)) read(std::move(*unread));
    else forward(std::move(std::get<exchange_task>(task_)));
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
    else if ((error = socket_->assign(client_.number(), own.ss_family))) status = 503;
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
    if (stopped()) read.error = errc::cancelled;
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
    if (error == errc::cancelled) result.cause = end_cause::aborted;
    else if (!fired) result.who = side::downstream;
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
  template <class Question> std::string ask(Question question) const {
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
    if (result.at == stage::tunnel || broken || stopped()) return report(std::move(result));
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
    auto extra = refusal_fields(result.error);
    extra.add("Content-Type", "text/plain; charset=utf-8");
    auto body = fmt::format("{} {}\n", result.status, reason_phrase(result.status));
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
    if (stopped()) return report({.result = turned_away()});
    ready_result ready{.result = std::move(found.result)};
    if (found.accepted) {
      auto head = make_downstream_response(found.accepted->response(), {}, true, http_version::http_1_1);
      ready.accepted.emplace(
          std::make_unique<ready_state>(ready_state{state(), std::move(head), std::move(*found.accepted)}));
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
  ready_tunnel taken(std::move(other));
  std::swap(state_, taken.state_);
  return *this;
}
ready_tunnel::~ready_tunnel() {
  // The connection to the backend belongs to its worker's thread.
  if (state_) state_->state->where->post([up = std::move(state_->up)] {});
}
const response_head& ready_tunnel::response() const noexcept { return state_->response; }
std::shared_ptr<const wsproxy::backend> ready_tunnel::backend() const noexcept {
  return state_->up.backend();
}

// ---- Handing over.

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
  if (!accepted.state_) throw std::invalid_argument("wsproxy: adopt: this ready_tunnel was moved from");
  if (!state_->has(*accepted.state_->state->where))
    throw std::invalid_argument("wsproxy: adopt: this ready_tunnel is another pool's");
  const auto up = std::exchange(accepted.state_, nullptr);
  return launch<detail::connection>(*state_, up->state, client,
                                    detail::tunnel_task{std::move(up->up), std::move(early)},
                                    std::move(on_end));
}

}  // namespace wsproxy
