// A world of its own for the proxy: a clock that only the simulation moves, chance from a seed, connections
// whose delays, sizes and failures are scripted. One thread; every run of one seed is the same run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <wsproxy/proxy/detail/timer_queue.hpp>
#include <wsproxy/proxy/environment.hpp>
#include <wsproxy/upstream/backend.hpp>
#include <wsproxy/websocket/frame.hpp>

namespace sim {

using wsproxy::duration;
using wsproxy::time_point;
using namespace std::chrono_literals;

/// A callable that is moved about and called once.
template <class... Args> class callback {
 public:
  callback() = default;
  template <class F>
  requires(!std::is_same_v<F, callback>) callback(F f) : held_(new holder<F>(std::move(f))) {}
  explicit operator bool() const noexcept { return held_ != nullptr; }
  void operator()(Args... args) { std::exchange(held_, nullptr)->call(args...); }

 private:
  struct base {
    virtual ~base() = default;
    virtual void call(Args... args) = 0;
  };
  template <class F> struct holder final : base {
    explicit holder(F f) : function(std::move(f)) {}
    void call(Args... args) override { function(args...); }
    F function;
  };
  std::unique_ptr<base> held_;
};

/// A handler with its arguments on the way to its executor, in memory of the handler's own.
template <class Handler, class... Args> struct completion {
  Handler handler;
  std::tuple<Args...> args;
  using allocator_type = asio::associated_allocator_t<Handler>;
  allocator_type get_allocator() const noexcept { return asio::get_associated_allocator(handler); }
  void operator()() {
    std::apply([this](auto&... each) { std::move(handler)(std::move(each)...); }, args);
  }
};
template <class Handler, class... Args>
void complete(const asio::any_io_executor& executor, Handler handler, Args... args) {
  const auto target = asio::get_associated_executor(handler, executor);
  asio::post(target, completion<Handler, Args...>{std::move(handler), {std::move(args)...}});
}

/// How a connection behaves; the same in both directions.
struct link_options {
  static constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  duration latency{1};
  duration jitter{0};                ///< added to the latency, drawn per segment; the order is kept
  std::size_t capacity = 64 * 1024;  ///< bytes sent and not yet read
  std::size_t read_most = all;       ///< of one read; 1 is byte by byte
  std::size_t write_most = all;      ///< of one write
  bool random_sizes = false;         ///< reads and writes take 1 … most, drawn each time
  unsigned spurious = 0;             ///< per cent of waits for reading that end with nothing to read
};

/// A fault that a proxy might have, put between it and the wire, so that a test can show that it would be
/// found.
enum class sabotage {
  none,
  close_inside_frame,  ///< a Close of the proxy's goes to the client inside another frame
  lost_early_byte,     ///< the first byte behind the client's request is lost
  deaf_after_fin,      ///< whoever was sent FIN is not listened to any more
};

class world;
class peer;

/// A connection with two ends, as TCP would have it: data and FIN in order; a close with bytes unread, or
/// bytes that reach a closed end, are answered with a reset, and a reset loses what was not read yet.
/// End 0 is the proxy's.
class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(world& in, link_options how) : world_(in), how_(how) {}

  std::size_t read(int end, std::span<char> into, std::error_code&);
  /// Without a FIN, the last bytes would never arrive.
  std::size_t write(int end, std::span<const asio::const_buffer> from, std::error_code&, bool last = false);
  void wait_read(int end, callback<std::error_code>);
  void wait_write(int end, callback<std::error_code>);
  void shutdown_send(int end, std::error_code&);
  void close(int end);
  void reset(int end);
  void cancel(int end);
  /// Pending callbacks, taken out, as the end of a context does.
  void abandon(std::vector<callback<std::error_code>>& into);
  /// From now on the proxy's end has this fault.
  void spoil(sabotage how) { fault_ = how; }

  bool open(int end) const noexcept { return ends_[end].open; }
  bool fin_sent(int end) const noexcept { return ends_[end].fin_sent; }
  /// Bytes that this end took out, and put in.
  std::uint64_t read_by(int end) const noexcept { return ends_[end].read; }
  std::uint64_t written_by(int end) const noexcept { return ends_[end].written; }

 private:
  struct side {
    std::string inbox;       // arrived and unread
    std::string kept;        // written, to be sent with the FIN
    std::size_t coming = 0;  // sent to this end, and its sender does not know yet that it was read
    time_point last_arrival{};
    std::uint64_t read = 0, written = 0;
    bool open = true;
    bool fin_sent = false;
    bool fin_arrived = false;
    bool broken = false;
    callback<std::error_code> reader, writer;
  };
  bool readable(int end) const noexcept;
  bool writable(int end) const noexcept;
  void wake(int end);
  template <class Action> void send(int to, Action action);
  std::size_t draw(std::size_t most);
  static void fire(callback<std::error_code>&, std::error_code);
  void spoil_output(std::string& bytes);
  void deliver_kept(int end);

  world& world_;
  link_options how_;
  side ends_[2];
  sabotage fault_ = sabotage::none;
  std::string head_;  // of what the proxy has sent, until it is whole
  wsproxy::frame_tracker sent_{wsproxy::frame_sender::server};
};

/// The proxy's end of a connection: a readiness stream by its members.
class stream {
 public:
  explicit stream(asio::any_io_executor executor, std::shared_ptr<connection> c = {})
      : executor_(std::move(executor)), connection_(std::move(c)) {}
  stream(stream&&) noexcept = default;
  stream& operator=(stream&& other) noexcept {
    close();
    executor_ = std::move(other.executor_);
    connection_ = std::move(other.connection_);
    return *this;
  }
  ~stream() { close(); }

  asio::any_io_executor get_executor() const { return executor_; }
  template <class Handler> void async_wait_read(Handler handler) {
    connection_->wait_read(0,
                           [executor = executor_, handler = std::move(handler)](std::error_code ec) mutable {
                             complete(executor, std::move(handler), ec);
                           });
  }
  template <class Handler> void async_wait_write(Handler handler) {
    connection_->wait_write(0,
                            [executor = executor_, handler = std::move(handler)](std::error_code ec) mutable {
                              complete(executor, std::move(handler), ec);
                            });
  }
  std::size_t try_read(std::span<char> into, std::error_code& ec) { return connection_->read(0, into, ec); }
  std::size_t try_write(std::span<const asio::const_buffer> from, std::error_code& ec) {
    return connection_->write(0, from, ec);
  }
  std::size_t try_write_last(std::span<const asio::const_buffer> from, std::error_code& ec) {
    return connection_->write(0, from, ec, true);
  }
  void shutdown_send(std::error_code& ec) { connection_->shutdown_send(0, ec); }
  void close() {
    if (connection_) connection_->close(0);
  }
  void cancel() {
    if (connection_) connection_->cancel(0);
  }

 private:
  asio::any_io_executor executor_;
  std::shared_ptr<connection> connection_;
};

/// The same without readiness: the second tier. What a read took before it was cancelled is delivered.
class completion_stream {
 public:
  explicit completion_stream(asio::any_io_executor executor, std::shared_ptr<connection> c = {})
      : executor_(std::move(executor)), connection_(std::move(c)) {}
  completion_stream(completion_stream&&) noexcept = default;
  completion_stream& operator=(completion_stream&& other) noexcept {
    close();
    executor_ = std::move(other.executor_);
    connection_ = std::move(other.connection_);
    return *this;
  }
  ~completion_stream() { close(); }

  asio::any_io_executor get_executor() const { return executor_; }
  template <class Handler> void async_read_some(asio::mutable_buffer into, Handler handler) {
    connection_->wait_read(0, [c = connection_.get(), into, executor = executor_,
                               handler = std::move(handler)](std::error_code ec) mutable {
      std::size_t n = 0;
      if (!ec) n = c->read(0, {static_cast<char*>(into.data()), into.size()}, ec);
      complete(executor, std::move(handler), ec == asio::error::would_block ? std::error_code() : ec, n);
    });
  }
  template <class Handler> void async_write_some(asio::const_buffer from, Handler handler) {
    connection_->wait_write(0, [c = connection_.get(), from, executor = executor_,
                                handler = std::move(handler)](std::error_code ec) mutable {
      std::size_t n = 0;
      if (!ec) n = c->write(0, {&from, 1}, ec);
      complete(executor, std::move(handler), ec, n);
    });
  }
  void shutdown_send(std::error_code& ec) { connection_->shutdown_send(0, ec); }
  void close() {
    if (connection_) connection_->close(0);
  }
  void cancel() {
    if (connection_) connection_->cancel(0);
  }

 private:
  asio::any_io_executor executor_;
  std::shared_ptr<connection> connection_;
};

/// Whoever talks to the proxy: reads all that comes unless told not to, sends what it is told to.
class peer : public std::enable_shared_from_this<peer> {
 public:
  peer(world& in, std::shared_ptr<connection> c) : world_(in), connection_(std::move(c)) {}

  std::string received;   ///< everything so far
  bool eof = false;       ///< the proxy's FIN came
  bool broken = false;    ///< a reset came
  time_point ended_at{};  ///< of `eof` or `broken`
  std::string sent;       ///< everything it was told to send
  /// After each read, FIN or reset. It may replace itself.
  std::function<void(peer&)> on_receive;
  void notify() {
    if (const auto hook = on_receive) hook(*this);
  }

  void send(std::string_view bytes);
  /// FIN, once all is sent.
  void fin();
  void reset() { connection_->reset(1); }
  void close() { connection_->close(1); }
  void stall() { reading_ = false; }
  void resume();
  bool over() const noexcept { return eof || broken; }
  bool all_sent() const noexcept { return unsent_.empty(); }
  const connection& wire() const noexcept { return *connection_; }

  void start() { pump_reads(); }

 private:
  void pump_reads();
  void pump_writes();
  world& world_;
  std::shared_ptr<connection> connection_;
  std::string unsent_;
  bool reading_ = true;
  bool read_pending_ = false, write_pending_ = false;
  bool fin_wanted_ = false;
};

/// Who listens at an address.
struct listener {
  enum class kind { accepts, refuses, hangs } does = kind::accepts;
  duration delay{1};
  link_options link{};
  std::function<void(peer&)> on_accept;
  std::vector<std::shared_ptr<peer>> accepted{};
};

class world final : public wsproxy::environment {
 public:
  explicit world(std::uint64_t seed = 1)
      : random_(seed),
        context_(std::make_unique<asio::io_context>()),
        other_(std::make_unique<asio::io_context>()) {}
  ~world() override { destroy_context(); }

  // The environment.
  time_point now() noexcept override { return now_; }
  void arm(wsproxy::timer& t, time_point at) override { timers_.arm(t, at); }
  void disarm(wsproxy::timer& t) noexcept override { timers_.disarm(t); }
  std::uint64_t random() override { return random_(); }

  asio::any_io_executor executor() { return context_->get_executor(); }
  asio::io_context& context() { return *context_; }
  /// A second context, for handlers that want another executor.
  asio::io_context& other() { return *other_; }
  /// What the end of an io_context does: everything that waits is destroyed uncalled.
  void destroy_context();

  /// `lowest` … `highest`, drawn.
  std::uint64_t draw(std::uint64_t lowest, std::uint64_t highest) {
    return lowest + random_() % (highest - lowest + 1);
  }
  bool chance(unsigned per_cent) { return draw(1, 100) <= per_cent; }

  /// A connection between the proxy and somebody.
  template <class Stream = stream> std::pair<Stream, std::shared_ptr<peer>> connect(link_options how = {}) {
    auto c = make_connection(how);
    auto who = std::make_shared<peer>(*this, c);
    who->start();
    return {Stream(executor(), std::move(c)), std::move(who)};
  }
  std::shared_ptr<connection> make_connection(link_options how);
  listener& at(const std::string& address) { return listeners_[address]; }

  void after(time_point::duration, callback<> what);
  /// One handler, or one event; moves the clock if there is nothing else to do. False: nothing happens until
  /// then.
  bool step(time_point until = time_point::max());
  /// Runs until all is quiet, at most for that long.
  void run(duration longest = 24h);
  /// Runs to that time, even if all is quiet before.
  void run_until(time_point until);
  void run_for(duration length) { run_until(now_ + length); }
  std::uint64_t steps() const noexcept { return steps_; }

  // What must be nothing in the end.
  std::size_t timers() const noexcept { return timers_.size(); }
  std::size_t dials() const noexcept { return dials_.size(); }
  std::size_t open_streams() const;

  // For the dialer.
  std::uint64_t begin_dial(const std::string& to,
                           callback<std::error_code, std::shared_ptr<connection>> done);
  void end_dial(std::uint64_t id, std::error_code);

 private:
  struct dial {
    std::string to;
    callback<std::error_code, std::shared_ptr<connection>> done;
  };
  time_point next() const noexcept {
    return std::min(timers_.earliest(), events_.empty() ? time_point::max() : events_.begin()->first);
  }

  std::mt19937_64 random_;
  time_point now_{1h};
  std::multimap<time_point, callback<>> events_;
  std::map<std::string, listener> listeners_;
  std::map<std::uint64_t, dial> dials_;
  std::uint64_t last_dial_ = 0;
  std::uint64_t steps_ = 0;
  std::vector<std::weak_ptr<connection>> connections_;
  wsproxy::timer_queue timers_;
  std::unique_ptr<asio::io_context> context_, other_;
};

/// Dials whoever listens in a world; nobody: refused.
template <class Stream> class basic_dialer {
 public:
  using stream_type = Stream;
  explicit basic_dialer(world& in) : world_(&in) {}

  template <asio::completion_token_for<void(std::error_code, Stream)> Token>
  auto async_dial(const wsproxy::address& to, asio::any_io_executor executor, Token&& token) {
    return asio::async_initiate<Token, void(std::error_code, Stream)>(
        [in = world_](auto handler, std::string where, asio::any_io_executor on) {
          const auto slot = asio::get_associated_cancellation_slot(handler);
          const auto id = in->begin_dial(
              where,
              [on, handler = std::move(handler)](std::error_code ec, std::shared_ptr<connection> c) mutable {
                asio::get_associated_cancellation_slot(handler).clear();
                complete(on, std::move(handler), ec, Stream(on, std::move(c)));
              });
          if (auto assigned = slot; assigned.is_connected())
            assigned.assign(
                [in, id](asio::cancellation_type) { in->end_dial(id, asio::error::operation_aborted); });
        },
        token, to.to_string(), std::move(executor));
  }

 private:
  world* world_;
};
using dialer = basic_dialer<stream>;

}  // namespace sim
