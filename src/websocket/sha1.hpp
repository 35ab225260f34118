// SHA-1 (RFC 3174), which the opening handshake uses as a checksum, not for security (RFC 6455 section 10.8).
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace wsproxy {

using sha1_digest = std::array<std::uint8_t, 20>;

/// The digest of the parts, one after another.
sha1_digest sha1(std::initializer_list<std::string_view> parts) noexcept;

}  // namespace wsproxy
