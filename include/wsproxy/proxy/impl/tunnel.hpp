#pragma once

#include <wsproxy/proxy/detail/relay_op.hpp>

namespace wsproxy {

namespace detail {

/// Stands in for the dialer of a tunnel, which dials nothing.
template <class Up> struct no_dialer {
  using stream_type = Up;
  template <class Handler> void async_dial(const address&, asio::any_io_executor, Handler) {}
};

template <class Executor> struct initiate_tunnel : initiation<Executor> {
  template <class Handler, class Down, class Up>
  void operator()(Handler handler, Down* down, switch_state<Up> up, std::string early, bool is_websocket) {
    using op = relay_op<Down, no_dialer<Up>, Handler>;
    std::string early_up = std::move(up.early);
    session_start session = std::move(up.session);
    auto self = op::make(std::move(handler), this->executor, down, std::unique_ptr<Down>(), std::move(up),
                         is_websocket);
    op::template launch<&op::start_tunnel>(std::move(self), std::move(early), std::move(early_up),
                                           std::move(session));
  }
};

}  // namespace detail

template <stream_like Downstream, class Upstream, asio::completion_token_for<void(forward_result)> Token>
auto async_tunnel(Downstream& downstream, switched<Upstream> upstream, std::string early, Token&& token) {
  using initiate = detail::initiate_tunnel<detail::executor_of_t<Downstream>>;
  return asio::async_initiate<Token, void(forward_result)>(
      initiate{{downstream.get_executor()}}, token, &downstream,
      detail::switched_access::take(std::move(upstream)), std::move(early), true);
}

template <stream_like First, stream_like Second, asio::completion_token_for<void(forward_result)> Token>
auto async_relay(First& first, std::string early_first, Second second, std::string early_second,
                 const tunnel_policy& policy, Token&& token) {
  return async_relay(first, std::move(early_first), std::move(second), std::move(early_second), policy,
                     nullptr, std::forward<Token>(token));
}

template <stream_like First, stream_like Second, asio::completion_token_for<void(forward_result)> Token>
auto async_relay(First& first, std::string early_first, Second second, std::string early_second,
                 const tunnel_policy& policy, environment* world, Token&& token) {
  detail::switch_state<Second> state;
  state.early = std::move(early_second);
  state.stream.emplace(std::move(second));
  state.how = route::make({.tunnel = policy});
  state.world = world;
  using initiate = detail::initiate_tunnel<detail::executor_of_t<First>>;
  return asio::async_initiate<Token, void(forward_result)>(initiate{{first.get_executor()}}, token, &first,
                                                           std::move(state), std::move(early_first), false);
}

}  // namespace wsproxy
