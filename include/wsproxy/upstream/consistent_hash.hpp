// nginx's `hash KEY consistent` (ketama), point for point.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <wsproxy/export.hpp>
#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The same key goes to the same backend, and only about 1/n of the keys move when one of n backends
/// goes. The key is the exchange's `hash_key`, the client's address by default. An unusable backend's keys
/// walk on along the ring, twenty steps at most, then round robin decides; so does an empty key.
/// The placement is nginx's, for the same backend names and weights, in the same order.
///
/// With long connections: it looks at keys only, so that it is as even as the keys are. A key that many
/// clients share fills one backend; and when a backend comes back, its keys' clients come to it only as they
/// reconnect. [nginx: hash KEY consistent; ngx_http_upstream_hash_module.c]
WSPROXY_EXPORT std::shared_ptr<balancer> consistent_hash();

/// The same ring, but a backend that has its part of the load, and `most` over, is passed over: the walk goes
/// on to the next point of one that has not. No backend gets a tunnel beyond
///
///   ceil(most x (leases alive of the whole upstream + 1) x its weight / weight of all backends in service)
///
/// The new tunnel counts as placed, weights are those configured, leases on failed and removed backends count
/// (their clients will come back), failed, draining and down backends have no part. At low counts this is
/// strict: with n equal backends and most = 1.25, the first 0.8 n tunnels go to as many different backends.
/// Backends that are full for another reason (max_conns, tried by this request) can leave nobody below the
/// bound: then there is none, and the key goes where consistent_hash puts it. A key that was passed on
/// returns to its backend when its client reconnects and there is room: what must always find the same
/// backend wants consistent_hash.
///
/// With long connections: the method for keys that are to stay together as far as that is fair. It looks at
/// what is alive, so tunnels that live long do not heap up. Throws std::invalid_argument unless 1 < most <=
/// 1000. [Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads, 2016; HAProxy:
/// hash-balance-factor]
WSPROXY_EXPORT std::shared_ptr<balancer> bounded_consistent_hash(double most = 1.25);

/// The ring's points for one backend name: 160 per weight (CRC-32 of host, NUL, port and the previous
/// point in little-endian order), in the order they are derived. For tests and tools.
WSPROXY_EXPORT std::vector<std::uint32_t> ring_points(std::string_view name, unsigned weight);
/// CRC-32 as zlib computes it.
WSPROXY_EXPORT std::uint32_t crc32(std::string_view) noexcept;

}  // namespace wsproxy
