#pragma once

#include <algorithm>
#include <utility>

#include <wsproxy/error.hpp>
#include <wsproxy/proxy/detail/leg.hpp>
#include <wsproxy/proxy/detail/operation.hpp>

namespace wsproxy::detail {

template <class Stream, class Handler>
class read_head_op final : public operation<read_head_op<Stream, Handler>, Handler> {
  using base = operation<read_head_op, Handler>;

 public:
  read_head_op(Handler&& handler, Stream& stream, read_head_options options)
      : base(std::move(handler), stream.get_executor(), options.world),
        options_(options),
        parser_(head_parser::kind::request, options.limits) {
    leg_.attach(stream);
  }

  void start(const std::string& buffered) {
    if (this->finishing()) return;
    waits_for_first_ = options_.first_byte > duration::zero();
    arm_for(waits_for_first_ ? options_.first_byte : options_.head);
    take(buffered);
    read();
  }
  void on_tick() {
    if (this->now() < due_) return this->arm(due_);
    end(waits_for_first_ ? errc::keep_alive_timeout : errc::client_head_timeout);
  }
  void on_cancel(asio::cancellation_type) { end(errc::cancelled); }
  read_head_result take_result() { return std::move(result_); }

 private:
  void on_readable(std::error_code ec, std::size_t n) {
    reading_ = false;
    if (this->finishing()) {
      // A stream that reads by itself may have read what belongs to the host.
      if constexpr (!readiness_stream<Stream>)
        if (!ec) result_.early.append(leg_.take_read(n, ec).data(), n);
      return;
    }
    const auto bytes = leg_.take_read(n, ec);
    if (ec) {
      const bool between = ec == asio::error::eof && !parser_.begun();
      return end(between || ec != asio::error::eof ? ec : make_error_code(errc::downstream_closed));
    }
    take({bytes.data(), bytes.size()});
    read();
  }

  void take(std::string_view bytes) {
    if (bytes.empty()) return;
    if (std::exchange(waits_for_first_, false)) arm_for(options_.head);
    const auto parsed = parser_.feed(bytes);
    if (parsed.done) {
      result_.head = parser_.take_request();
      result_.early.assign(bytes.substr(parsed.consumed));
    }
    if (parsed.done || parsed.error) end(parsed.error);
  }

  void read() {
    if (this->finishing()) return;
    reading_ = true;
    leg_.start_read(this->template bind<&read_head_op::on_readable>());
  }

  void arm_for(duration length) {
    due_ = length > duration::zero() ? this->now() + std::min(length, longest_time) : time_point::max();
    this->arm(due_);
  }

  void end(std::error_code error) {
    if (!this->finish()) return;
    result_.error = error;
    if (reading_) stream_traits<Stream>::cancel(leg_.stream());
  }

  read_head_options options_;
  leg<Stream> leg_;
  head_parser parser_;
  read_head_result result_{};
  time_point due_ = time_point::max();
  bool waits_for_first_ = false;
  bool reading_ = false;
};

template <class Stream, class Handler>
class send_op final : public operation<send_op<Stream, Handler>, Handler> {
  using base = operation<send_op, Handler>;

 public:
  send_op(Handler&& handler, Stream& stream, send_options options)
      : base(std::move(handler), stream.get_executor(), options.world), options_(options) {
    leg_.attach(stream);
  }

  void start(const std::string& bytes) {
    if (this->finishing()) return;
    slices out;
    out.borrow(bytes);
    std::error_code ec;
    if (!bytes.empty()) leg_.write(out, ec);
    if (ec) return end(ec);
    wait_from_now(options_.send_stall);
    go_on();
  }
  void on_tick() {
    if (this->now() < due_) return this->arm(due_);
    end(lingering_ ? std::error_code() : make_error_code(errc::send_stall_timeout));
  }
  void on_cancel(asio::cancellation_type) { end(errc::cancelled); }
  std::error_code take_result() const noexcept { return error_; }

 private:
  void go_on() {
    if (!leg_.idle()) {
      busy_ = true;
      return leg_.start_write(this->template bind<&send_op::on_writable>());
    }
    if (!options_.close) return end({});
    std::error_code ec;
    stream_traits<Stream>::shutdown_send(leg_.stream(), ec);
    if (ec || options_.linger <= duration::zero()) return end({});
    lingering_ = true;
    wait_from_now(options_.linger);
    read();
  }

  void on_writable(std::error_code ec, std::size_t n) {
    busy_ = false;
    if (this->finishing()) return;
    if (leg_.continue_write(n, ec) != 0) wait_from_now(options_.send_stall);
    if (ec) end(ec);
    else go_on();
  }

  void read() {
    busy_ = true;
    leg_.start_read(this->template bind<&send_op::on_readable>());
  }
  void on_readable(std::error_code ec, std::size_t n) {  // lingering: what still comes is dropped
    busy_ = false;
    if (this->finishing()) return;
    leg_.take_read(n, ec);
    if (ec) end({});
    else read();
  }

  void wait_from_now(duration length) {
    due_ = length > duration::zero() ? this->now() + std::min(length, longest_time) : time_point::max();
    this->arm(due_);
  }
  void end(std::error_code error) {
    if (!this->finish()) return;
    error_ = error;
    if (options_.close) stream_traits<Stream>::close(leg_.stream());
    else if (busy_) stream_traits<Stream>::cancel(leg_.stream());
  }

  send_options options_;
  leg<Stream> leg_;
  std::error_code error_{};
  time_point due_ = time_point::max();
  bool lingering_ = false;
  bool busy_ = false;
};

template <class Executor> struct initiate_read_head : initiation<Executor> {
  template <class Handler, class Stream>
  void operator()(Handler handler, Stream* stream, std::string buffered, const read_head_options& options) {
    using op = read_head_op<Stream, Handler>;
    op::template launch<&op::start>(op::make(std::move(handler), *stream, options), std::move(buffered));
  }
};

template <class Executor> struct initiate_send : initiation<Executor> {
  template <class Handler, class Stream>
  void operator()(Handler handler, Stream* stream, std::string bytes, const send_options& options) {
    using op = send_op<Stream, Handler>;
    op::template launch<&op::start>(op::make(std::move(handler), *stream, options), std::move(bytes));
  }
};

}  // namespace wsproxy::detail

namespace wsproxy {

template <stream_like Stream, asio::completion_token_for<void(read_head_result)> Token>
auto async_read_head(Stream& stream, std::string buffered, read_head_options options, Token&& token) {
  using initiate = detail::initiate_read_head<detail::executor_of_t<Stream>>;
  return asio::async_initiate<Token, void(read_head_result)>(initiate{{stream.get_executor()}}, token,
                                                             &stream, std::move(buffered), options);
}

template <stream_like Stream, asio::completion_token_for<void(std::error_code)> Token>
auto async_send(Stream& stream, std::string bytes, send_options options, Token&& token) {
  using initiate = detail::initiate_send<detail::executor_of_t<Stream>>;
  return asio::async_initiate<Token, void(std::error_code)>(initiate{{stream.get_executor()}}, token, &stream,
                                                            std::move(bytes), options);
}

}  // namespace wsproxy
