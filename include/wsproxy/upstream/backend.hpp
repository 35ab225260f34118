// One backend of an upstream: where it is, what it may carry, what it carries now.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>

namespace wsproxy {

namespace detail {
struct backend_list;
}

/// Where a backend listens.
struct WSPROXY_EXPORT address {
  /// What `host` is.
  enum class family {
    ip,                    ///< an IPv4 or IPv6 address
    unix_socket,           ///< a path
    name,                  ///< a host name, which is looked up at every dial
  } kind = family::name;   ///< which
  std::string host;        ///< "10.0.0.1", "::1", "backend.internal", or a socket's path
  std::uint16_t port = 0;  ///< not for unix_socket

  /// Reads `HOST`, `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`. Port 80 if there is none;
  /// 0 only makes sense to listen at.
  /// Throws std::invalid_argument naming the text.
  static address parse(std::string_view text);
  /// The text that `parse` reads as this address, with its port.
  std::string to_string() const;
  bool operator==(const address&) const = default;
};

/// What is configured of a backend. [the parameters of nginx's `server` in an upstream block]
struct backend_options {
  /// The text that names it: hash rings are built from this, byte for byte, as nginx does.
  /// Also its address, unless `at` has a host.
  std::string name;
  address at{};            ///< where to connect, when that is not what `name` says (a resolved host)
  unsigned weight = 1;     ///< its share
  unsigned max_conns = 0;  ///< tunnels and requests at most; 0: unlimited
  unsigned max_fails = 1;  ///< failures within fail_timeout that take it out; 0: never
  std::chrono::seconds fail_timeout{10};  ///< whole seconds, as nginx counts
  /// Added at run time, or back after it failed or was down: its weight climbs evenly from 0 to its value in
  /// this time, so that it is not given all that arrives at once. Zero: at once. A list's first backends do
  /// not climb, nor does the only one of its tier. Refused where the method has none. [slow_start]
  duration slow_start = duration::zero();
  bool backup = false;    ///< used only when no other is usable
  bool down = false;      ///< never used
  bool draining = false;  ///< given no new tunnels; the old ones stay. [drain]

  bool operator==(const backend_options&) const = default;
};

/// A backend's live object. Shared: it survives every reconfiguration that keeps its name and address,
/// so that its counters do. Counters may be read from any thread. What is configured of it (weight, limits)
/// may change meanwhile and belongs to the upstream's list.
class WSPROXY_EXPORT backend {
 public:
  /// For an upstream, which makes its own.
  backend(std::string name, address at);

  const std::string& name() const noexcept { return name_; }  ///< backend_options::name
  /// Where it is dialed.
  const wsproxy::address& address() const noexcept { return address_; }

  /// Leases alive now: exchanges and tunnels.
  std::uint32_t active() const noexcept { return active_.load(std::memory_order_relaxed); }
  /// Leases ever given.
  std::uint64_t picked() const noexcept { return picked_.load(std::memory_order_relaxed); }
  /// Of these, reported as failed.
  std::uint64_t failed() const noexcept { return failed_.load(std::memory_order_relaxed); }

 private:
  friend class upstream;
  friend class lease;
  friend struct detail::backend_list;
  const std::string name_;
  const wsproxy::address address_;
  std::atomic<std::uint32_t> active_{0};
  std::atomic<std::uint64_t> picked_{0};
  std::atomic<std::uint64_t> failed_{0};
  std::size_t slot_ = 0;  // in its upstream's list; guarded by the upstream's lock
};

}  // namespace wsproxy
