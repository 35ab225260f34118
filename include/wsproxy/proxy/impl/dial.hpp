#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>

#include <asio/associated_allocator.hpp>
#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>

#include <wsproxy/proxy/detail/operation.hpp>

namespace wsproxy::detail {

using stream_endpoint = asio::generic::stream_protocol::endpoint;

/// Connects Asio's own sockets.
class socket_connector {
 public:
  using stream_type = upstream_socket;
  explicit socket_connector(const asio::any_io_executor& executor) : socket_(executor) {}

  template <class Handler> void connect(const stream_endpoint& to, Handler handler) {
    stop();
    std::error_code told_again;  // by async_connect, which opens what is not open
    socket_.open(to.protocol(), told_again);
    // What the host starts inherits nothing of ours; Asio asks for no SOCK_CLOEXEC.
    if (socket_.is_open()) ::fcntl(socket_.native_handle(), F_SETFD, FD_CLOEXEC);
    socket_.async_connect(to, std::move(handler));
  }
  void stop() noexcept {
    std::error_code ignored;
    socket_.close(ignored);
  }
  upstream_socket take() {
    std::error_code not_tcp;
    socket_.set_option(asio::ip::tcp::no_delay(true), not_tcp);
    return std::move(socket_);
  }
  static upstream_socket closed(const asio::any_io_executor& executor) { return upstream_socket(executor); }

 private:
  upstream_socket socket_;
};

/// One dial: resolve if need be, then connect to one endpoint after the other. A resolution that is no longer
/// wanted cannot be interrupted; it is left behind, and the dial ends at once.
template <class Connector, class Handler>
class dial_op : public std::enable_shared_from_this<dial_op<Connector, Handler>> {
  using stream_type = typename Connector::stream_type;

 public:
  dial_op(asio::any_io_executor executor, Handler&& handler)
      : executor_(std::move(executor)),
        work_(asio::make_work_guard(handler, executor_)),
        handler_(std::move(handler)),
        connector_(executor_) {}

  void start(const address& to) {
    auto slot = asio::get_associated_cancellation_slot(handler_);
    if (slot.is_connected())
      slot.assign([weak = this->weak_from_this()](asio::cancellation_type) {
        auto self = weak.lock();
        if (!self || self->done_) return;
        self->connector_.stop();
        self->finish(asio::error::operation_aborted);
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
    const bool may_be_v6 = to.host.find(':') != std::string::npos;
    const auto ip = may_be_v6 ? asio::ip::make_address(to.host, ec)
                              : asio::ip::address(asio::ip::make_address_v4(to.host, ec));
    if (!ec) {
      endpoints_.emplace_back(asio::ip::tcp::endpoint(ip, to.port));
      return connect_next({});
    }
    resolver_ = std::make_unique<asio::ip::tcp::resolver>(executor_);
    resolver_->async_resolve(to.host, std::to_string(to.port),
                             [self = this->shared_from_this()](std::error_code error, const auto& found) {
                               for (const auto& entry : found)
                                 self->endpoints_.emplace_back(entry.endpoint());
                               if (!self->done_) self->connect_next(error);
                             });
  }

 private:
  void connect_next(std::error_code last) {
    if (next_ == endpoints_.size()) return finish(last ? last : asio::error::host_not_found);
    connector_.connect(endpoints_[next_++], [self = this->shared_from_this()](std::error_code error) {
      if (self->done_) return;
      if (error) self->connect_next(error);
      else self->finish({});
    });
  }

  void finish(std::error_code error) {
    done_ = true;
    asio::get_associated_cancellation_slot(handler_).clear();
    auto stream = error ? Connector::closed(executor_) : connector_.take();
    [[maybe_unused]] const auto work = std::move(work_);  // until it is posted
    deliver(executor_, std::move(handler_), error, std::move(stream));
  }

  asio::any_io_executor executor_;
  asio::executor_work_guard<asio::associated_executor_t<Handler, asio::any_io_executor>> work_;
  Handler handler_;
  Connector connector_;
  std::unique_ptr<asio::ip::tcp::resolver> resolver_;
  std::vector<stream_endpoint> endpoints_;
  std::size_t next_ = 0;
  bool done_ = false;
};

template <class Connector> struct initiate_dial : initiation<asio::any_io_executor> {
  template <class Handler> void operator()(Handler handler, const address& to) {
    using op = dial_op<Connector, Handler>;
    const auto allocator = asio::get_associated_allocator(handler);
    std::allocate_shared<op>(allocator, executor, std::move(handler))->start(to);
  }
};

}  // namespace wsproxy::detail

namespace wsproxy {

template <asio::completion_token_for<void(std::error_code, upstream_socket)> Token>
auto socket_dialer::async_dial(const address& to, asio::any_io_executor executor, Token&& token) {
  return asio::async_initiate<Token, void(std::error_code, upstream_socket)>(
      detail::initiate_dial<detail::socket_connector>{{std::move(executor)}}, token, address(to));
}

}  // namespace wsproxy
