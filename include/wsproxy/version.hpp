// Which wsproxy this is.
#pragma once

#include <string_view>

#include <wsproxy/export.hpp>

/// All of the library. What is in `detail` is for its own headers.
namespace wsproxy {

/// The version of the library that is linked, as "major.minor.patch".
WSPROXY_EXPORT std::string_view version() noexcept;

}  // namespace wsproxy
