#pragma once

#include <algorithm>
#include <optional>
#include <utility>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>

#include <wsproxy/error.hpp>
#include <wsproxy/proxy/detail/leg.hpp>
#include <wsproxy/proxy/detail/operation.hpp>
#include <wsproxy/proxy/detail/probe_machine.hpp>

namespace wsproxy::detail {

/// Performs what probe_machine wishes.
template <class Dialer, class Handler>
class probe_op final : public operation<probe_op<Dialer, Handler>, Handler> {
  using base = operation<probe_op, Handler>;
  using Stream = typename Dialer::stream_type;
  static constexpr auto close_wait = std::chrono::seconds(1);

 public:
  probe_op(Handler&& handler, asio::any_io_executor executor, const address& to, const probe_options& options,
           Dialer dial, environment* world)
      : base(std::move(handler), std::move(executor), world),
        dial_(std::move(dial)),
        to_(to),
        timeout_(options.timeout),
        machine_(options, to, [this] { return this->world().random(); }) {}

  void start() {
    if (this->finishing()) return;
    due_ = began_ + timeout_;
    this->arm(due_);
    dialing_ = true;
    dial_.async_dial(
        to_, this->io_executor(),
        asio::bind_cancellation_slot(stop_dial_.slot(), this->template bind<&probe_op::on_dialed>()));
  }
  void on_tick() {
    if (this->now() < due_) return this->arm(due_);
    machine_.on_timeout();
    run();
  }
  void on_cancel(asio::cancellation_type) {
    machine_.abort(errc::cancelled);
    run();
  }
  probe_result take_result() const {
    return {machine_.error(), machine_.status(), std::chrono::duration_cast<duration>(decided_at_ - began_)};
  }

 private:
  void on_dialed(std::error_code ec, Stream stream) {
    dialing_ = false;
    if (this->finishing()) return;
    if (ec) {
      machine_.on_broken(ec);
    } else {
      stream_.emplace(std::move(stream));
      leg_.attach(*stream_);
      machine_.on_connected();
    }
    run();
  }
  void on_readable(std::error_code ec, std::size_t n) {
    reading_ = false;
    if (this->finishing()) return;
    const auto bytes = leg_.take_read(n, ec);
    if (ec == asio::error::eof) machine_.on_eof();
    else if (ec) machine_.on_broken(ec);
    else machine_.on_read(bytes);
    run();
  }
  void on_writable(std::error_code ec, std::size_t n) {
    writing_ = false;
    if (this->finishing()) return;
    leg_.continue_write(n, ec);
    if (ec) machine_.on_broken(ec);
    run();
  }

  void run() {
    if (this->finishing()) return;
    if (stream_ && !machine_.finished()) send();
    if (machine_.decided() && decided_at_ == time_point{}) {
      decided_at_ = this->now();
      due_ = std::min(due_, decided_at_ + close_wait);
      this->arm(due_);
    }
    if (machine_.finished()) return wind_up();
    if (!stream_) return;
    if (!leg_.idle() && !std::exchange(writing_, true))
      leg_.start_write(this->template bind<&probe_op::on_writable>());
    if (!std::exchange(reading_, true)) leg_.start_read(this->template bind<&probe_op::on_readable>());
  }

  void send() {
    const auto bytes = machine_.take_output();
    if (bytes.empty()) return;
    slices out;
    out.borrow(bytes);
    std::error_code ec;
    leg_.write(out, ec);
    if (ec) machine_.on_broken(ec);
  }

  void wind_up() {
    if (!this->finish()) return;
    if (dialing_) stop_dial_.emit(asio::cancellation_type::terminal);
    if (stream_) stream_traits<Stream>::close(*stream_);
  }

  Dialer dial_;
  const address to_;
  const duration timeout_;
  probe_machine machine_;
  asio::cancellation_signal stop_dial_;
  std::optional<Stream> stream_;
  leg<Stream> leg_;
  const time_point began_ = this->now();
  time_point due_{}, decided_at_{};
  bool dialing_ = false;
  bool reading_ = false;
  bool writing_ = false;
};

struct initiate_probe : initiation<asio::any_io_executor> {
  template <class Handler, class Dialer>
  void operator()(Handler handler, const address& to, const probe_options& options, Dialer dial,
                  environment* world) {
    using op = probe_op<Dialer, Handler>;
    op::template launch<&op::start>(
        op::make(std::move(handler), executor, to, options, std::move(dial), world));
  }
};

}  // namespace wsproxy::detail

namespace wsproxy {

template <dialer Dialer, asio::completion_token_for<void(probe_result)> Token>
auto async_probe(asio::any_io_executor executor, const address& to, const probe_options& options, Dialer dial,
                 environment* world, Token&& token) {
  validate(options);
  // By value: a lazy token starts it later.
  return asio::async_initiate<Token, void(probe_result)>(detail::initiate_probe{{std::move(executor)}}, token,
                                                         address(to), probe_options(options), std::move(dial),
                                                         world);
}

template <asio::completion_token_for<void(probe_result)> Token>
auto async_probe(asio::any_io_executor executor, const address& to, const probe_options& options,
                 Token&& token) {
  return async_probe(std::move(executor), to, options, socket_dialer{}, nullptr, std::forward<Token>(token));
}

}  // namespace wsproxy
