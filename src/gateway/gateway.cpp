#include <wsproxy/gateway/gateway.hpp>

#include <unistd.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <asio/dispatch.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>

#include <fmt/format.h>

#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/upstream/backend.hpp>

#include "connection.hpp"
#include "listener.hpp"

namespace wsproxy {

namespace {

using client_socket = detail::gateway_socket;
using endpoint = asio::generic::stream_protocol::endpoint;
constexpr auto accept_pause = std::chrono::milliseconds(500);
constexpr int accepts_per_turn = 512;  // as many as may wait, usually

}  // namespace

class gateway::state final : public detail::connection_host, public std::enable_shared_from_this<state> {
 public:
  state(asio::any_io_executor on, selector choose, gateway_options with)
      : connection_host(environment_of(on), std::move(choose), std::move(with)),
        executor(std::move(on)),
        pause_(*this, &state::resume),
        deadline_(*this, &state::stop) {}

  std::string listen(std::string_view at, const listen_options& how) {
    return begin(detail::open_listener(executor, at, how.backlog, how.reuse_port, how.ipv6_only));
  }
  void listen_on(int descriptor) { begin(detail::adopt_listener(executor, descriptor)); }

  void drain(drain_options how, std::function<void()> done);
  void stop();
  void on_connection_end() override;

  const asio::any_io_executor executor;
  std::atomic<std::uint64_t> accepted{0};

 private:
  /// A moment at which something is done. It needs no descriptor, which are what is lacking when accepting
  /// pauses.
  class alarm final : timer {
   public:
    alarm(state& of, void (state::*then)()) : of_(of), world_(environment_of(of.executor)), then_(then) {}
    ~alarm() { world_.disarm(*this); }
    time_point at() const noexcept { return at_; }
    void set_after(duration wait) {
      at_ = world_.now() + wait;
      world_.arm(*this, at_);
    }
    void clear() noexcept {
      at_ = time_point::max();
      world_.disarm(*this);
    }
    time_point now() const noexcept { return world_.now(); }

   private:
    void expired() override {  // with a lock held, perhaps on another thread
      if (auto self = of_.weak_from_this().lock())
        asio::post(of_.executor, [this, self = std::move(self)] {
          if (at_ > world_.now()) return;  // it was cleared or moved meanwhile
          at_ = time_point::max();
          ((*self).*then_)();
        });
    }

    state& of_;
    environment& world_;
    void (state::*const then_)();
    time_point at_ = time_point::max();
  };

  std::string begin(detail::listener opened);
  void accept_when_ready(detail::listener& from, std::size_t index);
  void accept_some(detail::listener& from, std::size_t index);
  void take(detail::listener& from, std::size_t index, detail::made_descriptor made, const endpoint& peer);
  void pause(std::string why);
  void resume();
  void close_listeners();
  void drain_sessions() const;
  void check_done();

  std::deque<detail::listener> listeners_;  // a reference to one stays valid
  std::vector<bool> waiting_;               // by listener: a wait for connections is pending
  std::vector<std::function<void()>> drained_;
  alarm pause_, deadline_;
  bool paused_ = false;
  bool warned_ = false;
};

// ---- Accepting.

std::string gateway::state::begin(detail::listener opened) {
  if (draining) throw std::logic_error("wsproxy::gateway: it is ending, and listens nowhere any more");
  listeners_.push_back(std::move(opened));
  waiting_.push_back(false);
  const std::size_t index = listeners_.size() - 1;
  const auto at = detail::text_of(listeners_[index].at);
  accept_when_ready(listeners_[index], index);
  if (at.host == "unix:") return at.host + listeners_[index].unlink;
  return address{address::family::ip, at.host, at.port}.to_string();
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
    if (options.max_connections != 0 && connections.size() >= options.max_connections)
      return pause(fmt::format("the limit of {} connections is reached", options.max_connections));
    endpoint peer;
    std::error_code error;
    const auto made = detail::accept_one(from, peer, error);
    if (made.number >= 0) {
      take(from, index, made, peer);
      continue;
    }
    if (error == std::errc::operation_would_block || error == std::errc::resource_unavailable_try_again)
      break;
    return pause("cannot accept: " + error.message());
  }
  accept_when_ready(from, index);
}

void gateway::state::take(detail::listener& from, std::size_t index, detail::made_descriptor made,
                          const endpoint& peer) {
  std::optional<client_socket> socket;
  try {
    socket.emplace(detail::make_socket(executor, from.at.protocol(), made));
  } catch (const std::system_error& error) {
    ::close(made.number);
    return pause("cannot watch a connection: " + error.code().message());
  }
  detail::serve_connection(shared_from_this(), std::move(*socket),
                           {.client = detail::text_of(peer),
                            .local = detail::local_text(from, made.number),
                            .listener = index,
                            .number = ++accepted});
}

// Out of descriptors, or at the limit: waiting connections stay in the listen queue until one of ours ends.
void gateway::state::pause(std::string why) {
  if (!std::exchange(warned_, true) && options.on_warning) options.on_warning("accepting is paused: " + why);
  paused_ = true;
  pause_.set_after(accept_pause);
}

void gateway::state::resume() {
  if (!std::exchange(paused_, false)) return;
  pause_.clear();
  for (std::size_t i = 0; i != listeners_.size(); ++i) accept_when_ready(listeners_[i], i);
}

void gateway::state::on_connection_end() {
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
  pause_.clear();
}

void gateway::state::drain(drain_options how, std::function<void()> done) {
  if (done) drained_.push_back(std::move(done));
  how.deadline = std::min(how.deadline, longest_time);
  if (how.deadline > duration::zero() && deadline_.now() + how.deadline < deadline_.at())
    deadline_.set_after(how.deadline);
  if (!std::exchange(draining, true)) {
    drain_how = std::move(how);
    close_listeners();
    connections.close_reading();
    drain_sessions();
  }
  check_done();
}

// The tunnels that are to go in the same way share a window, which ends early enough for the last to be
// answered.
void gateway::state::drain_sessions() const {
  std::vector<drain_options> ways;
  sessions.for_each([&](const session_handle& each) {
    const auto how = drain_of(each);
    if (how.code != 0 && std::ranges::find(ways, how) == ways.end()) ways.push_back(how);
  });
  const auto wait = options.timeouts.close_wait;
  for (const auto& how : ways) {
    auto fitted = how;
    if (drain_how.deadline > duration::zero())
      fitted.spread = std::min(how.spread, std::max(drain_how.deadline - wait, duration::zero()));
    if (fitted.spread != how.spread && options.on_warning)
      options.on_warning(
          fmt::format("tunnels are drained within {} ms instead of {} ms: "
                      "with {} ms to answer the last Close, all must be over in {} ms",
                      fitted.spread.count(), how.spread.count(), wait.count(), drain_how.deadline.count()));
    sessions.drain_if([&](const session_handle& each) { return drain_of(each) == how; }, fitted);
  }
}

void gateway::state::stop() {
  draining = stopped = true;
  close_listeners();
  connections.stop_all();
  check_done();
}

void gateway::state::check_done() {
  if (!draining || connections.size() != 0) return;
  deadline_.clear();
  for (auto& done : std::exchange(drained_, {})) asio::post(executor, std::move(done));
}

// ---- The handle.

gateway::gateway(asio::any_io_executor executor, selector select, gateway_options options) {
  validate(options.timeouts);
  auto made = std::make_shared<state>(std::move(executor), std::move(select), std::move(options));
  auto* const it = made.get();
  // The last handle's end closes everything; what is left of it ends on the executor's thread, whose sockets
  // it holds.
  state_ = std::shared_ptr<state>(it, [made = std::move(made)](state*) mutable {
    const auto on = made->executor;
    asio::dispatch(on, [made = std::move(made)] { made->stop(); });
  });
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
  return {state_->connections.size(), state_->sessions.count(), state_->accepted,
          state_->requests,           state_->refused,          state_->over_limit};
}

}  // namespace wsproxy
