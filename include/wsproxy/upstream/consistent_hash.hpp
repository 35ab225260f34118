// nginx's `hash KEY consistent` (ketama), point for point.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <wsproxy/upstream/balancer.hpp>

namespace wsproxy {

/// The same key goes to the same backend, and only about 1/n of the keys move when one of n backends
/// goes. The key is the exchange's `hash_key`, the client's address by default. An unusable backend's keys
/// walk on along the ring, twenty steps at most, then round robin decides; so does an empty key.
/// The placement is nginx's, for the same backend names and weights, in the same order.
/// [nginx: hash KEY consistent; ngx_http_upstream_hash_module.c]
std::shared_ptr<balancer> consistent_hash();

/// The ring's points for one backend name: 160 per weight (CRC-32 of host, NUL, port and the previous
/// point in little-endian order), in the order they are derived. For tests and tools.
std::vector<std::uint32_t> ring_points(std::string_view name, unsigned weight);
/// CRC-32 as zlib computes it.
std::uint32_t crc32(std::string_view) noexcept;

}  // namespace wsproxy
