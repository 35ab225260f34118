// The engine: performs what exchange_machine and tunnel_machine wish, over any two streams.
//
// One allocation per exchange. While it is an exchange it has an exchange_phase; at the 101 that phase is
// dropped and the tunnel goes on in the same object, with the same pending reads. Nothing here knows the
// protocol: it reads, writes, dials, closes and keeps time as the machines say.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <wsproxy/proxy/detail/exchange_machine.hpp>
#include <wsproxy/proxy/detail/leg.hpp>
#include <wsproxy/proxy/detail/operation.hpp>
#include <wsproxy/proxy/detail/session_record.hpp>
#include <wsproxy/proxy/detail/tunnel_report.hpp>
#include <wsproxy/proxy/dial.hpp>
#include <wsproxy/proxy/forward.hpp>
#include <wsproxy/websocket/detail/tunnel_machine.hpp>

namespace wsproxy::detail {

/// What a tunnel is told of the exchange it comes from, so that it can be seen from outside.
struct session_start {
  std::string client;
  std::optional<session_registry> sessions;
  std::function<void(session_handle)> on_established;
};

/// What an accepted 101 leaves behind; the material of `switched`.
template <class Up> struct switch_state {
  response_head response;
  std::string early;  // from the upstream, behind its 101
  std::optional<Up> stream;
  lease held;
  std::shared_ptr<const route> how;
  environment* world = nullptr;
  session_start session{};
};

struct switched_access {
  template <class Up> static switched<Up> make(switch_state<Up> state) {
    return switched<Up>(std::make_unique<switch_state<Up>>(std::move(state)));
  }
  template <class Up> static switch_state<Up> take(switched<Up> from) { return std::move(*from.state_); }
};

template <class Down, class Dialer> struct exchange_phase {
  exchange_phase(exchange&& what, upstream backends, Dialer with, bool stop_at_verdict)
      : machine(std::move(what), std::move(backends), stop_at_verdict), dial(std::move(with)) {}
  exchange_machine machine;
  Dialer dial;
  asio::cancellation_signal stop_dial;
  unsigned dialed = 0;  // the attempt that was last dialed
  bool dialing = false;
  bool stopping = false;  // that dial is no longer wanted
  std::string leftover;   // read from downstream behind a plain exchange
  std::string early;      // read from upstream behind a verdict
};

/// Down may be no_stream: then the exchange ends at its verdict.
template <class Down, class Dialer, class Handler>
class relay_op final : public operation<relay_op<Down, Dialer, Handler>, Handler>, public session_target {
  using base = operation<relay_op, Handler>;
  using Up = typename Dialer::stream_type;
  using phase_type = exchange_phase<Down, Dialer>;
  static constexpr bool has_down = leg<Down>::present;

 public:
  /// An exchange. `owned` may hold the downstream stream, else `down` is borrowed.
  relay_op(Handler&& handler, asio::any_io_executor executor, Down* down, std::unique_ptr<Down> owned,
           upstream backends, Dialer dial, exchange&& what)
      : base(std::move(handler), std::move(executor), what.world),
        owned_(std::move(owned)),
        how_(what.how ? what.how : route::make()) {
    what.how = how_;
    if constexpr (has_down) legs_.down.attach(owned_ ? *owned_ : *down);
    exchange_ =
        std::make_unique<phase_type>(std::move(what), std::move(backends), std::move(dial), !has_down);
  }
  /// A tunnel.
  relay_op(Handler&& handler, asio::any_io_executor executor, Down* down, std::unique_ptr<Down> owned,
           switch_state<Up> up, bool is_websocket)
      : base(std::move(handler), std::move(executor), up.world),
        owned_(std::move(owned)),
        how_(up.how ? std::move(up.how) : route::make()) {
    if constexpr (has_down) legs_.down.attach(owned_ ? *owned_ : *down);
    lease_ = std::move(up.held);
    up_ = std::move(up.stream);
    legs_.up.attach(*up_);
    up_open_ = true;
    begin_tunnel(is_websocket, is_websocket ? negotiated_rsv(up.response.fields) : std::uint8_t{0});
  }
  ~relay_op() {
    if (record_) record_->abandon();
  }

  void start_exchange() {
    if (this->finishing()) return;
    exchange_->machine.start(static_cast<std::uint32_t>(this->world().random()), this->now());
    run();
  }
  /// The early bytes go through the tunnel like all others.
  void start_tunnel(const std::string& early_down, const std::string& early_up, session_start& session) {
    if (this->finishing()) return;
    began_ = established_ = this->now();
    begin_session(session);
    if constexpr (has_down) {
      feed<side::upstream>(early_up);
      feed<side::downstream>(early_down);
    }
    run();
  }

  void on_cancel(asio::cancellation_type type) {
    using ct = asio::cancellation_type;
    const bool now_wanted = (type & ct::terminal) != ct::none;
    const bool early_enough = (type & ct::total) != ct::none && exchange_ && exchange_->machine.unsent();
    if (!now_wanted && !early_enough) return;
    if (exchange_) exchange_->machine.abort(errc::cancelled);
    else tunnel_->abort(errc::cancelled);
    run();
  }
  void on_tick() {
    if (exchange_) {
      exchange_->machine.on_tick(this->now());
    } else {
      tunnel_->on_tick(this->now());
      tell_stalls();
      this->arm(tunnel_->deadline());  // a tick that came early moved nothing, and was the last
    }
    run();
  }
  void drain_session(const drain_order& order) override {
    command([&] {
      const auto time = this->now();
      tunnel_->plan_drain(order.code, order.reason, time + order.earliest, time + order.latest,
                          order.deadline > duration::zero() ? time + order.deadline : time_point::max(),
                          time);
    });
  }
  void close_session(std::uint16_t code, std::string_view reason) override {
    command([&] { tunnel_->close(end_cause::closed, code, reason, this->now()); });
  }
  void abort_session() override {
    command([this] { tunnel_->abort(errc::cancelled); });
  }
  session_stats numbers() const noexcept override { return numbers_of(*tunnel_); }
  auto take_result() {
    if constexpr (has_down) return make_result();
    else return make_verdict();
  }

 private:
  struct legs {
    leg<Down> down;
    leg<Up> up;
  };
  template <side S> auto& leg_of() noexcept {
    if constexpr (S == side::downstream) return legs_.down;
    else return legs_.up;
  }
  template <side S> using stream_of = std::conditional_t<S == side::upstream, Up, Down>;
  template <side S> static constexpr std::size_t at = S == side::upstream;

  template <class Act> void command(Act act) {
    base::enter(this->shared_from_this(), [&](relay_op&) {
      act();
      run();
    });
  }

  // ---- Events: each tells the machine, then run() performs what it wishes.

  template <side S> void on_readable(std::error_code ec, std::size_t n) {
    reading_[at<S>] = false;
    auto& from = leg_of<S>();
    constexpr bool reads_itself = !readiness_stream<stream_of<S>>;  // then what came must not be lost
    for (int rounds = 0; rounds != 8; ++rounds) {                   // then others have their turn
      if (!ours<S>() || !(reads_itself || may_read<S>())) {
        if constexpr (reads_itself && S == side::downstream)
          if (!ec && !tunnel_) exchange_->leftover.append(from.take_read(n, ec).data(), n);
        break;
      }
      const auto bytes = from.take_read(n, ec);
      if (ec) {
        on_read_end<S>(ec);
        break;
      }
      if (bytes.empty()) break;
      feed<S>({bytes.data(), bytes.size()});
      if (!from.may_read_on(bytes.size())) break;
    }
    run();
  }

  template <side S> void on_read_end(std::error_code ec) {
    const auto time = this->now();
    if (ec == asio::error::eof) {
      slices out;
      if (exchange_) exchange_->machine.on_eof(S, out, time);
      else tunnel_->on_eof(S, out, time);
      write<opposite(S)>(out);
    } else if (exchange_) {
      exchange_->machine.on_broken(S, ec, time);
    } else {
      tunnel_->on_broken(S, ec, time);
    }
  }

  /// Bytes of one side through the present machine; a switch may happen between two of them.
  template <side S> void feed(std::span<const char> bytes) {
    const auto time = this->now();
    while (!bytes.empty()) {
      slices out;
      std::size_t taken;
      if (exchange_) {
        taken = exchange_->machine.on_read(S, bytes, out, time);
        write<opposite(S)>(out);
        bytes = bytes.subspan(taken);
        using p = exchange_machine::step;
        const auto phase = exchange_->machine.phase();
        if constexpr (has_down) {
          if (phase == p::switched) switch_over();
        } else if (phase == p::switched || phase == p::answered) {
          exchange_->early.assign(bytes.data(), bytes.size());
          return;
        }
      } else {
        taken = tunnel_->on_read(S, bytes, out, time);
        write<opposite(S)>(out);
        bytes = bytes.subspan(taken);
      }
    }
  }

  template <side S> void on_writable(std::error_code ec, std::size_t n) {
    writing_[at<S>] = false;
    auto& to = leg_of<S>();
    const auto progress = to.continue_write(n, ec);
    if (ours<S>()) {
      if (ec) write_failed<S>(ec);
      else if (progress != 0) tell_backlog<S>(!to.idle());
    }
    run();
  }

  void on_dialed(std::error_code ec, Up stream) {
    if (exchange_) {
      auto& phase = *exchange_;
      phase.dialing = false;
      if (!this->finishing() && !phase.stopping && phase.machine.phase() == exchange_machine::step::dialing) {
        if (ec) {
          phase.machine.on_dial_failed(ec, this->now());
        } else {
          up_.emplace(std::move(stream));
          legs_.up = {};
          legs_.up.attach(*up_);
          up_open_ = true;
          phase.machine.on_dialed(this->now());
        }
      }
      phase.stopping = false;
    }
    run();
  }

  // ---- Wishes.

  void run() {
    if (this->finishing()) return;
    if (exchange_) serve_exchange();
    if (tunnel_) serve_tunnel();
  }

  void serve_exchange() {
    auto& machine = exchange_->machine;
    using p = exchange_machine::step;
    serve_connection();
    serve_sides(machine);
    serve_connection();
    const bool told = machine.phase() == p::answered || machine.phase() == p::switched;
    // The last bytes of a response, or of an interim one, may have to wait for a slow client.
    const bool over = machine.phase() == p::done && (machine.settled() || all_written());
    if (told || over) wind_up();
    else this->arm(machine.deadline());
  }

  void serve_tunnel() {
    serve_sides(*tunnel_);
    if (tunnel_->finished()) wind_up();
    else if (tunnel_->take_deadline_moved()) this->arm(tunnel_->deadline());
  }

  // A wish of one side can follow from what was done for the other.
  template <class Machine> void serve_sides(Machine& machine) {
    for (bool again = true; again;) {
      again = serve<side::downstream>(machine);
      again |= serve<side::upstream>(machine);
    }
  }

  // Dials when an attempt wants it, and gives up what belongs to an earlier one.
  void serve_connection() {
    auto& phase = *exchange_;
    auto& machine = phase.machine;
    using p = exchange_machine::step;
    const bool dial_wanted = machine.phase() == p::dialing;
    if (phase.dialing && !phase.stopping && (!dial_wanted || phase.dialed != machine.attempt())) {
      phase.stopping = true;
      phase.stop_dial.emit(asio::cancellation_type::terminal);
    }
    if (up_open_ && !machine.connected()) close_up();
    if (!dial_wanted || phase.dialing || reading_[1] || writing_[1]) return;
    phase.dialing = true;
    phase.dialed = machine.attempt();
    phase.dial.async_dial(
        machine.target().address(), this->io_executor(),
        asio::bind_cancellation_slot(phase.stop_dial.slot(), this->template bind<&relay_op::on_dialed>()));
  }

  /// True if the machine was told of something.
  template <side S, class Machine> bool serve(Machine& machine) {
    bool told = false;
    if constexpr (S == side::upstream || has_down) {
      if (!open<S>()) return false;
      told = send_wishes<S>(machine);
      if (!open<S>()) return told;
      auto& self = leg_of<S>();
      if (!self.idle() && !writing_[at<S>]) {
        writing_[at<S>] = true;
        self.start_write(this->template bind<&relay_op::template on_writable<S>>());
      }
      if (!reading_[at<S>] && may_read<S>()) {
        reading_[at<S>] = true;
        self.start_read(this->template bind<&relay_op::template on_readable<S>>());
      }
    }
    return told;
  }

  template <side S> bool send_wishes(exchange_machine& machine) {
    if (!machine.has_output(S)) return false;
    slices out;
    machine.take_output(S, out);
    write<S>(out);
    return true;
  }
  template <side S> bool send_wishes(tunnel_machine& machine) {
    bool told = false;
    if (machine.has_output(S)) {
      slices out;
      machine.take_output(S, out, this->now());
      write<S>(out);
      told = true;
    }
    if (machine.wants_fin(S) && leg_of<S>().idle()) {
      send_fin<S>(machine);
      told = true;
    }
    if (machine.wants_close(S)) close<S>();
    return told;
  }
  // Where nothing is awaited after it, closing is told with it: that may be one call.
  template <side S> void send_fin(tunnel_machine& machine) {
    machine.on_fin_sent(S, this->now());
    if (machine.wants_close(S)) return close<S>(true);
    std::error_code ec;
    stream_traits<stream_of<S>>::shutdown_send(leg_of<S>().stream(), ec);
    if (ec) machine.on_write_error(S, ec, this->now());
  }

  // One side is read only when the other has taken what was read: bounded memory per direction.
  template <side S> bool may_read() {
    if (!ours<S>() || !open<S>()) return false;
    const bool wanted = exchange_ ? exchange_->machine.wants_read(S) : tunnel_->wants_read(S);
    if (!wanted) return false;
    constexpr side to = opposite(S);
    if constexpr (to == side::downstream && !has_down) return true;
    else return !open<to>() || leg_of<to>().idle();
  }

  template <side S> bool open() const noexcept {
    if constexpr (S == side::upstream) return up_open_;
    else return has_down && down_open_;
  }
  // Events of that side still concern a machine.
  template <side S> bool ours() const noexcept {
    if (this->finishing()) return false;
    if (tunnel_) return true;
    if (S == side::upstream) return exchange_->machine.connected() && !exchange_->dialing;
    return exchange_->machine.phase() != exchange_machine::step::done || !all_written();
  }

  bool all_written() const noexcept {
    if constexpr (has_down) return legs_.down.idle();
    else return true;
  }

  template <side S> void write(const slices& out) {
    if constexpr (S == side::upstream || has_down) {
      if (out.empty() || !open<S>()) return;
      auto& to = leg_of<S>();
      const bool waited = !to.idle();
      std::error_code ec;
      to.write(out, ec, tunnel_ && tunnel_->wants_fin(S));
      if (ec) write_failed<S>(ec);
      else if (!waited && !to.idle()) tell_backlog<S>(true);
    }
  }
  template <side S> void write_failed(std::error_code ec) {
    leg_of<S>().discard();
    if (exchange_) exchange_->machine.on_write_error(S, ec, this->now());
    else tunnel_->on_write_error(S, ec, this->now());
  }
  template <side S> void tell_backlog(bool waiting) {
    if (exchange_) exchange_->machine.on_backlog(S, waiting, this->now());
    else tunnel_->on_backlog(S, waiting ? leg_of<S>().waiting() : 0, this->now());
  }

  template <side S> void close(bool with_fin = false) {
    if (!open<S>()) return;
    if constexpr (S == side::upstream) {
      close_up(with_fin);
    } else if constexpr (has_down) {
      down_open_ = false;
      close(legs_.down, with_fin);
    }
  }
  void close_up(bool with_fin = false) {
    up_open_ = false;
    close(legs_.up, with_fin);
  }
  template <class Stream> static void close(leg<Stream>& of, bool with_fin) {
    of.discard();
    if (with_fin) shutdown_send_and_close(of.stream());
    else stream_traits<Stream>::close(of.stream());
  }

  // ---- From an exchange to a tunnel.

  // Called inside feed: the 101 has been written; what follows it comes next, then the client's early bytes.
  void switch_over() requires has_down {
    const auto phase = std::move(exchange_);
    auto& machine = phase->machine;
    attempts_ = machine.attempt();
    lease_ = machine.take_lease();
    const auto partial = machine.take_result();
    began_ = partial.begun;
    established_ = partial.established;
    begin_tunnel(true, machine.rsv());
    auto& what = machine.what();
    auto session = session_of(what);
    begin_session(session);
    feed<side::downstream>(what.early);
    if (machine.downstream_ended()) on_read_end<side::downstream>(asio::error::eof);
  }
  void begin_tunnel(bool is_websocket, std::uint8_t rsv) {
    tunnel_.emplace(how_->tunnel, is_websocket, rsv, this->world().random(), this->now());
    if constexpr (has_down) tell_initial_backlog<side::downstream>();
    tell_initial_backlog<side::upstream>();
  }
  template <side S> void tell_initial_backlog() {
    if (!leg_of<S>().idle()) tunnel_->on_backlog(S, leg_of<S>().waiting(), this->now());
  }
  static session_start session_of(exchange& what) {
    return {std::move(what.client), std::move(what.sessions), std::move(what.on_established)};
  }
  void begin_session(session_start& with) {
    if (!with.on_established && !with.sessions && !how_->watch) return;
    record_ =
        session_record::make(this->io_executor(), *this,
                             {std::move(with.client), lease_.backend(), how_, established_}, with.sessions);
    try {
      if (how_->watch) how_->watch->established(session_handle(record_));
      if (with.on_established) with.on_established(session_handle(record_));
    } catch (...) {
      tunnel_->abort(errc::bad_rewrite);  // it is the host's, and the host has lost its thread
    }
  }
  void tell_stalls() {
    for (const side s : {side::downstream, side::upstream})
      if (tunnel_->take_slow(s) && how_->watch)
        how_->watch->stalled(session_handle(record_), s, tunnel_->parked(s));
  }

  // ---- The end.

  // Lets go of everything; settle() delivers when the last inner operation has come back.
  void wind_up() {
    if (!this->finish()) return;
    if (record_) record_->detach(tunnel_->end().cause == end_cause::drained && !tunnel_->end().cut);
    if (tunnel_ && upstream_broke_off(*tunnel_)) lease_.died(this->now());
    if (exchange_ && exchange_->dialing && !exchange_->stopping) {
      exchange_->stopping = true;
      exchange_->stop_dial.emit(asio::cancellation_type::terminal);
    }
    const bool hand_over = !has_down && exchange_->machine.phase() != exchange_machine::step::done;
    if (up_open_ && !hand_over) close_up();
    else if (up_open_ && (reading_[1] || writing_[1])) stream_traits<Up>::cancel(*up_);
    if constexpr (has_down) {
      if (tunnel_) close<side::downstream>();
      else if (reading_[0] || writing_[0]) stream_traits<Down>::cancel(legs_.down.stream());
    }
  }

  forward_result make_result() {
    if (exchange_) {
      auto result = exchange_->machine.take_result();
      result.ended = this->now();
      result.leftover += exchange_->leftover;
      if (how_->watch && exchange_->machine.wished()) how_->watch->refused(result);
      return result;
    }
    forward_result result;
    report_end(*tunnel_, result);
    result.attempts = attempts_;
    result.backend = lease_.backend();
    result.begun = began_;
    result.established = established_;
    result.ended = this->now();
    if (how_->watch && record_) how_->watch->closed(session_handle(record_), result);
    return result;
  }
  handshake_result<Up> make_verdict() {
    auto& machine = exchange_->machine;
    handshake_result<Up> verdict;
    using p = exchange_machine::step;
    const auto phase = machine.phase();
    verdict.result = machine.take_result();
    verdict.result.ended = this->now();
    if (phase != p::done) verdict.result.status = machine.response().status;
    if (how_->watch && phase != p::switched) how_->watch->refused(verdict.result);
    if (phase == p::switched)
      verdict.accepted = switched_access::make(
          switch_state<Up>{machine.take_response(), std::move(exchange_->early), std::move(up_),
                           machine.take_lease(), how_, machine.what().world, session_of(machine.what())});
    else if (phase == p::answered)
      verdict.answer.emplace(machine.take_response(), std::move(exchange_->early), std::move(*up_));
    return verdict;
  }

  std::unique_ptr<Down> owned_;
  std::shared_ptr<const route> how_;
  std::optional<Up> up_;
  legs legs_;
  std::unique_ptr<phase_type> exchange_;
  std::optional<tunnel_machine> tunnel_;
  lease lease_;
  std::shared_ptr<session_record> record_;
  time_point began_{}, established_{};
  unsigned attempts_ = 0;
  bool reading_[2] = {false, false};
  bool writing_[2] = {false, false};
  bool up_open_ = false;
  bool down_open_ = true;
};

}  // namespace wsproxy::detail
