// nginx's `least_conn`.
#pragma once

#include <memory>

#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The backend with the fewest leases alive for its weight; among equals, smooth weighted round robin.
/// The method for tunnels that live long and unequally. [nginx: least_conn; ngx_http_upstream_least_conn_module.c]
std::shared_ptr<balancer> least_connections();

}  // namespace wsproxy
