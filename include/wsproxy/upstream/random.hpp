// nginx's `random` and `random two`.
#pragma once

#include <memory>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// Any backend, as likely as its weight says. Twenty draws in vain, then round robin decides.
/// The draws are made from the pick's random number. With long connections: as round_robin, but uneven by
/// chance; for many proxies that know nothing of each other. [nginx: random;
/// ngx_http_upstream_random_module.c]
WSPROXY_EXPORT std::shared_ptr<balancer> random_choice();

/// The one of two random backends with fewer leases alive for its weight: nearly as even as
/// least_connections, and never a stampede when many proxies choose for themselves. With long connections:
/// the method for those. It counts tunnels alive, and fills a backend that comes back in a share of all
/// picks, not with every one. [nginx: random two least_conn]
WSPROXY_EXPORT std::shared_ptr<balancer> random_choice_of_two();

}  // namespace wsproxy
