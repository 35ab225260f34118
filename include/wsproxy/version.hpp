// Which wsproxy this is.
#pragma once

#include <string_view>

#include <wsproxy/export.hpp>

namespace wsproxy {

// The version of the library that is linked, as "major.minor.patch".
WSPROXY_EXPORT std::string_view version() noexcept;

}  // namespace wsproxy
