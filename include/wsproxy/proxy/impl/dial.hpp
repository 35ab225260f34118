#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/bind_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/post.hpp>

namespace wsproxy::detail {

/// One dial: resolve if need be, then connect to one endpoint after the other. A resolution that is no longer
/// wanted cannot be interrupted; it is left behind, and the dial ends at once.
template <class Handler> class dial_op : public std::enable_shared_from_this<dial_op<Handler>> {
 public:
  dial_op(asio::any_io_executor executor, Handler&& handler)
      : executor_(std::move(executor)),
        work_(asio::make_work_guard(handler, executor_)),
        handler_(std::move(handler)),
        socket_(executor_),
        resolver_(executor_) {}

  void start(const address& to) {
    auto slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected()) slot.assign([weak = this->weak_from_this()](asio::cancellation_type) {
      if (auto self = weak.lock()) self->cancel();
    });
    if (to.kind == address::family::unix_socket) {
      try {
        endpoints_.emplace_back(asio::local::stream_protocol::endpoint(to.host));
      } catch (const std::system_error& error) {  // a path longer than the system takes
        return finish(error.code());
      }
      return connect_next({});
    }
    std::error_code ec;
    if (const auto ip = asio::ip::make_address(to.host, ec); !ec) {
      endpoints_.emplace_back(asio::ip::tcp::endpoint(ip, to.port));
      return connect_next({});
    }
    resolver_.async_resolve(to.host, std::to_string(to.port),
                            [self = this->shared_from_this()](std::error_code error, const auto& found) {
                              for (const auto& entry : found) self->endpoints_.emplace_back(entry.endpoint());
                              if (!self->done_) self->connect_next(error);
                            });
  }

 private:
  void connect_next(std::error_code last) {
    if (next_ == endpoints_.size()) return finish(last ? last : asio::error::host_not_found);
    const auto& to = endpoints_[next_++];
    std::error_code ignored;
    socket_.close(ignored);
    socket_.async_connect(to, [self = this->shared_from_this()](std::error_code error) {
      if (self->done_) return;
      if (error) return self->connect_next(error);
      std::error_code not_tcp;
      self->socket_.set_option(asio::ip::tcp::no_delay(true), not_tcp);
      self->finish({});
    });
  }

  void cancel() {
    if (done_) return;
    std::error_code ignored;
    socket_.close(ignored);
    finish(asio::error::operation_aborted);
  }

  void finish(std::error_code error) {
    done_ = true;
    asio::get_associated_cancellation_slot(handler_).clear();
    if (error) socket_ = upstream_socket(executor_);
    const auto executor = asio::get_associated_executor(handler_, executor_);
    asio::post(executor, [handler = std::move(handler_), error, socket = std::move(socket_),
                          work = std::move(work_)]() mutable { std::move(handler)(error, std::move(socket)); });
  }

  asio::any_io_executor executor_;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
  Handler handler_;
  upstream_socket socket_;
  asio::ip::tcp::resolver resolver_;
  std::vector<asio::generic::stream_protocol::endpoint> endpoints_;
  std::size_t next_ = 0;
  bool done_ = false;
};

}  // namespace wsproxy::detail

namespace wsproxy {

template <asio::completion_token_for<void(std::error_code, upstream_socket)> Token>
auto socket_dialer::async_dial(const address& to, asio::any_io_executor executor, Token&& token) {
  return asio::async_initiate<Token, void(std::error_code, upstream_socket)>(
      [](auto handler, address where, asio::any_io_executor on) {
        using op = detail::dial_op<decltype(handler)>;
        std::make_shared<op>(std::move(on), std::move(handler))->start(where);
      },
      token, to, std::move(executor));
}

}  // namespace wsproxy
