// nginx's `ip_hash`.
#pragma once

#include <memory>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The same client goes to the same backend: an IPv4 address counts without its last byte, an IPv6 address
/// whole, and all clients without an IP address are one. Of `client`, not of `hash_key`. An unusable
/// backend's clients are hashed again, twenty times at most, then round robin decides. With long connections:
/// for clients that must find their backend again and have no better key. Everybody behind one address
/// translation, and every neighbour in a network of 256, is one client: it may fill a backend with tunnels.
/// [nginx: ip_hash; ngx_http_upstream_ip_hash_module.c]
WSPROXY_EXPORT std::shared_ptr<balancer> ip_hash();

}  // namespace wsproxy
