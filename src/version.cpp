#include <wsproxy/version.hpp>

namespace wsproxy {

// The build defines it, from the version of the project.
std::string_view version() noexcept { return WSPROXY_VERSION; }

}  // namespace wsproxy
