// The parts of a request target and of an authority (RFC 9112 section 3.2, RFC 3986 section 3.2).
#pragma once

#include <optional>
#include <string_view>

namespace wsproxy {

/// `scheme "://" authority path-and-query`.
struct absolute_target {
  std::string_view scheme;
  std::string_view authority;
  std::string_view rest;  ///< may be empty or begin with '?': the path is then "/"
};

/// Nothing if the target is not in absolute-form.
std::optional<absolute_target> split_absolute(std::string_view target) noexcept;

/// The host of `uri-host [":" port]`, without one trailing dot; an IP literal keeps its brackets.
std::string_view host_of(std::string_view authority) noexcept;

/// True for `uri-host [":" port]` with a host that is not empty and has no empty label inside.
bool is_authority(std::string_view) noexcept;

}  // namespace wsproxy
