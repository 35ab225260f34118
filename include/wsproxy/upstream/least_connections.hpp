// nginx's `least_conn`.
#pragma once

#include <memory>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The backend with the fewest leases alive for its weight; among equals, smooth weighted round robin.
/// With long connections: the method of choice. It counts tunnels alive, not arrivals, so it stays even
/// however long they live; a backend that comes back gets all that arrives until it is level with the others
/// (slow_start softens that). It knows only this process's tunnels: of many proxies each chooses the same
/// emptiest backend, where random_choice_of_two is milder. [nginx: least_conn;
/// ngx_http_upstream_least_conn_module.c]
WSPROXY_EXPORT std::shared_ptr<balancer> least_connections();

}  // namespace wsproxy
