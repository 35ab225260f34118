// A live tunnel, seen from outside.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <wsproxy/export.hpp>
#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

struct route;
namespace detail {
class session_record;
}

/// What comes from one side, up to now.
struct session_flow {
  std::uint64_t bytes = 0;     ///< behind the 101; echoes of our pings too
  std::uint64_t frames = 0;    ///< where frames are tracked; echoes of our pings are not counted
  std::uint64_t messages = 0;  ///< where frames are tracked
  time_point last_heard{};     ///< any byte
  std::size_t parked = 0;      ///< bytes that the other side has not taken yet; meanwhile no more are read
  time_point parked_since{};   ///< when the first of them had to wait; zero where none does
  duration round_trip{};       ///< from our last ping to this side until its pong; zero: never measured
};

/// A snapshot of a session's numbers. Each is recent; they need not be of the same instant.
struct session_stats {
  session_flow from_client{};    ///< what the client sends
  session_flow from_upstream{};  ///< what the backend sends
};

/// How tunnels are ended politely.
struct drain_options {
  /// What is still open then is closed at once. Zero: no deadline.
  duration deadline = std::chrono::seconds(30);
  /// The Close frames of many are spread evenly over this time, each at a random moment of its share; that of
  /// one comes at a random moment of it. Clients that reconnect do not come all at once.
  duration spread = duration::zero();
  /// Of the Close frame (RFC 6455 section 7.4): 1001 going away, 1012 service restart. 0: FIN only.
  std::uint16_t code = 1001;
  std::string reason{};  ///< UTF-8, at most 123 bytes

  bool operator==(const drain_options&) const = default;
};

/// A weak handle on a tunnel: it keeps nothing open, may be copied, and every member may be called from
/// any thread, also after the tunnel has ended (then nothing happens); not while the tunnel's context is
/// being destroyed with the tunnel in it.
class WSPROXY_EXPORT session_handle {
 public:
  session_handle() = default;
  /// For the library, which makes them.
  explicit session_handle(std::shared_ptr<detail::session_record> record) : record_(std::move(record)) {}

  /// False once the tunnel has ended.
  bool alive() const noexcept;
  /// Unique within the process; 0 for an empty handle.
  std::uint64_t id() const noexcept;
  std::string client() const;               ///< its address, as the exchange had it
  time_point established() const noexcept;  ///< when its 101 was relayed; zero for an empty handle
  std::shared_ptr<const wsproxy::backend> backend() const;  ///< which it goes to; null for an empty handle
  std::shared_ptr<const wsproxy::route> route() const;      ///< how it is treated; null for an empty handle
  /// All zero once the tunnel has ended: forward_result has the last numbers. It takes no time of the
  /// tunnel's: the numbers are read where the tunnel keeps them.
  session_stats stats() const;

  // These return at once; the tunnel acts on its own executor. The first Close that is due is the one that is
  // sent.

  /// Ends it politely, within `options.spread`: a Close frame to each side at a frame boundary, then FIN
  /// (RFC 6455 section 7.1.2). The result says end_cause::drained.
  void drain(const drain_options& options = {}) const;
  /// The same now, as a decision about this session (a token that expired): the result says
  /// end_cause::closed, by side::local. Code 0: FIN only.
  void close(std::uint16_t code = 1000, std::string_view reason = {}) const;
  /// Ends it now, without a Close.
  void abort() const;

  bool operator==(const session_handle&) const = default;

 private:
  friend class session_registry;
  std::shared_ptr<detail::session_record> record_;
};

}  // namespace wsproxy
