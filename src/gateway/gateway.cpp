#include <wsproxy/gateway/gateway.hpp>

#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>

#include <wsproxy/http/body.hpp>
#include <wsproxy/proxy/edge_socket.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/proxy/read_head.hpp>
#include <wsproxy/websocket/upgrade.hpp>

#include "listener.hpp"

namespace wsproxy {

namespace {

#ifdef __linux__
using backend_dialer = edge_dialer;
#else
using backend_dialer = socket_dialer;
#endif
using client_socket = detail::gateway_socket;
using endpoint = asio::generic::stream_protocol::endpoint;
constexpr auto accept_pause = std::chrono::milliseconds(500);
constexpr int accepts_per_turn = 32;

respond plain_answer(int status, const std::error_code& why) {
  respond answer{.status = status};
  answer.extra.add("Content-Type", "text/plain; charset=utf-8");
  if (why == errc::bad_websocket_version) answer.extra.add("Sec-WebSocket-Version", "13");
  answer.body = std::to_string(status) + " " + std::string(reason_phrase(status)) + "\n";
  if (why) answer.body += why.message() + "\n";
  return answer;
}

/// Counts the tunnels, and the handshakes that may become one. On the gateway's executor.
class tunnel_limits {
 public:
  tunnel_limits(std::size_t most, std::size_t most_per_client)
      : most_(most), most_per_client_(most_per_client) {}

  bool set() const noexcept { return most_ != 0 || most_per_client_ != 0; }
  /// False if one limit is reached; else it counts until leave().
  bool enter(const std::string& client) {
    if (most_ != 0 && all_ >= most_) return false;
    if (counts(client) && !enter_one(client)) return false;
    ++all_;
    return true;
  }
  void leave(const std::string& client) noexcept {
    --all_;
    if (!counts(client)) return;
    const auto one = by_client_.find(client);
    if (--one->second == 0) by_client_.erase(one);
  }

 private:
  bool counts(const std::string& client) const noexcept { return most_per_client_ != 0 && client != "unix:"; }
  bool enter_one(const std::string& client) {
    auto& count = by_client_[client];
    return count < most_per_client_ && ++count != 0;
  }

  const std::size_t most_, most_per_client_;
  std::size_t all_ = 0;
  std::unordered_map<std::string, std::size_t> by_client_;
};

}  // namespace

// ---- The server: its listeners, its connections, and how it ends.

class gateway::state : public std::enable_shared_from_this<state> {
 public:
  class connection;

  state(asio::any_io_executor on, selector choose, gateway_options with)
      : executor(std::move(on)),
        select(std::move(choose)),
        options(std::move(with)),
        usual{options.request_head, options.timeouts},
        limits(options.max_tunnels, options.max_tunnels_per_client) {}

  std::string listen(std::string_view at, const listen_options& how) {
    return begin(detail::open_listener(executor, at, how.backlog, how.reuse_port, how.ipv6_only));
  }
  void listen_on(int descriptor) { begin(detail::adopt_listener(executor, descriptor)); }

  void drain(drain_options how, std::function<void()> done);
  void drain_sessions() const;
  void stop();
  void begun(connection& which) noexcept;
  /// True the first time.
  bool gone(connection& which) noexcept;
  /// Gone, with the context running: what waited for it goes on.
  void ended(connection& which);
  /// A tunnel that was established while draining.
  void drain_late(const session_handle& session) const {
    const auto& how = drain_of(session);
    if (how.code != 0) session.drain({.deadline = duration::zero(), .code = how.code, .reason = how.reason});
  }

  const asio::any_io_executor executor;
  const selector select;
  const gateway_options options;
  const reception usual;
  bool draining = false;
  bool stopped = false;
  const session_registry sessions{};
  std::atomic<std::size_t> open{0};
  tunnel_limits limits;
  std::atomic<std::uint64_t> accepted{0}, requests{0}, refused{0}, over_limit{0};

 private:
  std::string begin(detail::listener opened);
  void accept_when_ready(detail::listener& from, std::size_t index);
  void accept_some(detail::listener& from, std::size_t index);
  void take(detail::listener& from, std::size_t index, int descriptor, const endpoint& peer);
  std::vector<std::shared_ptr<connection>> present() const;
  void pause(std::string why);
  void resume();
  void close_listeners();
  void check_done();
  const drain_options& drain_of(const session_handle& session) const {
    const auto& own = session.route()->drain;
    return own ? *own : drain_how_;
  }

  std::deque<detail::listener> listeners_;  // a reference to one stays valid
  std::vector<bool> waiting_;               // by listener: a wait for connections is pending
  connection* connections_ = nullptr;       // the first of a list
  drain_options drain_how_;
  std::vector<std::function<void()>> drained_;
  std::optional<asio::steady_timer> pause_;  // once it was needed
  std::shared_ptr<asio::steady_timer> deadline_;
  bool paused_ = false;
  bool warned_ = false;
};

// ---- One client connection: read a head, choose, forward or answer, and again.

// Its pending operation keeps it alive; the server only knows it.

class gateway::state::connection : public std::enable_shared_from_this<connection> {
  template <class Handler> auto stoppable(Handler handler) {
    return asio::bind_cancellation_slot(stop_.slot(), std::move(handler));
  }

 public:
  connection(std::shared_ptr<state> server, client_socket socket, detail::address_text client,
             std::shared_ptr<const detail::address_text> local, std::size_t listener, std::uint64_t number)
      : server_(std::move(server)),
        socket_(std::move(socket)),
        client_(std::move(client)),
        local_(std::move(local)),
        listener_(listener),
        number_(number) {
    server_->begun(*this);
  }
  ~connection() {
    leave();
    server_->gone(*this);
  }

  void read() {
    const auto& by = received();
    reading_ = true;
    read_head_options how{.limits = by.request_head,
                          .head = by.timeouts.client_head,
                          .first_byte = request_ != 0 && early_.empty() ? keep_alive_ : duration::zero()};
    async_read_head(socket_, std::exchange(early_, {}), how,
                    stoppable([self = shared_from_this()](read_head_result result) {
                      self->on_head(std::move(result));
                    }));
  }

  /// Nothing of a request has come, or no answer has begun: it may be closed without a loss.
  void close_if_reading() {
    if (reading_) stop();
  }
  void stop() { stop_.emit(asio::cancellation_type::terminal); }

 private:
  friend class state;
  const reception& received() const {
    const auto& receive = server_->options.receive;
    const auto* other = receive ? receive(seen()) : nullptr;
    return other != nullptr ? *other : server_->usual;
  }
  const timeouts& times_of(const std::shared_ptr<const route>& how) const {
    return how ? how->tunnel.timeouts : received().timeouts;
  }

  const request_head& head() const noexcept {
    static const request_head none;
    return head_ ? *head_ : none;
  }
  inbound seen() const noexcept {
    return {head(),    client_.host, client_.port, local_->host, local_->port,
            listener_, number_,      request_,     user_.get()};
  }

  void on_head(read_head_result result) {
    reading_ = false;
    if (result.error == errc::cancelled || server_->draining) return close();
    if (result.error) {
      const int status = status_for(result.error);
      if (status == 0 || is_silent(result.error)) return close();
      ++request_;
      head_ = std::make_unique<request_head>();
      return refuse(status, result.error);
    }
    ++request_;
    ++server_->requests;
    head_ = std::make_unique<request_head>(std::move(result.head));
    early_ = std::move(result.early);
    const auto request = seen();
    if (const auto error = check_request(*head_)) return refuse(status_for(error), error);
    decide(request);
  }

  // Nobody is there to be told, or nobody is used to be told.
  bool is_silent(const std::error_code& error) const {
    if (error == errc::client_head_timeout) return !server_->options.answer_head_timeout;
    return error.category() != category() || error == errc::keep_alive_timeout ||
           error == errc::downstream_closed;
  }

  void decide(const inbound& request) {
    decision chosen = hang_up{};
    try {
      chosen = server_->select(request);
    } catch (...) {
      return answer(error_answer(500, {}));
    }
    if (auto* to = std::get_if<pass>(&chosen)) forward(std::move(*to));
    else if (auto* own = std::get_if<respond>(&chosen)) answer(std::move(*own));
    else close();
  }

  // False if this request would become one tunnel too many.
  bool enter(const pass& to) {
    auto& count = server_->limits;
    if (!count.set()) return true;
    const auto kind = detect_upgrade(*head_, to.how ? to.how->upgrade : upgrade_policy{}).kind;
    counted_ = kind == request_kind::websocket && count.enter(client_.host);
    return counted_ || kind != request_kind::websocket;
  }
  void leave() noexcept {
    if (std::exchange(counted_, false)) server_->limits.leave(client_.host);
  }

  void forward(pass to) {
    if (server_->stopped) return close();  // by the selector
    keep_alive_ = times_of(to.how).keep_alive;
    if (!enter(to)) {
      ++server_->over_limit;
      forward_result result{.error = errc::tunnel_limit,
                            .who = side::local,
                            .cause = end_cause::refused,
                            .status = status_for(errc::tunnel_limit)};
      result.keep_alive =
          early_.empty() && client_keeps_alive();  // else they are frames for a tunnel that there is not
      tell("pass::on_end", to.on_end, result);
      return on_forwarded(std::move(result));
    }
    exchange what{.head = *head_,
                  .early = std::move(early_),
                  .client = client_.host,
                  .local = local_->host,
                  .hash_key = std::move(to.hash_key),
                  .how = std::move(to.how),
                  .sessions = server_->sessions,
                  .user = user_ = std::move(to.user),
                  .close = to.close};
    what.on_established = [self = weak_from_this(),
                           next = std::move(to.on_established)](session_handle session) {
      if (auto alive = self.lock()) alive->on_established(session);
      if (next) next(session);
    };
    async_forward(
        socket_, std::move(to.to), std::move(what), backend_dialer{},
        stoppable([self = shared_from_this(), on_end = std::move(to.on_end)](forward_result result) {
          self->tell("pass::on_end", on_end, result);
          self->on_forwarded(std::move(result));
        }));
  }

  void on_established(const session_handle& session) {
    if (!server_->options.on_request) {  // nobody asks for them again
      head_.reset();
      user_.reset();
    }
    if (server_->draining) server_->drain_late(session);
  }

  void on_forwarded(forward_result result) {
    leave();
    if (result.committed) {
      log(result.status, result.from_upstream.bytes, &result);
      if (result.at == stage::tunnel) return close();
      return result.keep_alive ? next(std::move(result.leftover)) : close_politely();
    }
    if (result.status == 0) {
      log(499, 0, &result);
      return close();
    }
    if (result.cause == end_cause::refused) ++server_->refused;
    auto own = error_answer(result.status, result.error);
    own.close = own.close || !result.keep_alive;
    early_ = std::move(result.leftover);
    body_read_ = result.keep_alive;
    send(std::move(own), &result);
  }

  respond error_answer(int status, const std::error_code& why) const {
    const auto& make = server_->options.error_answer;
    if (!make) return plain_answer(status, why);
    try {
      return make(status, why, seen());
    } catch (...) {
      return plain_answer(500, {});
    }
  }
  void refuse(int status, const std::error_code& why) {
    ++server_->refused;
    auto own = error_answer(status, why);
    own.close = true;
    body_read_ = false;
    send(std::move(own), nullptr);
  }

  // An answer of the gateway's own; the request's body is not wanted.
  void answer(respond own) {
    body_read_ = skip_body();
    send(std::move(own), nullptr);
  }

  // True if the whole body came with the head; `early_` is then what follows it.
  bool skip_body() {
    std::error_code error;
    body_reader reader(request_framing(*head_, error));
    std::string_view rest = early_;
    while (!error && !rest.empty() && !reader.done()) {
      const auto step = reader.feed(rest);
      rest.remove_prefix(step.consumed);
      error = step.error;
    }
    early_ = std::string(rest);
    return !error && reader.done();
  }

  bool client_keeps_alive() const {
    if (head_->fields.has_token("Connection", "close")) return false;
    return head_->version == http_version::http_1_1 || head_->fields.has_token("Connection", "keep-alive");
  }

  // What cannot be sent (a status or a field that is none) was not what the host meant.
  static std::string bytes_of(respond& own, bool closes) {
    try {
      return make_response(own.status, own.body, own.extra, closes);
    } catch (const std::invalid_argument&) {
      own = plain_answer(500, {});
      return make_response(own.status, own.body, own.extra, closes);
    }
  }

  void send(respond own, const forward_result* result) {
    if (server_->stopped) return close();
    const bool closes = own.close || !body_read_ || server_->draining || !client_keeps_alive();
    if (!closes && head_->version == http_version::http_1_0) own.extra.add("Connection", "keep-alive");
    std::string bytes = bytes_of(own, closes);
    if (head_->method == "HEAD") bytes.resize(bytes.find("\r\n\r\n") + 4);
    log(own.status, head_->method == "HEAD" ? 0 : own.body.size(), result);
    const auto& t = times_of(own.how);
    keep_alive_ = t.keep_alive;
    async_send(socket_, std::move(bytes), {.send_stall = t.send_stall, .close = closes, .linger = t.linger},
               stoppable([self = shared_from_this(), closes](std::error_code error) {
                 if (error || closes) self->close();
                 else self->next(std::move(self->early_));
               }));
  }

  void next(std::string leftover) {
    if (server_->draining) return close_politely();
    early_ = std::move(leftover);
    head_.reset();
    user_ = {};
    read();
  }

  // FIN first, so that the last answer is not lost to a reset.
  void close_politely() {
    if (server_->stopped) return close();
    async_send(socket_, {}, {.close = true, .linger = received().timeouts.linger},
               stoppable([self = shared_from_this()](std::error_code) { self->close(); }));
  }

  void close() {
    stream_traits<client_socket>::close(socket_);
    server_->ended(*this);
  }

  void log(int status, std::uint64_t sent, const forward_result* result) const {
    tell("gateway_options::on_request", server_->options.on_request, seen(), status, sent, result);
  }
  // The connection goes on whatever the host's function does.
  template <class F, class... Args> void tell(const char* name, const F& f, const Args&... args) const {
    if (f) try {
        f(args...);
      } catch (...) {
        if (server_->options.on_warning)
          server_->options.on_warning(std::string(name) + " has thrown an exception");
      }
  }

  const std::shared_ptr<state> server_;
  connection* next_ = nullptr;     // in the server's list
  connection** before_ = nullptr;  // what points here; null: it is in no list
  client_socket socket_;
  const detail::address_text client_;
  const std::shared_ptr<const detail::address_text> local_;  // one for all where the listener says it
  const std::size_t listener_;
  const std::uint64_t number_;
  std::uint64_t request_ = 0;
  duration keep_alive_{};  // after the present request
  std::shared_ptr<void> user_;
  std::unique_ptr<request_head> head_;  // while somebody may ask for it
  std::string early_;                   // behind the head: of the present request, then of the next one
  asio::cancellation_signal stop_;
  bool reading_ = false;
  bool body_read_ = false;
  bool counted_ = false;  // among the tunnels
};

// ---- Accepting.

std::string gateway::state::begin(detail::listener opened) {
  listeners_.push_back(std::move(opened));
  waiting_.push_back(false);
  const std::size_t index = listeners_.size() - 1;
  const auto at = detail::text_of(listeners_[index].at);
  accept_when_ready(listeners_[index], index);
  if (at.host == "unix:") return at.host + listeners_[index].unlink;
  return (at.host.find(':') != std::string::npos ? "[" + at.host + "]" : at.host) + ":" +
         std::to_string(at.port);
}

void gateway::state::accept_when_ready(detail::listener& from, std::size_t index) {
  if (paused_ || waiting_[index] || !from.socket.is_open()) return;
  waiting_[index] = true;
  stream_traits<client_socket>::async_wait_read(
      from.socket, [weak = weak_from_this(), &from, index](std::error_code error) {
        auto self = weak.lock();
        if (!self) return;
        self->waiting_[index] = false;
        if (!error) self->accept_some(from, index);
      });
}

void gateway::state::accept_some(detail::listener& from, std::size_t index) {
  for (int i = 0; i != accepts_per_turn && from.socket.is_open(); ++i) {
    if (options.max_connections != 0 && open >= options.max_connections)
      return pause("the limit of " + std::to_string(options.max_connections) + " connections is reached");
    endpoint peer;
    std::error_code error;
    const int descriptor = detail::accept_one(from, peer, error);
    if (descriptor >= 0) {
      take(from, index, descriptor, peer);
      continue;
    }
    if (error == std::errc::operation_would_block || error == std::errc::resource_unavailable_try_again)
      break;
    return pause("cannot accept: " + error.message());
  }
  accept_when_ready(from, index);
}

void gateway::state::take(detail::listener& from, std::size_t index, int descriptor, const endpoint& peer) {
  const int on = 1;
  if (from.unlink.empty()) ::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::optional<client_socket> socket;
  try {
    socket.emplace(detail::make_socket(executor, from.at.protocol(), descriptor));
  } catch (const std::system_error& error) {
    ::close(descriptor);
    return pause("cannot watch a connection: " + error.code().message());
  }
  std::make_shared<connection>(shared_from_this(), std::move(*socket), detail::text_of(peer),
                               detail::local_text(from, descriptor), index, ++accepted)
      ->read();
}

// Out of descriptors, or at the limit: waiting connections stay in the listen queue until one of ours ends.
void gateway::state::pause(std::string why) {
  if (!std::exchange(warned_, true) && options.on_warning) options.on_warning("accepting is paused: " + why);
  paused_ = true;
  if (!pause_) pause_.emplace(executor);
  pause_->expires_after(accept_pause);
  pause_->async_wait([weak = weak_from_this()](std::error_code error) {
    auto self = weak.lock();
    if (self && !error) self->resume();
  });
}

void gateway::state::resume() {
  if (!std::exchange(paused_, false)) return;
  pause_->cancel();
  for (std::size_t i = 0; i != listeners_.size(); ++i) accept_when_ready(listeners_[i], i);
}

void gateway::state::begun(connection& which) noexcept {
  which.next_ = connections_;
  which.before_ = &connections_;
  if (which.next_ != nullptr) which.next_->before_ = &which.next_;
  connections_ = &which;
  ++open;
}

bool gateway::state::gone(connection& which) noexcept {
  if (which.before_ == nullptr) return false;
  *which.before_ = which.next_;
  if (which.next_ != nullptr) which.next_->before_ = which.before_;
  which.before_ = nullptr;
  --open;
  return true;
}

void gateway::state::ended(connection& which) {
  if (!gone(which)) return;
  if (paused_) resume();
  else warned_ = false;
  check_done();
}

// ---- Ending.

void gateway::state::close_listeners() {
  for (auto& each : listeners_) {
    stream_traits<client_socket>::close(each.socket);
    if (!each.unlink.empty()) ::unlink(std::exchange(each.unlink, {}).c_str());
  }
  if (pause_) pause_->cancel();
}

std::vector<std::shared_ptr<gateway::state::connection>> gateway::state::present() const {
  std::vector<std::shared_ptr<connection>> all;
  for (auto* each = connections_; each != nullptr; each = each->next_)
    if (auto alive = each->weak_from_this().lock()) all.push_back(std::move(alive));
  return all;
}

void gateway::state::drain(drain_options how, std::function<void()> done) {
  if (done) drained_.push_back(std::move(done));
  how.deadline = std::min(how.deadline, longest_time);
  if (how.deadline > duration::zero()) {
    const auto at = std::chrono::steady_clock::now() + how.deadline;
    if (!deadline_ || at < deadline_->expiry()) {
      if (deadline_) deadline_->cancel();
      deadline_ = std::make_shared<asio::steady_timer>(executor, at);
      deadline_->async_wait([weak = weak_from_this(), keep = deadline_](std::error_code error) {
        auto self = weak.lock();
        if (self && !error) self->stop();
      });
    }
  }
  if (!std::exchange(draining, true)) {
    drain_how_ = std::move(how);
    close_listeners();
    for (const auto& each : present()) each->close_if_reading();
    drain_sessions();
  }
  check_done();
}

// The tunnels that are to go in the same way share a window, which ends early enough for the last to be
// answered.
void gateway::state::drain_sessions() const {
  std::vector<drain_options> ways;
  sessions.for_each([&](const session_handle& each) {
    const auto& how = drain_of(each);
    if (how.code != 0 && std::ranges::find(ways, how) == ways.end()) ways.push_back(how);
  });
  const auto wait = options.timeouts.close_wait;
  for (const auto& how : ways) {
    auto fitted = how;
    fitted.deadline = duration::zero();  // the gateway's own is for all connections
    if (drain_how_.deadline > duration::zero())
      fitted.spread = std::min(how.spread, std::max(drain_how_.deadline - wait, duration::zero()));
    if (fitted.spread != how.spread && options.on_warning)
      options.on_warning("tunnels are drained within " + std::to_string(fitted.spread.count()) +
                         " ms instead of " + std::to_string(how.spread.count()) + " ms: with " +
                         std::to_string(wait.count()) + " ms to answer the last Close, all must be over in " +
                         std::to_string(drain_how_.deadline.count()) + " ms");
    sessions.drain_if([&](const session_handle& each) { return drain_of(each) == how; }, fitted);
  }
}

void gateway::state::stop() {
  draining = stopped = true;
  close_listeners();
  for (const auto& each : present()) each->stop();
  check_done();
}

void gateway::state::check_done() {
  if (!draining || connections_ != nullptr) return;
  if (deadline_) deadline_->cancel();
  for (auto& done : std::exchange(drained_, {})) asio::post(executor, std::move(done));
}

// ---- The handle.

gateway::gateway(asio::any_io_executor executor, selector select, gateway_options options) {
  validate(options.timeouts);
  state_ = std::make_shared<state>(std::move(executor), std::move(select), std::move(options));
  owner_ = std::shared_ptr<void>(
      state_.get(), [state = state_](void*) { asio::dispatch(state->executor, [state] { state->stop(); }); });
}

gateway::~gateway() = default;

std::string gateway::listen(std::string_view at, const listen_options& options) {
  return state_->listen(at, options);
}
void gateway::listen_on(int descriptor) { state_->listen_on(descriptor); }

void gateway::drain(const drain_options& options, std::function<void()> done) {
  asio::dispatch(state_->executor,
                 [state = state_, options, done = std::move(done)] { state->drain(options, done); });
}
void gateway::stop() {
  asio::dispatch(state_->executor, [state = state_] { state->stop(); });
}

session_registry gateway::sessions() const { return state_->sessions; }

gateway_stats gateway::stats() const {
  return {state_->open,     state_->sessions.count(), state_->accepted,
          state_->requests, state_->refused,          state_->over_limit};
}

}  // namespace wsproxy
