// nginx's `hash KEY`: by the remainder, not by a ring.
#pragma once

#include <memory>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The same key goes to the same backend for as long as the list stays as it is; when it changes, nearly all
/// keys move (`consistent_hash` moves few). The key is the exchange's `hash_key`, the client's address by
/// default. An unusable backend's keys are hashed again, twenty times at most, then round robin decides; so
/// does an empty key. With long connections: as consistent_hash, but a list that changes leaves the old
/// tunnels of nearly every key on another backend than its new ones. [nginx: hash KEY;
/// ngx_http_upstream_hash_module.c]
WSPROXY_EXPORT std::shared_ptr<balancer> key_hash();

}  // namespace wsproxy
