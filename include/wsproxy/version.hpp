// Which wsproxy this is.
#pragma once

#include <string_view>

namespace wsproxy {

// The version of the library that is linked, as "major.minor.patch".
std::string_view version() noexcept;

}  // namespace wsproxy
