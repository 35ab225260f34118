#pragma once

#include <wsproxy/proxy/detail/relay_op.hpp>

namespace wsproxy {

namespace detail {

template <class Executor> struct initiate_forward : initiation<Executor> {
  template <class Handler, class Down, class Dialer>
  void operator()(Handler handler, Down* down, std::unique_ptr<Down> owned, upstream backends,
                  exchange&& what, Dialer dial) {
    using op = relay_op<Down, Dialer, Handler>;
    auto self = op::make(std::move(handler), this->executor, down, std::move(owned), std::move(backends),
                         std::move(dial), std::move(what));
    op::template launch<&op::start_exchange>(std::move(self));
  }
};

struct initiate_handshake : initiation<asio::any_io_executor> {
  template <class Handler, class Dialer>
  void operator()(Handler handler, upstream backends, exchange what, Dialer dial) {
    using op = relay_op<no_stream, Dialer, Handler>;
    auto self = op::make(std::move(handler), executor, static_cast<no_stream*>(nullptr),
                         std::unique_ptr<no_stream>(), std::move(backends), std::move(dial), std::move(what));
    op::template launch<&op::start_exchange>(std::move(self));
  }
};

}  // namespace detail

template <stream_like Downstream, dialer Dialer, asio::completion_token_for<void(forward_result)> Token>
auto async_forward(Downstream& downstream, upstream backends, exchange what, Dialer dial, Token&& token) {
  using initiate = detail::initiate_forward<detail::executor_of_t<Downstream>>;
  return asio::async_initiate<Token, void(forward_result)>(
      initiate{{downstream.get_executor()}}, token, &downstream, std::unique_ptr<Downstream>(),
      std::move(backends), std::move(what), std::move(dial));
}

template <stream_like Downstream, asio::completion_token_for<void(forward_result)> Token>
auto async_forward(Downstream& downstream, upstream backends, exchange what, Token&& token) {
  return async_forward(downstream, std::move(backends), std::move(what), socket_dialer{},
                       std::forward<Token>(token));
}

template <stream_like Downstream, asio::completion_token_for<void(forward_result)> Token>
requires(!std::is_lvalue_reference_v<Downstream>) auto async_forward(Downstream&& downstream,
                                                                     upstream backends, exchange what,
                                                                     Token&& token) {
  using initiate = detail::initiate_forward<detail::executor_of_t<Downstream>>;
  auto owned = std::make_unique<Downstream>(std::move(downstream));
  initiate begin{{owned->get_executor()}};
  return asio::async_initiate<Token, void(forward_result)>(
      std::move(begin), token, static_cast<Downstream*>(nullptr), std::move(owned), std::move(backends),
      std::move(what), socket_dialer{});
}

template <class Upstream>
switched<Upstream>::switched(std::unique_ptr<detail::switch_state<Upstream>> state) noexcept
    : state_(std::move(state)) {}
template <class Upstream> switched<Upstream>::switched(switched&&) noexcept = default;
template <class Upstream> switched<Upstream>& switched<Upstream>::operator=(switched&&) noexcept = default;
template <class Upstream> switched<Upstream>::~switched() = default;
template <class Upstream> const response_head& switched<Upstream>::response() const noexcept {
  return state_->response;
}
template <class Upstream> const std::string& switched<Upstream>::early() const noexcept {
  return state_->early;
}
template <class Upstream> Upstream& switched<Upstream>::stream() noexcept { return *state_->stream; }
template <class Upstream>
std::shared_ptr<const wsproxy::backend> switched<Upstream>::backend() const noexcept {
  return state_->held.backend();
}

template <dialer Dialer,
          asio::completion_token_for<void(handshake_result<typename Dialer::stream_type>)> Token>
auto async_handshake(asio::any_io_executor executor, upstream backends, exchange what, Dialer dial,
                     Token&& token) {
  return asio::async_initiate<Token, void(handshake_result<typename Dialer::stream_type>)>(
      detail::initiate_handshake{{std::move(executor)}}, token, std::move(backends), std::move(what),
      std::move(dial));
}

template <asio::completion_token_for<void(handshake_result<>)> Token>
auto async_handshake(asio::any_io_executor executor, upstream backends, exchange what, Token&& token) {
  return async_handshake(std::move(executor), std::move(backends), std::move(what), socket_dialer{},
                         std::forward<Token>(token));
}

}  // namespace wsproxy
