// Which failures let another backend be asked: the conditions of nginx's proxy_next_upstream. Private.
#pragma once

#include <cstddef>
#include <string_view>
#include <system_error>

#include <wsproxy/policy.hpp>

namespace wsproxy::detail {

/// The condition of `retry` that a status belongs to; 0 for none.
unsigned retry_condition(int status) noexcept;

/// This process, or this machine, has no descriptor or memory left. No fault of the backend's, and another
/// one would not help. [nginx: 500]
bool lacks_resources(const std::error_code& error) noexcept;

/// How far a request has come.
struct request_progress {
  std::string_view method;
  bool begun;            ///< it has been handed to a connection
  std::size_t attempts;  ///< to send it, the present one too
  time_point since;      ///< the first of them
};

/// Whether `rule` lets a request be sent once more, of which everything is still there. `backends`: how many
/// there are to be tried.
bool permits(const retry& rule, unsigned condition, const request_progress& of, std::size_t backends,
             time_point now) noexcept;

}  // namespace wsproxy::detail
