#include <wsproxy/proxy/exchange.hpp>

namespace wsproxy {

std::shared_ptr<const route> route::make(route value) {
  validate(value.tunnel.timeouts);
  validate(value.failover);
  validate(value.tunnel.heartbeat);
  validate(value.tunnel.slow_consumer);
  return std::make_shared<const route>(std::move(value));
}

std::shared_ptr<const route> route::make() {
  static const auto defaults = make(route{});
  return defaults;
}

}  // namespace wsproxy
