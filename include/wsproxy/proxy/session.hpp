// A live tunnel, seen from outside.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <wsproxy/policy.hpp>
#include <wsproxy/upstream/backend.hpp>

namespace wsproxy {

namespace detail { class session_record; }

/// A snapshot of a session's numbers.
struct session_stats {
  std::uint64_t bytes_from_client = 0;
  std::uint64_t bytes_from_upstream = 0;
  time_point established{};
  time_point last_heard{};  ///< any byte, from either side
};

/// A weak handle on a tunnel: it keeps nothing open, may be copied, and every member may be called from
/// any thread at any time, also after the tunnel has ended (then nothing happens).
class session_handle {
 public:
  session_handle() = default;
  explicit session_handle(std::shared_ptr<detail::session_record> record) : record_(std::move(record)) {}

  /// False once the tunnel has ended.
  bool alive() const noexcept;
  /// Unique within the process; 0 for an empty handle.
  std::uint64_t id() const noexcept;
  std::string client() const;
  std::shared_ptr<const wsproxy::backend> backend() const;
  session_stats stats() const;

  /// Ends it politely: a Close frame with this code and reason to each side at a frame boundary, then FIN
  /// (RFC 6455 section 7.1.2). Code 0: FIN only. Returns at once.
  void drain(std::uint16_t code = 1001, std::string_view reason = {}) const;
  /// Ends it now, without a Close.
  void abort() const;

 private:
  std::shared_ptr<detail::session_record> record_;
};

}  // namespace wsproxy
